"""`pack` decodes each image of a data set once, into one file of pixels on disk.

A pack is a folder `runs/packs/<name>-<side>-<hash>/` with the pixels of each split (train.u8, uint8
(N, side, side, 3)), labels and statistics (arrays.npz) and names (about.json).
"""

import hashlib
import json
import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, SoftFileLock, Timeout
from joblib import cpu_count
from PIL import Image

from alexlib.config import runs_root
from alexlib.data.images import Images, in_order, read_pack
from alexlib.progress import bar

LISTED = 20  # images that an error message names


def pack(
    name: str,
    splits: dict,
    classes,
    side: int,
    *,
    ids=(),
    origin: str = "",
    version: str = "",
    on_error: str = "raise",
    threads: int | None = None,
) -> dict[str, Images]:
    """Packs data sets as squares of `side` pixels, unless that was done, and opens the pack.

    Args:
        splits: map-style data sets of (PIL image, label) by name, one of them "train".
        classes: the names of the labels 0, 1, ...
        ids: of the classes, e.g. the names of their folders.
        origin: where the images come from, for readers.
        version: change it when the images change; otherwise a pack of the same name, classes,
            lengths, side and origin is used again.
        on_error: "raise" names all images that cannot be read, "skip" leaves them out.
        threads: that read at the same time, one for each core by default. Use 1 for a data set that
            must not be read by several threads at once.

    Raises:
        ValueError: images cannot be read, or a class has none that can.
        OSError: there is no room on the disk.
    """
    if on_error not in ("raise", "skip") or side < 1:
        raise ValueError(f"on_error: 'raise' or 'skip', not {on_error!r}; side: 1 or more, {side}")
    lengths = {split: len(data) for split, data in splits.items()}
    if "train" not in lengths or 0 in lengths.values():
        raise ValueError(f"{name}: there must be images in 'train' and in each split: {lengths}")
    identity = repr([2, side, lengths, [*classes], origin, version]).encode("utf-8", "replace")
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "images"
    folder = runs_root() / "packs" / f"{name}-{side}-{hashlib.sha256(identity).hexdigest()[:16]}"
    if not folder.is_dir():
        with lock(folder.parent / f".{folder.name}.lock"):
            if not folder.is_dir():  # not made by another process meanwhile
                about = {"name": name, "classes": [*classes], "ids": [*ids], "origin": origin}
                _make(folder, splits, side, about, on_error, threads or cpu_count())
    sets = read_pack(folder)
    if on_error == "raise":
        _refuse(name, [bad for images in sets.values() for bad in images.skipped])
    return sets


def lock(file: Path, waiting: str = "", kind=FileLock):
    """Acquire a lock, for use in `with`; prints `waiting` if another process has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    found = kind(file)
    try:
        return found.acquire(blocking=False)
    except Timeout:
        if waiting:
            print(f"{waiting} (lock: {file})", file=sys.stderr)
        return found.acquire()
    except OSError:
        if kind is SoftFileLock:
            raise
        return lock(Path(f"{file}.soft"), waiting, SoftFileLock)  # a file system without flock


def _make(folder: Path, splits: dict, side, about: dict, on_error: str, threads: int) -> None:
    """Writes a pack under another name and renames it when it is complete."""
    part, count = folder.with_name(f".{folder.name}.part"), sum(map(len, splits.values()))
    need, free = (count + 10) * (3 * side**2 + 8), shutil.disk_usage(folder.parent).free
    room = f"in {folder.parent}: make room, or set ALEXLIB_RUNS to a folder elsewhere"
    if need > free:
        raise OSError(f"{need / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free {room}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir()
    try:
        _write(part, splits, side, about, on_error, threads)
        _sync(*part.iterdir(), part)
        part.rename(folder)
        _sync(folder.parent)
    except OSError as error:  # most of all, the disk became full
        raise OSError(f"cannot write ({error}) {room}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(part: Path, splits: dict, side, about: dict, on_error: str, threads: int) -> None:
    arrays, lost = {}, set()
    about |= {"fingerprints": {}, "skipped": {}}
    count = sum(map(len, splits.values()))
    with bar(total=count, desc=f"packing {about['name']}", unit=" images") as shown:
        for split, data in splits.items():
            labels, bad = [], about["skipped"].setdefault(split, [])
            total, second = np.zeros((side, side, 3), np.int64), np.zeros((3, 3))
            with open(part / f"{split}.u8", "wb") as file:
                read = partial(_read, data, side)
                for found in in_order(read, range(len(data)), threads, 4 * threads):
                    shown.update()
                    if len(found) == 2:
                        bad.append(found)
                        continue
                    pixels, label, products = found
                    file.write(pixels)
                    labels.append(label)
                    total += pixels
                    second += products
            if split == "train" and labels:
                arrays |= statistics(len(labels), total, second)
            arrays[f"{split}_labels"] = np.array(labels, np.int64)
            about["fingerprints"][split] = _fingerprint(part / f"{split}.u8", labels, side)
            lost |= {int(label) for label in getattr(data, "targets", labels)} - {*labels}
    if on_error == "raise" or lost:
        _refuse(about["name"], [bad for split in splits for bad in about["skipped"][split]])
    np.savez(part / "arrays.npz", **arrays)
    (part / "about.json").write_text(json.dumps(about, indent=1), "utf-8")


def _read(data, side: int, index: int) -> tuple:
    """Pixels, label and sums of RGB products of an image; (file, reason) if it cannot be read."""
    try:
        image, label = data[index]
        pixels = square(image, side)
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        reason = str(error) or repr(error)
        file = f"image {index}"
        if hasattr(data, "samples"):
            file = os.path.relpath(data.samples[index][0], Path(data.root).parent)
        return file, reason
    rgb = pixels.reshape(-1, 3).astype(np.float64)
    return pixels, int(label), rgb.T @ rgb


def square(image: Image.Image, side: int) -> np.ndarray:
    """The centre square of an image, resized: uint8 RGB (side, side, 3).

    16 bits are scaled to 8; what is transparent becomes white.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"not a PIL image, but {type(image).__name__}: leave out the transform")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = image.crop((left, top, left + short, top + short))
    if image.mode[0] in "IF":
        levels = np.asarray(image)
        if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("grey levels beyond 16 bits have no known range")
        image = Image.fromarray(((levels.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def statistics(count: int, total: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Mean image, and principal components of RGB over all pixels (section 4.1).

    Args:
        total: sum of all images, (side, side, 3); second: sum over all pixels of rgb^T rgb, (3, 3).

    The largest component of each eigenvector is made positive: the sign is arbitrary.
    """
    mean = total / count
    colour = mean.mean(axis=(0, 1))
    covariance = second / (count * mean[..., 0].size) - np.outer(colour, colour)
    values, vectors = np.linalg.eigh(covariance)
    largest = np.argmax(np.round(np.abs(vectors), 6), axis=0)  # the first of two equal ones
    vectors = vectors * np.where(vectors[largest, range(3)] < 0, -1.0, 1.0)
    mean, values = mean.astype(np.float32), np.maximum(values, 0)
    return {"mean": mean, "eigenvalues": values, "eigenvectors": vectors}


def _fingerprint(file: Path, labels: list[int], side: int) -> str:
    """Hash of shape, pixels and labels."""
    shape = str([len(labels), side, side, 3]).encode()
    with open(file, "rb") as pixels:
        digest = hashlib.file_digest(pixels, lambda: hashlib.sha256(shape))
    digest.update(np.array(labels, "<i8").tobytes())
    return digest.hexdigest()[:16]


def _refuse(name: str, skipped: list[tuple[str, str]]) -> None:
    """ValueError if there are images that cannot be used."""
    if skipped:
        lines = [f"  {file}: {reason}" for file, reason in skipped[:LISTED]]
        if len(skipped) > LISTED:
            lines.append(f"  ... and {len(skipped) - LISTED:,} more")
        head = f"{name}: {len(skipped):,} images cannot be used; replace or delete them, or leave"
        head += " them out by on_error='skip' (--on-error skip) if each class keeps an image:"
        raise ValueError("\n".join([head, *lines]))


def _sync(*paths: Path) -> None:
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
