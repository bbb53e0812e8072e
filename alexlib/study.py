"""A run from a seed to a row: build, train, test, keep what is needed to look at it again."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alexlib import rows, stats
from alexlib.checkpoint import history
from alexlib.claims import CLAIMS
from alexlib.config import Spec, spec_from
from alexlib.data import Images
from alexlib.nets import AlexNet, CifarNet, build
from alexlib.paths import runs_root, write_whole
from alexlib.train import fit, predict, ranks, score
from alexlib.watch import Diverged
from alexlib.workers import each, room

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
    """`auto` is the first GPU if there is one; a device that is not there is refused."""
    gpus = torch.cuda.device_count()
    valid = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]
    if name == "auto":
        return "cuda" if gpus else "cpu"
    if name not in valid:
        raise ValueError(f"device {name!r} is not there: valid ones here: auto, {', '.join(valid)}")
    return name


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
) -> Run:
    """Train one net from a seed, test it once, and append its row to the study's file.

    An unfinished run of the same name goes on where it stopped; a finished one is opened instead of trained again.

    Args:
        study: name of the notebook, which names the file of rows.
        name: folder under `runs/`; by default made of the settings.
    """
    folder = runs_root() / (name or run_name(study, variant, spec, scale, pick_seed(seed), train))
    provenance = _keep(folder / "provenance.json", lambda: rows.provenance(device))
    torch.manual_seed(seed)
    model = build(spec)
    fitted, val = train.holdout(spec.train.validation, seed) if spec.train.validation else (train, train.subset([]))
    epochs = fit(model, fitted, val, spec, seed=seed, device=device, folder=folder)
    trained_now = not (folder / "row.json").exists()
    if trained_now:
        views_used = VIEWS if test.side > spec.net.input else VIEWS[:1]  # uncropped, all views but the flip are one
        probabilities = {views: predict(model, test, spec, views=views, device=device) for views in views_used}
        write_whole(folder / "test.npz", lambda out: np.savez_compressed(out, **_compact(probabilities)))
        metrics = {views: score(p, test.labels) for views, p in probabilities.items()}
        row = _finished(study, variant, spec, scale, train, test, seed, epochs, metrics, provenance)
        write_whole(folder / "row.json", lambda out: out.write(json.dumps(row).encode()))
    row = json.loads((folder / "row.json").read_text())
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
        for variant, spec, seed in jobs:
            _row(study, variant, spec, scale, train, test, seed, device)
    return [_on_record(study, scale, train, *job) for job in wanted]


def _row(study, variant, spec, scale, train, test, seed, device) -> None:
    """A run of a grid; one that diverges leaves a row that says so, without metrics."""
    try:
        run(study, variant, spec, scale, train, test, seed=seed, device=device)
    except Diverged as error:
        about = rows.provenance(device) | {"diverged": str(error)}
        before = history(runs_root() / run_name(study, variant, spec, scale, seed, train))
        rows.append(_finished(study, variant, spec, scale, train, test, seed, before, {}, about))


def _finished(study, variant, spec, scale, train, test, seed, epochs, metrics, about) -> dict:
    """The row of a run that has ended."""
    return {
        "study": study,
        "variant": variant,
        "seed": seed,
        "scale": scale,
        "spec": spec.name,
        "config": spec.as_dict(),
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
    known = rows.read(study, scale, variant=variant, seed=seed)
    same = (r for r in known if spec_from(r["config"]) == spec and r["data"]["train"] == train.fingerprint)
    return next(same, None)


def effect(found: list[dict], variant: str, value: Callable[[dict], float], baseline: str = "baseline") -> dict:
    """How much higher `value` of a row is in a variant than in the baseline: paired by seed.

    Returns value, low, high (95 % interval over seeds: infinite for a single seed) and n, the number of seeds.
    """
    mine, base = ({r["seed"]: value(r) for r in found if r["variant"] == name} for name in (variant, baseline))
    seeds = sorted(mine.keys() & base.keys())
    if not seeds:
        raise ValueError(f"no seed has rows of both {variant!r} and {baseline!r}")
    mean, low, high = stats.over_seeds([mine[seed] - base[seed] for seed in seeds])
    return {"variant": variant, "value": mean, "low": low, "high": high, "n": len(seeds)}


def test_error(row: dict) -> float:
    """Top-1 error on the test pictures, ten views averaged, %."""
    return 100 * row["metrics"]["ten"]["top1"]


def overfitting(row: dict) -> float:
    """Top-1 error on test pictures, centre view, minus that on the training pictures as they were shown, points."""
    return 100 * (row["metrics"]["centre"]["top1"] - row["history"][-1]["train_top1"])


# Notebook 01: what is measured, in which variant, and the claim of the register that it speaks of.
AUGMENTATION = {
    "no crops, flips: overfitting": ("no-crops-flips", overfitting, "crops-overfit"),
    "no colour noise: test error": ("no-colour-noise", test_error, "colour-pca"),
    "no crops, flips: test error": ("no-crops-flips", test_error, None),
}


def augmentation_effects(found: list[dict]) -> list[dict]:
    """The effects of leaving augmentation out, without minus with, from the rows of one scale, with their verdicts."""
    table, claims = [], {claim.id: claim for claim in CLAIMS}
    for name, (variant, value, claim) in AUGMENTATION.items():
        row = {"name": name, "paper": None, **effect(found, variant, value), "verdict": "no claim of the paper"}
        if claim:
            row["paper"] = claims[claim].paper
            row["verdict"] = stats.verdict(row["low"], row["high"], row["paper"], found[0]["scale"])
        table.append(row)
    return table


def _keep(file: Path, make) -> dict:
    """What `file` holds; made and written on the first call."""
    if not file.exists():
        made = json.dumps(make()).encode()
        write_whole(file, lambda out: out.write(made))
    return json.loads(file.read_text())


def _compact(probabilities: dict) -> dict:
    """Half precision: enough to average and to draw; the metrics are computed before."""
    return {views: p.astype(np.float16) for views, p in probabilities.items()}


def view_errors(run: Run) -> list[dict]:
    """Rows of measure (top-1, top-5), views, value, low, high: test errors in %, 95 % interval over test pictures."""
    found = []
    for measure in ("top1", "top5"):
        for views, metrics in run.row["metrics"].items():
            bounds = (metrics[measure], *stats.wilson(metrics[measure], metrics["n"]))
            value, low, high = (100 * bound for bound in bounds)
            name = {"measure": measure.replace("top", "top-"), "views": views}
            found.append({**name, "value": value, "low": low, "high": high, "n": metrics["n"]})
    return found


def view_gains(run: Run) -> list[dict]:
    """Rows of measure, value, low, high, paper: the error of the centre view minus that of ten views, in points.

    The interval is a paired one over test pictures.
    """
    found = []
    for k, claim in ((1, "ten-views"), (5, "ten-views-top5")):
        wrong = {views: ranks(p, run.labels) >= k for views, p in run.probabilities.items()}
        value, low, high = (100 * bound for bound in stats.paired(wrong["centre"], wrong["ten"]))
        paper = next(c.paper for c in CLAIMS if c.id == claim)
        found.append({"measure": f"top-{k}", "value": value, "low": low, "high": high, "paper": paper})
    return found


def compare(run: Run) -> list[dict]:
    """The claims of the register that one run speaks of: paper, 2012 log, later studies, this run, verdict."""
    scale, metrics = run.row["scale"], run.row["metrics"]["ten"]
    gains = [(gain["value"], gain["low"], gain["high"]) for gain in view_gains(run)]
    ours = dict(zip(("ten-views", "ten-views-top5"), gains, strict=True))
    if scale == run.row["data"]["name"] == "imagenet":
        for end, key in (("", "top1"), ("-top5", "top5")):
            bounds = stats.wilson(metrics[key], metrics["n"])
            ours[f"error-2012{end}"] = tuple(100 * value for value in (metrics[key], *bounds))
    table = []
    for claim in CLAIMS:
        if claim.id.removesuffix("-top5") not in ("ten-views", "error-2012"):
            continue
        value, low, high = ours.get(claim.id, (None, None, None))
        if value is None:
            said = "not tested at this scale"
        elif claim.unit == "pp":
            said = stats.verdict(low, high, claim.paper, scale)
        else:  # an error: as low as the paper's, or lower
            said = "reproduced" if low <= claim.paper else "not reproduced"
        table.append(
            {
                "claim": claim.quantity,
                "unit": claim.unit,
                "paper": claim.paper,
                "2012 log": claim.log,
                "later studies": ", ".join(f"{study} {found}" for study, found, _ in claim.later if found is not None),
                "this run": value,
                "95 % interval": "" if low is None else f"{low:.2f} to {high:.2f}",
                "verdict": said,
            }
        )
    return table
