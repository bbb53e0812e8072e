"""Checkpoints: what a run needs to go on where it stopped."""

from pathlib import Path

import torch

from alexlib.config import Spec
from alexlib.data import Images
from alexlib.paths import write_whole
from alexlib.towers import load_whole_optimizer, whole_optimizer


def identity(spec: Spec, seed: int, train: Images) -> dict:
    """What a checkpoint must agree with before a run may go on from it: every setting, the seed, the pictures."""
    return _settings(spec) | {"seed": seed, "pictures": f"{len(train)} of {train.fingerprint}"}


def _settings(spec: Spec) -> dict:
    return {f"{row['part']}.{row['field']}": row["value"] for row in spec.rows()}


def save(folder: Path, model, optimizer, settings: dict, history: list[dict], begun: dict | None = None) -> None:
    """Write `folder/checkpoint.pt` so that at every moment a whole one is there.

    `begun` is what the epoch after `history` has come to: batches done, sums of loss and errors, seconds. A net on two
    devices is written as the same net on one.
    """
    state = {"settings": settings, "history": history, "begun": begun or {}}
    state |= {"model": model.state_dict(), "optimizer": whole_optimizer(model, optimizer)}
    write_whole(folder / "checkpoint.pt", lambda out: torch.save(state, out))


def history(folder: Path) -> list[dict]:
    """The whole epochs of the run in a folder."""
    file = folder / "checkpoint.pt"
    return torch.load(file, map_location="cpu", weights_only=True)["history"] if file.exists() else []


def resume(folder: Path, model, optimizer, spec: Spec, seed: int, train: Images) -> tuple[list[dict], dict]:
    """Load the checkpoint of a folder into model and optimizer; returns its `history` and `begun`, empty if none."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        return [], {}
    state = torch.load(file, map_location="cpu", weights_only=True)
    settings = identity(spec, seed, train)
    there = _settings(spec.plain) | state["settings"]  # fields that were added since have their defaults
    if differ := [key for key in there.keys() | settings.keys() if there.get(key) != settings.get(key)]:
        listing = ", ".join(f"{key} ({there.get(key)} there, {settings.get(key)} here)" for key in sorted(differ))
        raise ValueError(f"{folder} holds another run: {listing}; give this run another name or delete the folder")
    model.load_state_dict(state["model"])
    load_whole_optimizer(model, optimizer, state["optimizer"])
    return state["history"], state.get("begun", {})
