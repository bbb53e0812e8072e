"""A run from a seed to a row: build, train, test, keep what is needed to look at it again."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alexlib import rows
from alexlib.config import Spec
from alexlib.data import Images
from alexlib.nets import AlexNet
from alexlib.paths import runs_root
from alexlib.train import fit, predict, score

VIEWS = ("centre", "ten")


@dataclass
class Run:
    """A finished run: its row, its model, and the test probabilities (N, classes) in each of the views."""

    row: dict
    model: AlexNet
    probabilities: dict[str, np.ndarray]
    folder: Path
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


def run_name(study: str, variant: str, spec: Spec, scale: str, seed: int, train: Images) -> str:
    """A name in which runs with different settings or pictures differ."""
    settings = json.dumps([spec.as_dict(), train.fingerprint], sort_keys=True)
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
    folder = runs_root() / (name or run_name(study, variant, spec, scale, seed, train))
    provenance = _keep(folder / "provenance.json", lambda: rows.provenance(device))
    torch.manual_seed(seed)
    model = AlexNet(spec)
    fitted, val = train.holdout(spec.train.validation, seed) if spec.train.validation else (train, train.subset([]))
    history = fit(model, fitted, val, spec, seed=seed, device=device, folder=folder)
    trained_now = not (folder / "row.json").exists()
    if trained_now:
        probabilities = {views: predict(model, test, spec, views=views, device=device) for views in VIEWS}
        _write(folder / "test.npz", lambda out: np.savez_compressed(out, **_compact(probabilities)))
        row = {
            "study": study,
            "variant": variant,
            "seed": seed,
            "scale": scale,
            "spec": spec.name,
            "config": spec.as_dict(),
            "metrics": {views: score(p, test.labels) for views, p in probabilities.items()},
            "history": history,
            "pictures_per_second": float(np.median([h["pictures_per_second"] for h in history])) if history else None,
            "data": {"name": test.name, "origin": test.origin, "train": train.fingerprint, "test": test.fingerprint},
            "seconds": sum(h["seconds"] for h in history),
            **provenance,
        }
        _write(folder / "row.json", lambda out: out.write(json.dumps(row).encode()))
    row = json.loads((folder / "row.json").read_text())
    if row not in rows.read(study, scale):
        rows.append(row)
    with np.load(folder / "test.npz") as kept:
        return Run(row, model, {views: kept[views] for views in VIEWS}, folder, trained_now)


def _keep(file: Path, make) -> dict:
    """What `file` holds; made and written on the first call."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        made = json.dumps(make()).encode()
        _write(file, lambda out: out.write(made))
    return json.loads(file.read_text())


def _compact(probabilities: dict) -> dict:
    """Half precision: enough to average and to draw; the metrics are computed before."""
    return {views: p.astype(np.float16) for views, p in probabilities.items()}


def _write(file: Path, fill) -> None:
    """A whole file or none: written under another name, brought to the disk, renamed."""
    part = file.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as out:
        fill(out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, file)
