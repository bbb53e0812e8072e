"""Checkpoints: what a run needs to go on where it stopped."""

import os
from pathlib import Path

import torch

from alexlib.config import Spec
from alexlib.data import Images


def identity(spec: Spec, seed: int, train: Images) -> dict:
    """What a checkpoint must agree with before a run may go on from it."""
    return {"spec": spec.as_dict(), "seed": seed, "data": train.fingerprint, "pictures": len(train)}


def save(folder: Path, model, optimizer, settings: dict, history: list[dict]) -> None:
    """Write `folder/checkpoint.pt` so that at every moment a whole one is there."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"checkpoint.{os.getpid()}.part"
    state = {
        "settings": settings,
        "history": history,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with open(part, "wb") as out:
        torch.save(state, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, folder / "checkpoint.pt")


def resume(folder: Path, model, optimizer, settings: dict) -> list[dict]:
    """Load the checkpoint of a folder into model and optimizer; returns its history, [] where there is none."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        return []
    state = torch.load(file, map_location="cpu", weights_only=True)
    for key in settings:
        if state["settings"][key] != settings[key]:
            raise ValueError(
                f"{folder} holds a run with another {key} ({state['settings'][key]} there, {settings[key]} here):"
                " give this run another name or delete the folder"
            )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"]
