"""Checkpoints: what a run needs to go on where it stopped. The last two are kept, each ending in its checksum."""

import hashlib
import os
import warnings
from pathlib import Path

import torch

from alexold import parallel
from alexold.config import Spec
from alexold.data import Images
from alexold.paths import write_whole
from alexold.towers import load_whole_optimizer, whole_optimizer

LAST, BEFORE, DAMAGED = "checkpoint.pt", "checkpoint.before.pt", "checkpoint.damaged.pt"
MARK = b"sha256"  # a checkpoint ends in this and the digest of all that precedes it; torch.load ignores both
TRAILER = len(MARK) + hashlib.sha256().digest_size  # bytes


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged, or could not be written."""


class Checkpoints:
    """The checkpoints of a run in its folder, of which at every moment a whole one is there."""

    def __init__(self, folder: Path, model, optimizer, spec: Spec, seed: int, train: Images):
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self.settings, self.plain = identity(spec, seed, train), _settings(spec.plain)
        self.failed: OSError | None = None  # why the latest one could not be written

    def save(self, history: list[dict], begun: dict | None = None) -> None:
        """Write the last one and keep the one before; where that fails, training goes on and a warning says so once.

        `begun` is what the epoch after `history` has come to: batches done, sums of loss and errors, seconds. A net on
        two devices is written as the same net on one; of several ranks the first one writes.
        """
        if parallel.rank():
            return
        state = {"settings": self.settings, "history": history, "begun": begun or {}}
        state |= {"model": self.model.state_dict(), "optimizer": whole_optimizer(self.model, self.optimizer)}
        try:
            write_whole(self.folder / LAST, lambda out: _write(state, out), before=self.folder / BEFORE)
            self.failed = None
        except OSError as error:
            if not self.failed:
                text = f"no checkpoint could be written in epoch {len(history) + (begun is not None)} ({_why(error)})"
                warnings.warn(
                    f"{text}: training goes on, those in {self.folder} stay as they are",
                    CheckpointWarning,
                    stacklevel=3,
                )
            self.failed = error

    def assure(self) -> None:
        """OSError if the latest checkpoint could not be written."""
        if self.failed:
            advice = f"make room and give the same command again: it goes on from the last one in {self.folder}"
            raise OSError(f"the run ends without its last checkpoint ({_why(self.failed)}); {advice}")

    def resume(self) -> tuple[list[dict], dict]:
        """Load the last one into model and optimizer; returns its `history` and `begun`, both empty if there is none.

        Only one process at a time may train in a folder: half-written files of others are removed.

        Raises:
            ValueError: none can be read, or they are of another run.
        """
        first = parallel.rank() == 0
        for part in self.folder.glob(".*.part") if first else ():  # of a process that was killed
            part.unlink(missing_ok=True)
        state, bad = parallel.from_first(_latest(self.folder) if first else None)
        if not state:
            return [], {}
        _agree(self.folder, self.plain | state["settings"], self.settings)  # fields added since have their defaults
        if bad and first:
            warnings.warn(f"{self.folder}: {bad}; going on from {BEFORE}", CheckpointWarning, stacklevel=3)
            if (self.folder / LAST).exists():  # else the next save would put it in the place of the good one
                os.replace(self.folder / LAST, self.folder / DAMAGED)
        self.model.load_state_dict(state["model"])
        load_whole_optimizer(self.model, self.optimizer, state["optimizer"])
        return state["history"], state.get("begun", {})


def history(folder: Path) -> list[dict]:
    """The whole epochs of the run in a folder. ValueError: no checkpoint can be read."""
    return _latest(folder)[0].get("history", [])


def look(folder: Path, model, spec: Spec, seed: int, train: Images) -> list[dict]:
    """Load the last weights of a run into a model, and touch nothing: another process may be training there.

    Returns its whole epochs. ValueError: no checkpoint is there or can be read, or it is of another run.
    """
    state, _ = _latest(folder)
    if not state:
        raise ValueError(f"{folder} has no checkpoint yet")
    _agree(folder, _settings(spec.plain) | state["settings"], identity(spec, seed, train))
    model.load_state_dict(state["model"])
    return state["history"]


def identity(spec: Spec, seed: int, train: Images) -> dict:
    """What a checkpoint must agree with before a run may go on from it: every setting, the seed, the pictures."""
    return _settings(spec) | {"seed": seed, "pictures": f"{len(train)} of {train.fingerprint}"}


def _agree(folder: Path, there: dict, here: dict) -> None:
    if differ := [key for key in there.keys() | here.keys() if there.get(key) != here.get(key)]:
        listing = ", ".join(f"{key} ({there.get(key)} there, {here.get(key)} here)" for key in sorted(differ))
        advice = "give this run another name or delete the folder"
        raise ValueError(f"{folder} holds another run: {listing}; {advice}")


def _settings(spec: Spec) -> dict:
    return {f"{row['part']}.{row['field']}": row["value"] for row in spec.rows()}


def _why(error: OSError) -> str:
    return error.strerror or str(error)


class _Damaged(Exception):
    """A file is not as it was written."""


def _latest(folder: Path) -> tuple[dict, str]:
    """The last checkpoint that is whole, and what is wrong with a later one; nothing if there is none at all."""
    if not any((folder / name).exists() for name in (LAST, BEFORE)):
        return {}, ""
    bad = []
    for name in (LAST, BEFORE):
        try:
            return _read(folder / name), ", ".join(bad)
        except FileNotFoundError:
            bad.append(f"{name} is missing")
        except (_Damaged, OSError) as error:
            bad.append(f"{name} is damaged ({error})")
    raise ValueError(f"{folder}: {', '.join(bad)}; put a copy of one back, or delete the folder to begin again")


def _read(file: Path) -> dict:
    """A checkpoint, if every byte is as it was written; of those without a checksum, if torch can read it."""
    with open(file, "rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - TRAILER))
        end = data.read()
        data.seek(0)
        if end.startswith(MARK):
            digest, left = hashlib.sha256(), size - TRAILER
            while left and (block := data.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
            if digest.digest() != end[len(MARK) :]:
                raise _Damaged("its checksum is wrong")
        elif end[-22:-18] != b"PK\5\6":  # the end of a zip, and of a checkpoint from before there were checksums
            raise _Damaged("it is cut off" if size else "it is empty")
        data.seek(0)
        try:
            return torch.load(data, map_location="cpu", weights_only=True)
        except Exception as error:
            if end.startswith(MARK):
                raise
            raise _Damaged("torch cannot read it") from error


def _write(state: dict, out) -> None:
    sealed = _Sealed(out)
    torch.save(state, sealed)
    if sealed.error:
        raise sealed.error
    out.write(MARK + sealed.digest.digest())


class _Sealed:
    """A file and its checksum for torch.save, which would turn any error of writing into one of its own."""

    def __init__(self, out):
        self.out, self.digest, self.error = out, hashlib.sha256(), None

    def write(self, data) -> int:
        try:
            if not self.error:
                self.digest.update(data)
                self.out.write(data)
        except BaseException as error:
            self.error = error
        return len(data)

    def flush(self) -> None:
        pass
