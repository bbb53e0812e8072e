"""Checkpoints: the last one and the one before, written atomically and verified when read."""

import io
import os
import time
import warnings
import zipfile
from pathlib import Path

import torch

from alexlib.config import Config
from alexlib.files import atomic_write
from alexlib.training.distributed import from_first, rank
from alexlib.training.optim import finished

LAST, BEFORE, DAMAGED = "checkpoint.pt", "checkpoint.before.pt", "checkpoint.damaged.pt"
SAVE_EVERY = 300  # seconds between checkpoints within an epoch


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged or could not be written."""


class Checkpoints:
    """The checkpoints of a run in a folder; without a folder, all methods do nothing."""

    def __init__(self, folder: Path | None, model, optimizer, config: Config, seed: int, train):
        self.folder, self.model, self.optimizer, self.train = folder, model, optimizer, config.train
        images = f"{len(train)} of {train.fingerprint}"
        self.settings = _settings(config) | {"seed": seed, "pictures": images}
        self.defaults = _settings(config.defaults)
        self.saved, self.failed = time.monotonic(), None

    def due(self) -> bool:
        """Whether the last checkpoint is older than `SAVE_EVERY` seconds."""
        return self.folder is not None and time.monotonic() - self.saved > SAVE_EVERY

    def save(self, history: list[dict], begun: dict | None = None) -> None:
        """Write a checkpoint; if that fails, warn once, so that training can continue.

        Args:
            history: the rows of the finished epochs.
            begun: the totals of the unfinished epoch.
        """
        self.saved = time.monotonic()
        if self.folder is None or rank():
            return
        state = {"settings": self.settings, "history": history, "begun": begun or {}}
        state |= {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state["threads"] = torch.get_num_threads()
        contents = io.BytesIO()  # torch.save to a file would hide the OSError of a full disk
        torch.save(state, contents)
        last, before = self.folder / LAST, self.folder / BEFORE
        try:
            atomic_write(last, lambda out: out.write(contents.getbuffer()), before)
            self.failed = None
        except OSError as error:
            if not self.failed:
                text = f"no checkpoint written ({error}); training continues"
                warnings.warn(text, CheckpointWarning, stacklevel=3)
            self.failed = error

    def raise_if_unsaved(self) -> None:
        """OSError if the last checkpoint could not be written."""
        if self.failed:
            raise OSError(
                f"the last checkpoint could not be written ({self.failed}): free some space and"
                f" run the same again, which resumes from the previous one in {self.folder}"
            )

    def resume(self) -> tuple[list[dict], dict]:
        """Load the last checkpoint; returns its `history` and `begun`, empty if there is none.

        Raises:
            ValueError: no checkpoint can be read, or they are of a run with other settings.
        """
        if self.folder is None:
            return [], {}
        state, problem = from_first(_latest(self.folder) if rank() == 0 else None)
        if not state:
            return [], {}
        there = self.defaults | state["settings"]  # fields that are newer than the checkpoint
        pairs = {key: (there.get(key), value) for key, value in self.settings.items()}
        if differing := [f"{key}: {a} there, {b} here" for key, (a, b) in pairs.items() if a != b]:
            advice = "give this run another name or delete the folder"
            raise ValueError(f"{self.folder} has another run ({'; '.join(differing)}): {advice}")
        if problem and rank() == 0:
            warnings.warn(f"{problem}; resuming from {BEFORE}", CheckpointWarning, stacklevel=3)
            if (self.folder / LAST).exists():  # else `save` would rename it to BEFORE
                os.replace(self.folder / LAST, self.folder / DAMAGED)
        if "threads" in state and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(state["threads"])  # another number changes the last bits
        self.model.load_state_dict(state["model"])
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError:  # parameters of two towers, or of one net; a finished run needs none
            if not finished(self.train, state["history"]):
                advice = "give the same device or devices as then"
                raise ValueError(f"{self.folder} was begun on other devices: {advice}") from None
        return state["history"], state["begun"]


def history(folder: Path) -> list[dict]:
    """The rows of the finished epochs of a run, empty if it has no checkpoint."""
    return _latest(folder)[0].get("history", [])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The model's state dict in the last checkpoint of a run."""
    state, _ = _latest(folder)
    if not state:
        raise ValueError(f"{folder} has no checkpoint yet")
    return state["model"]


def _settings(config: Config) -> dict:
    return {f"{row['part']}.{row['field']}": row["value"] for row in config.table()}


def _latest(folder: Path) -> tuple[dict, str]:
    """The last readable checkpoint, and what is wrong with a newer one; ({}, "") if none exists."""
    problems = []
    for file in (folder / LAST, folder / BEFORE):
        try:
            return _read(file), "; ".join(problems)
        except Exception as error:  # damaged bytes can raise almost anything
            problems.append(f"{file} cannot be read ({error})")
    if not any((folder / name).exists() for name in (LAST, BEFORE)):
        return {}, ""
    raise ValueError(f"{'; '.join(problems)}: restore a copy, or delete the folder to start again")


def _read(file: Path) -> dict:
    """Read a checkpoint: a zip archive whose checksums are verified before torch reads it."""
    with zipfile.ZipFile(file) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
    return torch.load(file, map_location="cpu", weights_only=True)
