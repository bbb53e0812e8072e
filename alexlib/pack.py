"""Packed pictures: each is decoded once, into one array of bytes on disk that later starts map into memory.

A pack is a folder `runs/packs/<name>-<side>-<fingerprint of the source>/`:

    train.u8, test.u8                    the pictures, uint8 (N, side, side, 3), nothing else
    train.labels.npy, test.labels.npy    int64 (N,)
    statistics.npz                       mean image, eigenvalues and eigenvectors of the training pictures
    meta.json                            classes, shapes, hashes of the content, origin, versions

It is written under another name and renamed when whole, so a folder of that name is always a whole pack.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import PIL

from alexlib.paths import runs_root
from alexlib.progress import Progress, clock

FORMAT = 1  # raise it when the files, the decoding or the statistics change: older packs are then not used
AHEAD = 4  # pictures decoded in advance, for each thread: bounds the memory

Report = Callable[[int, int], None] | Literal["print"] | None


@dataclass(frozen=True)
class Split:
    """The pictures of one split: `read(i)` gives picture i as uint8 RGB (side, side, 3), from any thread."""

    labels: np.ndarray  # int64 (N,)
    read: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Source:
    """What a pack is made from. `open()` gives classes and splits; it is called when there is no pack yet."""

    name: str
    side: int
    fingerprint: str  # changes when any picture changes
    origin: str  # in words, for reports
    open: Callable[[], tuple[tuple[str, ...], dict[str, Split]]]


@dataclass(frozen=True)
class Pack:
    """An opened pack. Arrays are by split, and read-only."""

    meta: dict
    pixels: dict[str, np.ndarray]  # uint8 (N, side, side, 3), mapped from disk
    labels: dict[str, np.ndarray]  # int64 (N,)
    mean: np.ndarray  # float32 (side, side, 3)
    eigenvalues: np.ndarray  # float64 (3,), ascending
    eigenvectors: np.ndarray  # float64 (3, 3), columns


# ---- finding and opening -----------------------------------------------------------------------------------


def fingerprint(parts: Iterable, side: int) -> str:
    """Hash of whatever identifies a source (each part by its text), of the side and of the pack format."""
    digest = hashlib.sha256(f"{FORMAT} {side}\n".encode())
    for part in parts:
        digest.update(f"{part!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def ensure(source: Source, progress: Report = "print") -> Pack:
    """Open the pack of a source; make it first when there is none.

    `progress` is called with (pictures done, pictures in all); "print" shows a line, None says nothing.
    """
    folder = runs_root() / "packs" / f"{source.name}-{source.side}-{source.fingerprint}"
    if not folder.is_dir():
        _make(folder, source, progress)
    return open_pack(folder)


def open_pack(folder: Path) -> Pack:
    """Open the pack in a folder; ValueError when its files do not fit together."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        shapes = {split: tuple(shape) for split, shape in meta["shapes"].items()}
        pixels = {split: np.memmap(folder / f"{split}.u8", np.uint8, "r", shape=shapes[split]) for split in shapes}
        labels = {split: np.load(folder / f"{split}.labels.npy", allow_pickle=False) for split in pixels}
        with np.load(folder / "statistics.npz", allow_pickle=False) as file:
            statistics = {name: file[name] for name in ("mean", "eigenvalues", "eigenvectors")}
    except (FileNotFoundError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete this folder and start again") from error
    for array in (*labels.values(), *statistics.values()):
        array.flags.writeable = False
    return Pack(meta, {split: np.asarray(mapped) for split, mapped in pixels.items()}, labels, **statistics)


# ---- writing -----------------------------------------------------------------------------------------------


def _make(folder: Path, source: Source, progress: Report) -> None:
    """Write a pack under a temporary name beside `folder` and rename it when it is whole and on disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    with _lock(folder.parent, folder.name):
        if folder.is_dir():  # another process made it while this one waited
            return
        classes, splits = source.open()
        _check_room(folder.parent, source, splits)
        part = folder.parent / f".{folder.name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed while this one waited
        try:
            part.mkdir()
            _write(part, source, classes, splits, progress)
            os.rename(part, folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write(part: Path, source: Source, classes: tuple[str, ...], splits: dict[str, Split], progress: Report) -> None:
    total = sum(len(split.labels) for split in splits.values())
    report = _line(source.name) if progress == "print" else progress or (lambda done, total: None)
    shapes, hashes, done = {}, {}, 0
    for name, split in splits.items():
        shapes[name] = [len(split.labels), source.side, source.side, 3]
        moments = _Moments(source.side)
        digest = hashlib.sha256(str(shapes[name]).encode())
        with _synced(part / f"{name}.u8") as file:
            for picture, second in _pictures(split):
                file.write(picture.data)
                digest.update(picture.data)
                moments.add(picture, second)
                done += 1
                report(done, total)
        digest.update(split.labels.astype("<i8").tobytes())
        hashes[name] = digest.hexdigest()
        with _synced(part / f"{name}.labels.npy") as file:
            np.save(file, split.labels.astype(np.int64), allow_pickle=False)
        if name == "train":
            with _synced(part / "statistics.npz") as file:
                np.savez(file, **moments.statistics())
    meta = {"format": FORMAT, "name": source.name, "origin": source.origin, "classes": classes, "shapes": shapes}
    meta |= {"sha256": hashes, "numpy": np.__version__, "pillow": PIL.__version__}
    with _synced(part / "meta.json") as file:
        file.write(json.dumps(meta, indent=1).encode())
    _sync(part)


def _pictures(split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each picture in order with its second moment (3, 3), read by a thread a core, a few ahead of the caller."""

    def work(index):
        picture = np.ascontiguousarray(split.read(index))
        return picture, _second_moment(picture)

    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = deque()
        for index in range(len(split.labels)):
            waiting.append(pool.submit(work, index))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _second_moment(picture: np.ndarray) -> np.ndarray:
    """Sum of the products of R, G and B with each other over the pixels of a picture: float64 (3, 3)."""
    rgb = picture.reshape(-1, 3).astype(np.float64)
    return rgb.T @ rgb


class _Moments:
    """Sums over pictures: of whole numbers, so exact, and the same in any order."""

    def __init__(self, side: int):
        self.count = 0
        self.total = np.zeros((side, side, 3), np.int64)
        self.second = np.zeros((3, 3))  # float64 is exact to 2**53, more than two million pictures of side 256

    def add(self, picture: np.ndarray, second: np.ndarray) -> None:
        self.count += 1
        self.total += picture
        self.second += second

    def statistics(self) -> dict[str, np.ndarray]:
        """Mean image (side, side, 3) in 0..255, and axes of the covariance of RGB over all pixels of all pictures."""
        mean = self.total / self.count
        colour = mean.mean(axis=(0, 1))
        pixels = self.count * mean[..., 0].size
        values, vectors = principal_axes(self.second / pixels - np.outer(colour, colour))
        return {"mean": mean.astype(np.float32), "eigenvalues": values, "eigenvectors": vectors}


def principal_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (3,), ascending, and eigenvectors (3, 3), columns, of a covariance (3, 3).

    A vector's sign is free: its largest component is made positive, the first one where two are as large.
    """
    values, vectors = np.linalg.eigh(covariance)
    largest = np.argmax(np.round(np.abs(vectors), 6), axis=0)
    signs = np.where(vectors[largest, range(3)] < 0, -1.0, 1.0)
    return np.maximum(values, 0), vectors * signs


def _line(name: str) -> Callable[[int, int], None]:
    """Progress as one line, live where somebody watches."""
    line, start = Progress(), time.monotonic()

    def report(done, total):
        seconds = time.monotonic() - start
        rate = done / max(seconds, 1e-3)
        if done == total:
            line.end(f"packed {name}: {total} pictures in {clock(seconds)}, {rate:.0f}/s")
        elif line.due():
            line.show(f"packing {name}: {done}/{total} pictures, {rate:.0f}/s, {clock((total - done) / rate)} left")

    return report


# ---- disk --------------------------------------------------------------------------------------------------


def _check_room(packs: Path, source: Source, splits: dict[str, Split]) -> None:
    """OSError (no space) before the first byte is written when the pack would not fit."""
    pictures = sum(len(split.labels) for split in splits.values())
    need = (pictures + 10) * (source.side**2 * 3 + 8)  # 10: the mean image and the small files, with some to spare
    free = shutil.disk_usage(packs).free
    if need > free:
        older = ", ".join(path.name for path in sorted(packs.glob(f"{source.name}-{source.side}-*")))
        hint = f" (perhaps out of date: {older})" if older else ""
        raise OSError(
            errno.ENOSPC,
            f"packing {source.name} ({pictures:,} pictures of side {source.side}) needs {need / 1e9:.2f} GB; "
            f"{packs} has {free / 1e9:.2f} GB free: make room{hint}, or set ALEXLIB_RUNS to a folder elsewhere",
        )


@contextmanager
def _lock(packs: Path, name: str, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a pack's name, which dies with its holder. Without `wait`: give False if it is held."""
    import fcntl  # not on Windows, where packs can still be opened

    with open(packs / f".{name}.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            print(f"another process is packing {name}: waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def _sweep(packs: Path) -> None:
    """Delete what killed packings left behind: the temporary folders whose lock nobody holds."""
    for part in packs.glob(".*.part"):
        with _lock(packs, part.name[1 : -len(".part")], wait=False) as dead:
            if dead:
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _synced(path: Path) -> Iterator:
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Put a folder's list of names on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
