"""`pack` decodes each image of a data set once, into one file of pixels on disk.

A pack is a folder `runs/packs/<name>-<side>-<hash>/` with the pixels of each split (train.u8, uint8
(N, side, side, 3)), labels and statistics (arrays.npz) and names (about.json).
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from operator import length_hint
from pathlib import Path

import numpy as np
from joblib import cpu_count

from alexlib.config import runs_root
from alexlib.data.images import Images, in_order, read_pack, square
from alexlib.files import lock, sync, try_writing
from alexlib.progress import bar

LISTED = 20  # images that an error message names
LAYOUT = "expected are train/<class>/* and either val/<class>/* or test/<class>/*"
LAYOUT += " (other layouts: docs/data.md)"


def pack(
    name: str,
    splits: dict | Callable[[], dict],
    classes,
    side: int,
    *,
    ids=(),
    origin: str = "",
    version: str = "",
    ignored: str = "",
    on_error: str = "raise",
    threads: int | None = None,
) -> dict[str, Images]:
    """Packs data sets as squares of `side` pixels, unless that has been done, and opens the pack.

    Args:
        splits: map-style data sets of (PIL image, label) by name, one of them "train"; or a
            function that returns them or `sources.Stream`s; it is called if there is no pack yet.
        classes: the names of the labels 0, 1, ...; empty: those of the data set, or the labels.
        ids: of the classes, e.g. the names of their folders.
        origin: where the images come from, for readers.
        version: change it when the images change; otherwise a pack of the same name, classes,
            lengths, side and origin is used again.
        ignored: is added to the origin, but a change of it does not cause another pack.
        on_error: "raise" names all images that cannot be read, "skip" leaves them out.
        threads: how many read at the same time; one for each core by default. Use 1 for a data set
            that must not be read by several threads at once.

    Raises:
        ValueError: images cannot be read, or a class has none that can.
        OSError: there is no room on the disk.
    """
    if on_error not in ("raise", "skip") or side < 1:
        raise ValueError(f"on_error: 'raise' or 'skip', not {on_error!r}; side: 1 or more, {side}")
    lengths = None if callable(splits) else {split: len(data) for split, data in splits.items()}
    identity = repr([2, side, lengths, [*classes], origin, version]).encode("utf-8", "replace")
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "images"
    folder = runs_root() / "packs" / f"{name}-{side}-{hashlib.sha256(identity).hexdigest()[:16]}"
    if not folder.is_dir():
        try_writing(folder.parent, "ALEXLIB_RUNS")
        with lock(folder.parent / f".{folder.name}.lock"):
            if not folder.is_dir():  # no other process has made it meanwhile
                about = {"name": name, "classes": [*classes], "ids": [*map(_printable, ids)]}
                about["origin"] = _printable("; ".join(filter(None, (origin, ignored))))
                splits = splits() if callable(splits) else splits
                _make(folder, splits, side, about, on_error, threads or cpu_count())
    sets = read_pack(folder)
    if on_error == "raise":
        _refuse(name, [bad for images in sets.values() for bad in images.skipped])
    return sets


def _make(folder: Path, splits: dict, side, about: dict, on_error: str, threads: int) -> None:
    """Writes a pack under another name and renames it when it is complete."""
    part = folder.with_name(f".{folder.name}.part")
    count = sum(map(length_hint, splits.values()))  # 0 for a stream
    need, free = (count + 10) * (3 * side**2 + 8), shutil.disk_usage(folder.parent).free
    room = f"in {folder.parent}: make room, or set ALEXLIB_RUNS to a folder elsewhere"
    if need > free:
        raise OSError(f"{need / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free {room}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir()
    try:
        _write(part, splits, side, about, on_error, threads)
        sync(*part.iterdir(), part)
        part.rename(folder)
        sync(folder.parent)
    except OSError as error:  # usually because the disk is full
        raise OSError(f"cannot write ({error}) {room}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(part: Path, splits: dict, side, about: dict, on_error: str, threads: int) -> None:
    arrays, labels, lost = {}, {}, set()
    about |= {"fingerprints": {}, "skipped": {}}
    count = sum(map(length_hint, splits.values())) or None
    with bar(total=count, desc=f"packing {about['name']}", unit=" images") as shown:
        for split, data in splits.items():
            labels[split], bad = [], about["skipped"].setdefault(split, [])
            wanted = {_label(label) for label in getattr(data, "targets", ())}
            items = range(len(data)) if hasattr(data, "__len__") else data
            total, second = np.zeros((side, side, 3), np.int64), np.zeros((3, 3))
            with open(part / f"{split}.u8", "wb") as file:
                read = partial(_read, data, split, side)
                for found in in_order(read, items, threads, 4 * threads):
                    shown.update()
                    if len(found) == 2:
                        bad.append(found[0])
                        wanted |= found[1]
                        continue
                    pixels, label, products = found
                    file.write(pixels)
                    labels[split].append(label)
                    total += pixels
                    second += products
            if split == "train" and labels[split]:
                arrays |= statistics(len(labels[split]), total, second)
            lost |= wanted - {*labels[split]}
    lost |= {split for split, found in labels.items() if not found}
    if on_error == "raise" or lost:
        _refuse(about["name"], [bad for split in splits for bad in about["skipped"][split]])
    if lost or "train" not in labels:
        raise ValueError(f"{about['name']}: there must be images in 'train' and in each split")
    classes = about["classes"] or getattr(splits["train"], "classes", ())
    about["classes"] = _numbered(labels, [_printable(name) for name in classes])
    for split, numbers in labels.items():
        arrays[f"{split}_labels"] = np.array(numbers, np.int64)
        about["fingerprints"][split] = _fingerprint(part / f"{split}.u8", numbers, side)
    np.savez(part / "arrays.npz", **arrays)
    (part / "about.json").write_text(json.dumps(about, indent=1), "utf-8")


def _read(data, split: str, side: int, item) -> tuple:
    """Pixels, label and sums of RGB products of an image.

    If it cannot be read: (file, reason), and a set with its label, empty if that is not known.
    """
    try:
        image, label = data[item]
        label = _label(label)
        pixels = square(image, side)
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        reason = re.sub(r"(?<=['\"])/[^'\"]*/", "", str(error) or repr(error))  # no absolute paths
        file = f"{split}: {item[0] if isinstance(item, tuple) else f'image {item}'}"
        if hasattr(data, "samples"):
            file = os.path.relpath(data.samples[item][0], Path(data.root).parent)
        labels = set()
        with suppress(TypeError, ValueError, IndexError):  # not of a `Stream`, or it has no label
            labels.add(_label(item[2]))
        return (_printable(file), _printable(reason)), labels
    rgb = pixels.reshape(-1, 3).astype(np.float64)
    return pixels, label, rgb.T @ rgb


def _label(label) -> str | int:
    return label if isinstance(label, str) else int(label)


def _numbered(labels: dict[str, list], classes: list[str]) -> list[str]:
    """Replaces labels that are words by numbers, in place; returns the names of the classes.

    ValueError: there are labels without a class, for instance -1 for "unknown".
    """
    words = sorted({label for label in chain(*labels.values()) if isinstance(label, str)})
    classes = classes or words or [str(n) for n in range(1 + max(chain(*labels.values())))]
    if words:
        numbers = {name: number for number, name in enumerate(classes)}
        for split, found in labels.items():
            labels[split] = [numbers.get(label, -1) for label in found]
    if wrong := {*chain(*labels.values())} - {*range(len(classes))}:
        raise ValueError(f"labels {sorted(wrong)[:9]} have no class: there are {len(classes)}")
    return classes


def _printable(text: str) -> str:
    """A file name as text: bytes that are not UTF-8 become \\xe9 and the like."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
    """Raise ValueError if there are images that cannot be used."""
    if skipped:
        lines = [f"  {file}: {reason}" for file, reason in skipped[:LISTED]]
        if len(skipped) > LISTED:
            lines.append(f"  ... and {len(skipped) - LISTED:,} more")
        head = f"{name}: {len(skipped):,} images cannot be used; replace or delete them, or leave"
        head += " them out by on_error='skip' (--on-error skip) if each class keeps an image:"
        raise ValueError("\n".join([head, *lines]))
