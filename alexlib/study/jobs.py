"""Training runs: a `Job` is trained once, tested once, and leaves a row.

    job = Job("04_train", "source2012", config_at("source2012", "sample"), "sample", seed=0)
    finished = run(job, train, test)  # trains, resumes, or opens a finished run

A run's folder below `runs_root()` has config.json, mean.npy, provenance.json and its checkpoint; at
its end model.safetensors, test.npz, row.json. `records.py` keeps rows, `runs.py` makes many runs.
"""

import hashlib
import json
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from alexlib.config import Config, config_at, config_from, runs_root
from alexlib.data.images import Images
from alexlib.files import atomic_write, lock
from alexlib.models import build
from alexlib.models.alexnet import tower_colour
from alexlib.study.records import append, row_of, try_place
from alexlib.training import StuckWarning, checkpoint, loop
from alexlib.training.distributed import from_first, rank
from alexlib.training.machine import provenance, resolved, set_up
from alexlib.weights import MEAN, MODEL, describe, find, identity, save_model, start_from


@dataclass(frozen=True)
class Job:
    """What is to be trained: a variant in a study, its config at a scale, and a seed."""

    study: str
    variant: str
    config: Config
    scale: str
    seed: int = 0
    weights: str = ""  # the `weights.identity` of those that it starts from; "": new ones

    def __post_init__(self):
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed!r}: expected a whole number from 0 to 2^63 - 1")

    @classmethod
    def training(cls, config: str, scale: str, seed: int = 0, weights: str = "", **fields) -> "Job":
        """The job of notebook 04 and of the command `train`: a config by name, with other fields.

        The variant names the fields that are changed, e.g. "source2012+lr=0.001"; epochs, batch and
        precision do not make a variant. `weights` is a run or a file to start from.
        """
        chosen = config_at(config, scale, **fields)
        own = {key: getattr(chosen.train, key) for key in ("epochs", "batch", "precision")}
        changes = config_at(config, scale, **own).changes(chosen).items()
        names = [config, *(f"{key}={new}" for key, (_, new) in changes)]
        names += [f"weights={find(weights).name}"] if weights else []
        variant, source = "+".join(names).replace(" ", "")[:120], weights and identity(weights)
        return cls("04_train", variant, chosen, scale, seed, source)

    def __str__(self) -> str:
        return f"{self.study}, {self.scale}, {self.variant}, seed {self.seed}"

    def on(self, device: str) -> "Job":
        """The job with the precision that "auto" means on a device."""
        return replace(self, config=resolved(self.config, device))

    @classmethod
    def of(cls, row: dict) -> "Job":
        """The job of a run, from its row or its config.json."""
        about = config_from(row["config"]), row["scale"], row["seed"], row.get("weights", "")
        return cls(row["study"], row["variant"], *about)

    def as_dict(self) -> dict:
        """The fields of a row that say what was trained."""
        about = {key: getattr(self, key) for key in ("study", "variant", "seed", "scale")}
        about |= {"weights": self.weights} if self.weights else {}
        return about | {"spec": self.config.name, "config": self.config.as_dict()}


@dataclass
class Run:
    """A finished run. `probabilities` (N, classes) and `labels` (N,) are of the test images."""

    row: dict
    model: torch.nn.Module
    probabilities: dict[str, np.ndarray]  # "centre" view, and "ten" views if the images are larger
    folder: Path
    labels: np.ndarray
    trained_now: bool  # False: it was finished before


def run_name(job: Job, fingerprint: str) -> str:
    """The name of a run's folder; it depends on all settings and on the training images' hash."""
    changes = {key: value for key, (value, _) in job.config.changes(job.config.defaults).items()}
    about = [changes, fingerprint, *filter(None, [job.weights])]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    return f"{job.study}-{job.scale}-{job.variant}-seed{job.seed}-{digest}"


def run(job: Job, train: Images, test: Images, *, device="cpu", name=None, progress=True) -> Run:
    """Train the net of a job, test it once and append its row to the study's file.

    An unfinished run of the same name is resumed; a finished one is opened, not trained again.

    Args:
        device: one, or two separated by a comma, which get one tower each.
        name: of its folder below `runs_root()`; by default `run_name`.

    Raises: as `training.loop.fit`.
    """
    job = job.on(device)
    folder = runs_root() / (name or run_name(job, train.fingerprint))
    with _alone(folder, job, train, test):
        model, history = _trained(job, train, folder, device, progress)
        trained_now = from_first(not (folder / "row.json").exists())
        if trained_now:
            about, found = _tested(job, model, train, test, device)
        if rank() == 0:
            if not (folder / MODEL).exists():
                save_model(folder, model)
            if trained_now:
                atomic_write(folder / "test.npz", partial(np.savez_compressed, **found))
                row = row_of(job.as_dict(), train, test, folder, history, about)
                _write_json(folder / "row.json", row)
    row, found = from_first(_kept(folder) if rank() == 0 else None)
    if rank() == 0:
        append(row)
    return Run(row, model, found, folder, test.labels, trained_now)


def check_rate(job: Job, train: Images, test: Images, epochs: int, device: str = "cpu") -> None:
    """Train the first epochs of a run, which resumes from them; append a row of study "rates"."""
    job = job.on(device)
    folder = runs_root() / run_name(job, train.fingerprint)
    about = {"study": "rates", "of": job.study, "epochs": epochs}
    try:
        with _alone(folder, job, train, test):
            _trained(job, train, folder, device, finish=epochs)
    except loop.Diverged as error:
        about["diverged"] = str(error)
    append(row_of(job.as_dict(), train, test, folder, checkpoint.history(folder)[:epochs], about))


def run_or_row(job: Job, train: Images, test: Images, device: str = "cpu") -> None:
    """Run a job only for its row; if the run diverges, the row says so and has no errors."""
    job = job.on(device)
    try:
        with warnings.catch_warnings(action="ignore", category=StuckWarning):
            run(job, train, test, device=device, progress=f"{job.variant}, seed {job.seed}: ")
    except loop.Diverged as error:
        folder = runs_root() / run_name(job, train.fingerprint)
        history, about = checkpoint.history(folder), {"diverged": str(error)}
        append(row_of(job.as_dict(), train, test, folder, history, about))


def opened(job: Job, train: Images, test: Images, device: str = "cpu") -> Run | None:
    """The finished run of a job with its trained net; None if it is not on this machine."""
    row = runs_root() / run_name(job.on(device), train.fingerprint) / "row.json"
    return run(job, train, test, device=device, progress=False) if row.exists() else None


def _held_out(job: Job, train: Images) -> tuple[Images, Images]:
    """The training images without the held-out ones, and the held-out ones."""
    fraction = job.config.train.validation
    return train.holdout(fraction, job.seed) if fraction else (train, train.subset([]))


def _trained(job: Job, train: Images, folder: Path, device="cpu", progress=True, finish=None):
    """The model and its history, trained, resumed or opened in a folder."""
    set_up(job.config, first := device.split(",")[0])  # the threads are part of the provenance
    if rank() == 0 and not (folder / MEAN).exists():  # a new run, or one of an older version
        if not (folder / "config.json").exists():
            _write_json(folder / "provenance.json", provenance(device))
        describe(folder, job.as_dict(), train)
    torch.manual_seed(job.seed)  # of the initial weights
    model = build(job.config, device.split(",") if "," in device else None)
    fitted, val = _held_out(job, train)
    if (folder / "row.json").exists() and not (folder / checkpoint.LAST).exists():  # deleted
        if Job.of(row := _kept(folder)[0]) != job:
            raise ValueError(f"{folder} has another run: give this run another name")
        model.load_state_dict(safetensors.torch.load_file(folder / MODEL))
        return model, row["history"]
    if job.weights and not (folder / checkpoint.LAST).exists():
        start_from(job.weights, model, job.config)
    options = {"folder": folder, "finish": finish, "progress": progress, "device": first}
    return model, loop.fit(model, fitted, val, job.config, seed=job.seed, **options)


def _alone(folder: Path, job: Job, train: Images, test: Images):
    """Lock an unfinished run's folder; other processes wait. OSError if no row can be written."""
    if rank() > 0 or (folder / "row.json").exists():
        return nullcontext()
    try_place(job.as_dict() | {"data": {"train": train.fingerprint, "test": test.fingerprint}})
    return lock(folder / ".lock", f"{folder.name}: in progress in another process, waiting")


def _tested(job: Job, model, train, test, device) -> tuple[dict, dict]:
    """The fields of a row about a trained net, and its test probabilities in half precision."""
    config, first = job.config, device.split(",")[0]
    views = ("centre", "ten") if test.side > config.net.input else ("centre",)
    found = {v: loop.predict(model, test, config, views=v, device=first) for v in views}
    part = loop.training_part(_held_out(job, train)[0], job.seed)
    shown = loop.predict(model, part, config, device=first)

    hits = {"training": loop.hits(shown, part.labels)}
    hits |= {v: loop.hits(p, test.labels) for v, p in found.items()}
    about = {
        "metrics": {v: loop.score(p, test.labels) for v, p in found.items()},
        "training": loop.score(shown, part.labels),
        "hits": hits,
        **tower_colour(model),
    }
    return about, {v: p.astype(np.float16) for v, p in found.items()}


def _kept(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The row and the test probabilities of a finished run."""
    with np.load(folder / "test.npz") as arrays:
        return json.loads((folder / "row.json").read_text()), dict(arrays)


def _write_json(file: Path, value) -> None:
    atomic_write(file, lambda out: out.write(json.dumps(value).encode()))
