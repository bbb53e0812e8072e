"""Training runs: a `Job` is trained once, tested once, and leaves a row.

    job = Job("04_train", "source2012", config_at("source2012", "sample"), "sample", seed=0)
    finished = run(job, train, test)  # trains, resumes, or opens a finished run

A run has a folder below `runs_root()`: config.json, provenance.json, its checkpoint, and when it is
finished row.json and test.npz. `records.py` says where rows are kept; `runs.py` makes many runs.
"""

import hashlib
import json
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from alexlib.config import Config, config_at, config_from, runs_root
from alexlib.data.images import Images
from alexlib.data.packing import lock
from alexlib.models import build
from alexlib.study import features
from alexlib.study.records import append, provenance
from alexlib.training import checkpoint, loop
from alexlib.training.distributed import from_first, rank


@dataclass(frozen=True)
class Job:
    """What is to be trained: a variant in a study, its config at a scale, and a seed."""

    study: str
    variant: str
    config: Config
    scale: str
    seed: int = 0

    def __post_init__(self):
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed {self.seed!r}: expected a whole number from 0")

    @classmethod
    def training(cls, config: str, scale: str, seed: int = 0, **fields) -> "Job":
        """The job of notebook 04 and of the command `train`: a config by name, with other fields.

        The variant names the fields that are changed, e.g. "source2012+lr=0.001"; epochs, batch and
        precision do not make a variant.
        """
        chosen = config_at(config, scale, **fields)
        own = {key: getattr(chosen.train, key) for key in ("epochs", "batch", "precision")}
        changes = config_at(config, scale, **own).changes(chosen).items()
        names = [config, *(f"{key}={new}" for key, (_, new) in changes)]
        return cls("04_train", "+".join(names).replace(" ", "")[:120], chosen, scale, seed)

    @classmethod
    def of(cls, row: dict) -> "Job":
        """The job of a run, from its row or its config.json."""
        names = (row[key] for key in ("study", "variant"))
        return cls(*names, config_from(row["config"]), row["scale"], row["seed"])

    def as_dict(self) -> dict:
        """The fields of a row that say what was trained."""
        about = {key: getattr(self, key) for key in ("study", "variant", "seed", "scale")}
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


def run_name(job: Job, train: Images) -> str:
    """The name of a run's folder; it depends on all settings and on the training images."""
    changes = {key: value for key, (value, _) in job.config.changes(job.config.defaults).items()}
    settings = json.dumps([changes, train.fingerprint], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return f"{job.study}-{job.scale}-{job.variant}-seed{job.seed}-{digest}"


def run(job: Job, train: Images, test: Images, *, device="cpu", name=None, progress=True) -> Run:
    """Train the net of a job, test it once and append its row to the study's file.

    An unfinished run of the same name is resumed; a finished one is opened, not trained again.

    Args:
        device: one, or two with a comma between them, which get one tower each.
        name: of its folder below `runs_root()`; by default `run_name(job, train)`.

    Raises: as `training.loop.fit`.
    """
    folder = runs_root() / (name or run_name(job, train))
    with _alone(folder):
        model, history = _trained(job, train, folder, device, progress)
        trained_now = from_first(not (folder / "row.json").exists())
        if trained_now:
            about, found = _tested(job, model, train, test, device)
            if rank() == 0:
                save = partial(np.savez_compressed, **found)
                checkpoint.atomic_write(folder / "test.npz", save)
                _write_json(folder / "row.json", _row(job, train, test, folder, history, about))
    row, found = from_first(_kept(folder) if rank() == 0 else None)
    if rank() == 0:
        append(row)
    return Run(row, model, found, folder, test.labels, trained_now)


def check_rate(job: Job, train: Images, test: Images, epochs: int) -> None:
    """Train the first epochs of a run, which resumes from them; append a row of study "rates"."""
    folder = runs_root() / run_name(job, train)
    about = {"study": "rates", "of": job.study, "epochs": epochs}
    try:
        with _alone(folder):
            _trained(job, train, folder, finish=epochs)
    except loop.Diverged as error:
        about["diverged"] = str(error)
    append(_row(job, train, test, folder, checkpoint.history(folder)[:epochs], about))


def run_or_row(job: Job, train: Images, test: Images, device: str = "cpu") -> None:
    """A run whose row is all that is wanted; if it diverges, its row says so and has no errors."""
    try:
        with warnings.catch_warnings(action="ignore", category=loop.StuckWarning):
            run(job, train, test, device=device, progress=f"{job.variant}, seed {job.seed}: ")
    except loop.Diverged as error:
        folder = runs_root() / run_name(job, train)
        history, about = checkpoint.history(folder), {"diverged": str(error)}
        append(_row(job, train, test, folder, history, about))


def opened(job: Job, train: Images, test: Images) -> Run | None:
    """The finished run of a job with its trained net; None if it is not on this machine."""
    finished = (runs_root() / run_name(job, train) / "row.json").exists()
    return run(job, train, test, progress=False) if finished else None


def probabilities(row: dict, train: Images) -> dict[str, np.ndarray] | None:
    """The test probabilities (N, classes) of a row's run by view; None if not on this machine."""
    folder = runs_root() / run_name(Job.of(row), train)
    return _kept(folder)[1] if (folder / "row.json").exists() else None


def weights_so_far(name: str, train: Images, test: Images, device: str = "cpu") -> Run:
    """A run with the weights of its last checkpoint; another process may be training it.

    Nothing is written. Its row is the one that it would have if it ended there.

    Args:
        name: of its folder below `runs_root()`.
        train, test: the images that it was started with.
    """
    folder = runs_root() / name
    job = Job.of(json.loads((folder / "config.json").read_text()))
    model = _net(job, device).to(device.split(",")[0])
    model.load_state_dict(checkpoint.weights(folder))
    history = checkpoint.history(folder)
    about, found = _tested(job, model, train, test, device)
    row = _row(job, train, test, folder, history, about)
    return Run(row, model, found, folder, test.labels, False)


def _net(job: Job, device: str):
    """The net of a job with the initial weights of its seed; divided if there are two devices."""
    torch.manual_seed(job.seed)
    return build(job.config, device.split(",") if "," in device else None)


def _held_out(job: Job, train: Images) -> tuple[Images, Images]:
    """The training images without the held-out ones, and these."""
    fraction = job.config.train.validation
    return train.holdout(fraction, job.seed) if fraction else (train, train.subset([]))


def _trained(job: Job, train: Images, folder: Path, device="cpu", progress=True, finish=None):
    """The model and its history, trained, resumed or opened in a folder."""
    if rank() == 0 and not (folder / "config.json").exists():
        _write_json(folder / "provenance.json", provenance(device))
        _write_json(folder / "config.json", job.as_dict())
    model, fitted, val = _net(job, device), *_held_out(job, train)
    options = {"folder": folder, "finish": finish, "progress": progress}
    first = device.split(",")[0]
    return model, loop.fit(model, fitted, val, job.config, seed=job.seed, device=first, **options)


def _alone(folder: Path):
    """A lock on the folder of an unfinished run: another process waits until it is finished."""
    if rank() > 0 or (folder / "row.json").exists():
        return nullcontext()
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
        **features.tower_colour(model),
    }
    return about, {v: p.astype(np.float16) for v, p in found.items()}


def _row(job: Job, train, test, folder: Path, history: list[dict], about: dict) -> dict:
    """The row of a run in a folder; `about` has the fields that not every row has."""
    speeds = [epoch["pictures_per_second"] for epoch in history]
    return {
        **job.as_dict(),
        "metrics": {},
        "history": history,
        "pictures_per_second": float(np.median(speeds)) if speeds else None,
        "data": {
            "name": test.name,
            "origin": test.origin,
            "train": train.fingerprint,
            "test": test.fingerprint,
            "pictures": [len(train), len(test)],
            "left_out": len(train.skipped) + len(test.skipped),
        },
        "seconds": sum(epoch["seconds"] for epoch in history),
        **json.loads((folder / "provenance.json").read_text()),
        **about,
    }


def _kept(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The row and the test probabilities of a finished run."""
    with np.load(folder / "test.npz") as arrays:
        return json.loads((folder / "row.json").read_text()), dict(arrays)


def _write_json(file: Path, value) -> None:
    checkpoint.atomic_write(file, lambda out: out.write(json.dumps(value).encode()))
