"""Packed pictures: each is decoded once, into one array of bytes on disk that later starts map into memory.

A pack is a folder `runs/packs/<name>-<side>-<fingerprint of the source>/`:

    train.u8, test.u8                    the pictures, uint8 (N, side, side, 3), nothing else
    train.labels.npy, test.labels.npy    int64 (N,)
    statistics.npz                       mean image, eigenvalues and eigenvectors of the training pictures
    meta.json                            classes, shapes, hashes of the content, origin, versions

It is written under another name and renamed when whole, so a folder of that name is always a whole pack.
"""

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
from itertools import islice
from pathlib import Path

import numpy as np
import PIL

from alexlib.paths import runs_root
from alexlib.progress import Progress, clock

FORMAT = 1  # raise it when the files, the decoding or the statistics change: older packs are then not used
AHEAD = 4  # pictures decoded in advance, for each thread: bounds the memory

Split = tuple[np.ndarray, Callable[[int], np.ndarray]]  # labels, and picture i as uint8 RGB (side, side, 3)
Opened = tuple[tuple[str, ...], dict[str, Split]]  # classes, and splits by name


def ensure(name: str, side: int, identity: Iterable, origin: str, opened: Callable[[], Opened]) -> Path:
    """The folder of a set's pack, which is made first when there is none.

    `identity` must change when any picture changes: each part is hashed by its text. `origin` says in words where
    the pictures come from. `opened` is called only when they are packed.
    """
    digest = hashlib.sha256(f"{FORMAT} {side}\n".encode())
    for part in identity:
        digest.update(f"{part!r}\n".encode("utf-8", "surrogateescape"))
    packs = runs_root() / "packs"
    folder = packs / f"{name}-{side}-{digest.hexdigest()[:16]}"
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
            _write(part, name, side, origin, *opened())
            part.rename(folder)
            _sync(packs)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _write(part: Path, name: str, side: int, origin: str, classes: tuple[str, ...], splits: dict[str, Split]) -> None:
    """Write the files of a pack into the new folder `part`, and wait until they are on disk."""
    pictures = sum(len(labels) for labels, _ in splits.values())
    need = (pictures + 10) * (side**2 * 3 + 8)  # 10: the mean image and the small files, with some to spare
    free = shutil.disk_usage(part.parent).free
    if need > free:
        raise OSError(
            f"packing {name} ({pictures:,} pictures of side {side}) needs {need / 1e9:.2f} GB; "
            f"{part.parent} has {free / 1e9:.2f} GB free: make room, or set ALEXLIB_RUNS to a folder elsewhere"
        )
    part.mkdir()
    line, start, done = Progress(), time.monotonic(), 0
    shapes, hashes = {}, {}
    for split, (labels, read) in splits.items():
        shapes[split] = [len(labels), side, side, 3]
        digest = hashlib.sha256(str(shapes[split]).encode())
        total = np.zeros(shapes[split][1:], np.int64)  # sums of whole numbers are exact, and the same in any order
        second = np.zeros((3, 3))  # float64 is exact to 2**53, more than two million pictures of side 256
        with open(part / f"{split}.u8", "wb") as file:
            for picture, products in _pictures(len(labels), read):
                file.write(picture.data)
                digest.update(picture.data)
                total += picture
                second += products
                done += 1
                if line.due():
                    left = (time.monotonic() - start) * (pictures / done - 1)
                    line.show(f"packing {name}: {done} of {pictures} pictures, {clock(left)} left")
        digest.update(labels.astype("<i8").tobytes())
        hashes[split] = digest.hexdigest()
        np.save(part / f"{split}.labels.npy", labels.astype(np.int64))
        if split == "train":
            np.savez(part / "statistics.npz", **_statistics(len(labels), total, second))
    meta = {"format": FORMAT, "name": name, "origin": origin, "classes": classes, "shapes": shapes}
    meta |= {"sha256": hashes, "numpy": np.__version__, "pillow": PIL.__version__}
    (part / "meta.json").write_text(json.dumps(meta, indent=1))
    _sync(*part.iterdir(), part)
    line.end(f"packed {name}: {pictures} pictures in {clock(time.monotonic() - start)}")


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


def _sync(*paths: Path) -> None:
    """Wait until files, and the lists of names of folders, are on disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
