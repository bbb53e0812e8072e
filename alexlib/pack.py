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
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import PIL

from alexlib.paths import runs_root
from alexlib.progress import Progress, clock

FORMAT = 1  # raise it when the files, the decoding or the statistics change: older packs are then not used
AHEAD = 4  # pictures decoded in advance, for each thread: bounds the memory

Split = tuple[np.ndarray, Callable[[int], np.ndarray]]  # labels, and picture i as uint8 RGB (side, side, 3)


@dataclass(frozen=True)
class Source:
    """What a pack is made from. `open()` gives classes and splits; it is called when there is no pack yet."""

    name: str
    side: int
    fingerprint: str  # changes when any picture changes
    origin: str  # in words, for reports
    open: Callable[[], tuple[tuple[str, ...], dict[str, Split]]]


def fingerprint(parts: Iterable, side: int) -> str:
    """Hash of whatever identifies a source (each part by its text), of the side and of the pack format."""
    digest = hashlib.sha256(f"{FORMAT} {side}\n".encode())
    for part in parts:
        digest.update(f"{part!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def ensure(source: Source) -> Path:
    """The folder of a source's pack, which is made first when there is none."""
    packs = runs_root() / "packs"
    folder = packs / f"{source.name}-{source.side}-{source.fingerprint}"
    if folder.is_dir():
        return folder
    import fcntl  # not on Windows, where packs can still be opened

    packs.mkdir(parents=True, exist_ok=True)
    part = packs / f".{folder.name}.part"
    with open(part.with_suffix(".lock"), "a") as lock:  # the lock dies with its holder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is packing {folder.name}: waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # that process made it
            return folder
        shutil.rmtree(part, ignore_errors=True)
        for other in packs.glob(".*.part"):  # left behind by a killed process, if nobody holds its lock
            with open(other.with_suffix(".lock"), "a") as theirs, suppress(BlockingIOError):
                fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
        try:
            _write(part, source)
            part.rename(folder)
            _sync(packs)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _write(part: Path, source: Source) -> None:
    """Write the files of a pack into the new folder `part`, and wait until they are on disk."""
    classes, splits = source.open()
    pictures = sum(len(labels) for labels, _ in splits.values())
    _check_room(part.parent, source, pictures)
    part.mkdir()
    report = _progress(source.name, pictures)
    shapes, hashes = {}, {}
    for name, (labels, read) in splits.items():
        shape = [len(labels), source.side, source.side, 3]
        digest = hashlib.sha256(str(shape).encode())
        total = np.zeros(shape[1:], np.int64)  # sums of whole numbers are exact, and the same in any order
        second = np.zeros((3, 3))  # float64 is exact to 2**53, more than two million pictures of side 256
        with open(part / f"{name}.u8", "wb") as file:
            for picture, products in _pictures(len(labels), read):
                file.write(picture.data)
                digest.update(picture.data)
                total += picture
                second += products
                report()
        digest.update(labels.astype("<i8").tobytes())
        shapes[name], hashes[name] = shape, digest.hexdigest()
        np.save(part / f"{name}.labels.npy", labels.astype(np.int64))
        if name == "train":
            np.savez(part / "statistics.npz", **_statistics(len(labels), total, second))
    meta = {"format": FORMAT, "name": source.name, "origin": source.origin, "classes": classes, "shapes": shapes}
    meta |= {"sha256": hashes, "numpy": np.__version__, "pillow": PIL.__version__}
    (part / "meta.json").write_text(json.dumps(meta, indent=1))
    _sync(*part.iterdir(), part)


def _check_room(packs: Path, source: Source, pictures: int) -> None:
    need = (pictures + 10) * (source.side**2 * 3 + 8)  # 10: the mean image and the small files, with some to spare
    free = shutil.disk_usage(packs).free
    if need > free:
        raise OSError(
            errno.ENOSPC,
            f"packing {source.name} ({pictures:,} pictures of side {source.side}) needs {need / 1e9:.2f} GB; "
            f"{packs} has {free / 1e9:.2f} GB free: make room, or set ALEXLIB_RUNS to a folder elsewhere",
        )


def _pictures(count: int, read: Callable[[int], np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each picture in order with the sums over its pixels of the products of R, G and B with each other (3, 3).

    They are read by a thread a core, a few ahead of the caller.
    """

    def work(index):
        picture = np.ascontiguousarray(read(index))
        rgb = picture.reshape(-1, 3).astype(np.float64)
        return picture, rgb.T @ rgb

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        futures = (pool.submit(work, index) for index in range(count))
        waiting = deque(islice(futures, AHEAD * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))


def _statistics(count: int, total: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Mean image (side, side, 3) in 0..255, and axes of the covariance of RGB over all pixels of all pictures.

    An eigenvector's sign is free: its largest component is made positive, the first one where two are as large.
    """
    mean = total / count
    colour = mean.mean(axis=(0, 1))
    covariance = second / (count * mean[..., 0].size) - np.outer(colour, colour)
    values, vectors = np.linalg.eigh(covariance)
    largest = np.argmax(np.round(np.abs(vectors), 6), axis=0)
    signs = np.where(vectors[largest, range(3)] < 0, -1.0, 1.0)
    return {"mean": mean.astype(np.float32), "eigenvalues": np.maximum(values, 0), "eigenvectors": vectors * signs}


def _progress(name: str, total: int) -> Callable[[], None]:
    """To be called after each picture: shows one line, live where somebody watches."""
    line, start, done = Progress(), time.monotonic(), 0

    def report():
        nonlocal done
        done += 1
        seconds = time.monotonic() - start
        rate = done / max(seconds, 1e-3)
        if done == total:
            line.end(f"packed {name}: {total} pictures in {clock(seconds)}, {rate:.0f}/s")
        elif line.due():
            line.show(f"packing {name}: {done}/{total} pictures, {rate:.0f}/s, {clock((total - done) / rate)} left")

    return report


def _sync(*paths: Path) -> None:
    """Wait until files, and the lists of names of folders, are on disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
