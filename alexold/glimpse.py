"""A run as it stands, by the name of its folder, also while other processes train it: nothing is trained or written."""

import json

import numpy as np

from alexold import checkpoint, study
from alexold.config import spec_from
from alexold.data import Images
from alexold.nets import build
from alexold.paths import runs_root
from alexold.study import Run
from alexold.train import score


def settings(name: str) -> dict:
    """Study, variant, scale, seed, spec and config of the run in a folder under `runs/`.

    ValueError: there is no such folder, or no run in it; the message names those there are.
    """
    folder = runs_root() / name
    for file in (folder / "config.json", folder / "row.json"):  # runs of earlier versions have the second alone
        if file.is_file():
            return json.loads(file.read_text())
    known = sorted(file.parent.name for file in runs_root().glob("*/checkpoint.pt"))
    raise ValueError(f"no run {name!r} in {runs_root()}; those there are: {', '.join(known) or 'none'}")


def glimpse(name: str, train: Images, test: Images, device: str = "cpu") -> Run:
    """The run with the weights of its last checkpoint, tested now if it is not finished.

    Its row is then the one that it would have if it ended here.

    Args:
        name: of a folder under `runs/`.
        train, test: the pictures that the run was started with.
        device: one, or two with a comma between, a tower on each.

    Raises:
        ValueError: no such run, no checkpoint of it yet, no whole epoch in it, or other pictures.
    """
    folder, about = runs_root() / name, settings(name)
    spec, seed = spec_from(about["config"]), about["seed"]
    first, *second = device.split(",")
    model = build(spec, (first, *second) if second else None)
    fitted = train.holdout(spec.train.validation, seed)[0] if spec.train.validation else train
    epochs = checkpoint.look(folder, model, spec, seed, fitted)
    model.to(first)
    if (folder / "row.json").exists():
        with np.load(folder / "test.npz") as kept:
            return Run(json.loads((folder / "row.json").read_text()), model, dict(kept), folder, test.labels, False)
    if not epochs:
        raise ValueError(f"{folder}: its first epoch has not ended yet")
    probabilities = study.tested(model, test, spec, first)
    metrics = {views: score(p, test.labels) for views, p in probabilities.items()}
    row = study.to_row(about, train, test, epochs, metrics, json.loads((folder / "provenance.json").read_text()))
    return Run(row, model, study.compact(probabilities), folder, test.labels, False)
