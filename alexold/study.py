"""A run from a seed to a row: build, train, test, keep what is needed to look at it again."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alexold import parallel, rows, towers
from alexold.checkpoint import history
from alexold.config import Spec, spec_from
from alexold.data import Images
from alexold.nets import AlexNet, CifarNet, build
from alexold.paths import runs_root, write_whole
from alexold.progress import Progress, clock
from alexold.train import fit, hits, predict, score, training_part
from alexold.watch import Diverged, StuckWarning
from alexold.workers import each, room

VIEWS = ("centre", "ten")


@dataclass
class Run:
    """A finished run: its row, its model, and the test probabilities (N, classes) in each of the views."""

    row: dict
    model: AlexNet | CifarNet
    probabilities: dict[str, np.ndarray]
    folder: Path
    labels: np.ndarray  # of the test pictures (N,)
    trained_now: bool  # False where a finished run was opened again


def pick_device(name: str = "auto") -> str:
    """`auto` is the first GPU if there is one; `cuda:0,cuda:1` puts a tower on each; what is not there is refused."""
    valid = towers.devices_here()
    if name == "auto":
        return "cuda" if "cuda" in valid else "cpu"
    for part in name.split(","):
        if part not in valid:
            raise ValueError(f"device {part!r} is not there: valid ones here: auto, {', '.join(valid)}")
    return name


def pick_towers(name: str = "auto", scale: str = "sample") -> str:
    """The same for a net with two towers: `auto` is two GPUs, or the only GPU, or the CPU.

    On the CPU the towers are divided at the sample scale, to show how; undivided is faster.
    """
    if name != "auto":
        return pick_device(name)
    gpus = torch.cuda.device_count()
    return "cuda:0,cuda:1" if gpus > 1 else "cuda" if gpus else "cpu,cpu" if scale == "sample" else "cpu"


def pick_seed(seed: int) -> int:
    """The seed, if it is one."""
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed {seed!r}: expected a whole number from 0")
    return seed


def run_name(study: str, variant: str, spec: Spec, scale: str, seed: int, train: Images) -> str:
    """A name in which runs with different settings or pictures differ."""
    changes = {field: value for field, (value, _) in spec.changes(spec.plain).items()}  # a new field renames no old run
    settings = json.dumps([changes, train.fingerprint], sort_keys=True)
    return f"{study}-{scale}-{variant}-seed{seed}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def run(
    study: str,
    variant: str,
    spec: Spec,
    scale: str,
    train: Images,
    test: Images,
    *,
    seed: int = 0,
    device: str = "cpu",
    name: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train one net from a seed, test it once, and append its row to the study's file.

    An unfinished run of the same name goes on where it stopped; a finished one is opened instead of trained again.

    Args:
        study: name of the notebook, which names the file of rows.
        device: one, or two with a comma between, a tower on each.
        name: folder under `runs/`; by default made of the settings.
        progress: where to show it; by default a line of its own.
    """
    folder = runs_root() / (name or run_name(study, variant, spec, scale, pick_seed(seed), train))
    speaks = parallel.rank() == 0
    provenance = _keep(folder / "provenance.json", lambda: rows.provenance(device)) if speaks else {}
    if speaks:
        _keep(folder / "config.json", lambda: settings(study, variant, spec, scale, seed))
    first, *second = device.split(",")
    torch.manual_seed(seed)
    model = build(spec, (first, *second) if second else None)
    fitted, val = train.holdout(spec.train.validation, seed) if spec.train.validation else (train, train.subset([]))
    epochs = fit(model, fitted, val, spec, seed=seed, device=first, folder=folder, progress=progress)
    trained_now, probabilities = parallel.from_first(not (folder / "row.json").exists()), {}
    if trained_now:
        probabilities = tested(model, test, spec, first)
        part = training_part(fitted, seed)
        shown = predict(model, part, spec, device=first)
    if trained_now and speaks:
        write_whole(folder / "test.npz", lambda out: np.savez_compressed(out, **compact(probabilities)))
        metrics = {views: score(p, test.labels) for views, p in probabilities.items()}
        about = {"training": score(shown, part.labels), "hits": {"training": hits(shown, part.labels)}}
        about["hits"] |= {views: hits(p, test.labels) for views, p in probabilities.items()}
        about |= provenance | towers.colour(model)
        row = to_row(settings(study, variant, spec, scale, seed), train, test, epochs, metrics, about)
        write_whole(folder / "row.json", lambda out: out.write(json.dumps(row).encode()))
    if not speaks:
        return Run(parallel.from_first(None), model, compact(probabilities), folder, test.labels, trained_now)
    row = parallel.from_first(json.loads((folder / "row.json").read_text()))
    if row not in rows.read(study, scale):
        rows.append(row)
    with np.load(folder / "test.npz") as kept:
        return Run(row, model, dict(kept), folder, test.labels, trained_now)


def grid(
    study: str,
    variants: dict[str, Spec],
    seeds: Iterable[int],
    scale: str,
    train: Images,
    test: Images,
    *,
    device: str = "cpu",
    workers: int = 1,
) -> list[dict]:
    """One row for each seed and variant: taken from the study's file where it is on record, else trained now.

    A row is on record if variant, seed, scale, all settings and the pictures are the same. Seeds are the outer loop,
    so that a stopped grid leaves whole sets of variants. A stopped run goes on where it stopped.

    Args:
        workers: runs at a time, each in a process with its share of the cores; 0: as many as there is room for.

    Raises:
        ValueError: nothing is asked for.
    """
    wanted = [(variant, spec, pick_seed(seed)) for seed in seeds for variant, spec in variants.items()]
    if not wanted:
        raise ValueError(f"{study}: nothing to run, give at least one seed and one variant")
    jobs = [job for job in wanted if _on_record(study, scale, train, *job) is None]
    workers = workers or room(device, len(jobs))
    if workers > 1 and len(jobs) > 1:
        calls = [(study, variant, spec, scale, train, test, seed, device) for variant, spec, seed in jobs]
        list(each(_row, calls, workers, max(1, (os.cpu_count() or 1) // workers)))
    else:
        progress, started = Progress(), time.monotonic()
        for done, (variant, spec, seed) in enumerate(jobs):
            left = f", {clock((time.monotonic() - started) / done * (len(jobs) - done))} left" if done else ""
            progress.before = f"run {done + 1} of {len(jobs)}{left}: "
            run_or_record(study, variant, spec, scale, train, test, seed, device, progress)
    return [_on_record(study, scale, train, *job) for job in wanted]


def check_rate(
    study: str, variant: str, spec: Spec, scale: str, train: Images, test: Images, seed: int, epochs: int,
    device: str = "cpu", progress: Progress | None = None,
) -> None:  # fmt: skip
    """The first epochs of a run, in the folder where the whole run goes on, and a row of study "rates" about them."""
    folder, progress = runs_root() / run_name(study, variant, spec, scale, seed, train), progress or Progress()
    provenance = _keep(folder / "provenance.json", lambda: rows.provenance(device))
    _keep(folder / "config.json", lambda: settings(study, variant, spec, scale, seed))
    fitted, val = train.holdout(spec.train.validation, seed)
    torch.manual_seed(seed)
    try:
        found, about = (
            fit(
                build(spec),
                fitted,
                val,
                spec,
                seed=seed,
                device=device,
                folder=folder,
                finish=epochs,
                progress=progress,
            ),
            {},
        )
    except Diverged as error:
        found, about = history(folder), {"diverged": str(error)}
    about |= {"study": "rates", "of": study, "epochs": epochs}
    row = to_row(settings(study, variant, spec, scale, seed), train, test, found[:epochs], {}, provenance)
    rows.append(row | about)


def opened(study: str, variant: str, spec: Spec, scale: str, train: Images, test: Images, seed: int = 0) -> Run | None:
    """A finished run of this machine with its trained net; None where there is none."""
    folder = runs_root() / run_name(study, variant, spec, scale, seed, train)
    return run(study, variant, spec, scale, train, test, seed=seed) if (folder / "row.json").exists() else None


def recorded(study: str, variants: dict[str, Spec], scale: str, train: Images) -> list[dict]:
    """All rows of some variants, whatever their seeds and learning rates, in the order of the variants."""
    found = []
    for variant, spec in variants.items():
        rates = {row["config"]["train"]["lr"] for row in rows.read(study, scale, variant=variant)}
        found += [row for lr in rates for row in _known(study, scale, train, variant, spec.replace(lr=lr))]
    return found


def probabilities(row: dict, train: Images) -> dict[str, np.ndarray] | None:
    """The test probabilities (N, classes) in each of the views that a run left on this machine; None: it left none."""
    spec = spec_from(row["config"])
    name = run_name(row["study"], row["variant"], spec, row["scale"], row["seed"], train)
    file = runs_root() / name / "test.npz"
    if not file.exists():
        return None
    with np.load(file) as kept:
        return dict(kept)


def run_or_record(study, variant, spec, scale, train, test, seed, device="cpu", progress=None) -> Run | None:
    """A run of a grid; one that diverges leaves a row that says so, without metrics."""
    progress = progress or Progress()
    progress.before += f"{variant}, seed {seed}: "
    try:
        with warnings.catch_warnings(action="ignore", category=StuckWarning):  # the row tells it
            return run(study, variant, spec, scale, train, test, seed=seed, device=device, progress=progress)
    except Diverged as error:
        about = rows.provenance(device) | {"diverged": str(error)}
        before = history(runs_root() / run_name(study, variant, spec, scale, seed, train))
        rows.append(to_row(settings(study, variant, spec, scale, seed), train, test, before, {}, about))


def _row(*job) -> None:
    """A run in a worker, which sends nothing back: the row is on record."""
    run_or_record(*job)


def settings(study: str, variant: str, spec: Spec, scale: str, seed: int) -> dict:
    """What is to be trained: the beginning of a row, and `config.json` in a run's folder."""
    about = {"study": study, "variant": variant, "seed": seed, "scale": scale}
    return about | {"spec": spec.name, "config": spec.as_dict()}


def tested(model, test: Images, spec: Spec, device: str) -> dict[str, np.ndarray]:
    """The test probabilities (N, classes) in each of the views that differ."""
    views_used = VIEWS if test.side > spec.net.input else VIEWS[:1]  # uncropped, all views but the flip are one
    return {views: predict(model, test, spec, views=views, device=device) for views in views_used}


def to_row(trained: dict, train: Images, test: Images, epochs: list[dict], metrics: dict, about: dict) -> dict:
    """The row of a run; `trained` as `settings` returns it, `about` where, when and with what."""
    return {
        **trained,
        "metrics": metrics,
        "history": epochs,
        "pictures_per_second": float(np.median([h["pictures_per_second"] for h in epochs])) if epochs else None,
        "data": {
            "name": test.name,
            "origin": test.origin,
            "train": train.fingerprint,
            "test": test.fingerprint,
            "pictures": [len(train), len(test)],
            "left_out": len(train.skipped) + len(test.skipped),
        },
        "seconds": sum(h["seconds"] for h in epochs),
        **about,
    }


def _on_record(study: str, scale: str, train: Images, variant: str, spec: Spec, seed: int) -> dict | None:
    return next((row for row in _known(study, scale, train, variant, spec) if row["seed"] == seed), None)


def _known(study: str, scale: str, train: Images, variant: str, spec: Spec) -> list[dict]:
    known = rows.read(study, scale, variant=variant)
    return [r for r in known if spec_from(r["config"]) == spec and r["data"]["train"] == train.fingerprint]


def _keep(file: Path, make) -> dict:
    """What `file` holds; made and written on the first call."""
    if not file.exists():
        made = json.dumps(make()).encode()
        write_whole(file, lambda out: out.write(made))
    return json.loads(file.read_text())


def compact(probabilities: dict) -> dict:
    """Half precision: enough to average and to draw; the metrics are computed before."""
    return {views: p.astype(np.float16) for views, p in probabilities.items()}
