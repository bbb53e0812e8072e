"""Where sets of pictures are found: generated, in folders, or downloaded. Finding a set decodes nothing.

A folder holds train/<class>/* and val/<class>/* (or test/<class>/*). Labels follow the sorted names of the class
folders, pictures the sorted names of the files; names that begin with a dot are ignored.
"""

import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from alexlib import decode, pack, sample
from alexlib.paths import data_root

SAMPLE_TRAIN, SAMPLE_TEST, SAMPLE_SEED = 3000, 500, 2012
LAYOUT = "expected are train/<class>/* and val/<class>/* (or test/<class>/*)"
READABLE = {  # Imagenette's folders, named by WordNet ids
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

File = tuple[str, int, int]  # name, bytes, time of the last change in nanoseconds


def find(source: str | Path, side: int, train_n: int | None = None, test_n: int | None = None) -> pack.Source:
    """The set a name or a folder stands for: `data.load` says which, and what it raises."""
    if side < 1:
        raise ValueError(f"side must be at least 1 pixel, not {side}")
    if source == "sample":
        return _sample(side, SAMPLE_TRAIN if train_n is None else train_n, SAMPLE_TEST if test_n is None else test_n)
    if not train_n is test_n is None:
        raise ValueError(f"train_n and test_n are for the source 'sample'; {str(source)!r} is loaded whole")
    if source in NAMED:
        return NAMED[source](side)
    return _folder(Path(source).expanduser(), side)


def flat(folder: str | Path, side: int) -> pack.Source:
    """The pictures that lie directly in a folder: one split, "train", and one class, "unlabelled"."""
    folder = Path(folder).expanduser()
    files = _pictures(folder) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{folder} is no folder with pictures ({' '.join(decode.EXTENSIONS)}) directly in it")
    return _files(_name(folder), side, ("unlabelled",), {"train": (folder, {"": files})})


# ---- folders -----------------------------------------------------------------------------------------------


def _folder(folder: Path, side: int, name: str = "", tests: tuple[str, ...] = ("val", "test")) -> pack.Source:
    """A folder laid out as LAYOUT says; `tests` are the names its test split may have."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder, and no set known by name ({', '.join(('sample', *NAMED))})")
    there = _subfolders(folder)
    tests = [test for test in tests if test in there]
    if "train" not in there or not tests:
        missing = "val/ or test/" if "train" in there else "train/"
        raise FileNotFoundError(f"{folder} has no {missing} (it has: {', '.join(there) or 'no folders'}); {LAYOUT}")
    if len(tests) > 1:
        raise ValueError(f"{folder} has both val/ and test/: move the one away that results are not reported on")
    train, test = _classes(folder / "train"), _classes(folder / tests[0])
    if train.keys() != test.keys():
        raise ValueError(
            f"{folder}: train/ and {tests[0]}/ must have the same class folders, but "
            f"only train/ has {_some(train.keys() - test.keys())} and "
            f"only {tests[0]}/ has {_some(test.keys() - train.keys())}"
        )
    classes = tuple(READABLE[c] for c in train) if train.keys() <= READABLE.keys() else tuple(train)
    splits = {"train": (folder / "train", train), "test": (folder / tests[0], test)}
    return _files(name or _name(folder), side, classes, splits)


def _files(name: str, side: int, classes: tuple[str, ...], splits: dict[str, tuple[Path, dict[str, list[File]]]]):
    """The source of a set of files: for each split its folder, and the files of each class folder in it."""
    listing = [
        (split, folder, *file) for split in splits for folder, files in splits[split][1].items() for file in files
    ]
    kinds = Counter(Path(file).suffix for _, _, file, _, _ in listing)
    origin = "folder of " + ", ".join(f"{count:,} {kind} files" for kind, count in kinds.most_common())

    def split_of(root, found):
        paths = [root / folder / file for folder, files in found.items() for file, _, _ in files]
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
        return pack.Split(labels, lambda index: decode.decode(paths[index], side))

    return pack.Source(
        name=name,
        side=side,
        fingerprint=pack.fingerprint(listing, side),
        origin=origin,
        open=lambda: (classes, {split: split_of(*where) for split, where in splits.items()}),
    )


def _classes(split: Path) -> dict[str, list[File]]:
    """The files of each class folder of a split, sorted by class; ValueError when there are none."""
    found = {folder: _pictures(split / folder) for folder in _subfolders(split)}
    if not found:
        loose = len(_pictures(split))
        raise ValueError(f"{split} has no class folders ({loose:,} pictures lie directly in it); {LAYOUT}")
    for folder, files in found.items():
        if not files:
            raise ValueError(f"{split / folder} holds no pictures ({' '.join(decode.EXTENSIONS)}): fill or remove it")
    return found


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path) -> list[File]:
    with os.scandir(folder) as entries:
        files = [e for e in entries if e.name.lower().endswith(decode.EXTENSIONS) and not e.name.startswith(".")]
        return sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in files if e.is_file())


def _name(folder: Path) -> str:
    """A folder's name as the first part of a pack's."""
    return re.sub(r"[^\w.-]", "_", folder.resolve().name).lstrip(".") or "pictures"


def _some(names) -> str:
    return f"{len(names)} ({', '.join(sorted(names)[:5])}{', ...' if len(names) > 5 else ''})" if names else "none"


# ---- sets known by name ------------------------------------------------------------------------------------


def _sample(side: int, train_n: int, test_n: int) -> pack.Source:
    """Generated pictures: the same numbers give the same pictures, nothing is downloaded."""
    if min(train_n, test_n) < 1:
        raise ValueError(f"train_n and test_n must be at least 1, not {train_n} and {test_n}")

    def split(name, n):
        labels = np.arange(n) % len(sample.CLASSES)
        return pack.Split(labels, lambda index: sample.picture(SAMPLE_SEED, name, index, side)[0])

    code = hashlib.sha256(Path(sample.__file__).read_bytes()).hexdigest()
    return pack.Source(
        name="sample",
        side=side,
        fingerprint=pack.fingerprint((code, SAMPLE_SEED, train_n, test_n), side),
        origin="generated pictures",
        open=lambda: (tuple(sample.CLASSES), {"train": split("train", train_n), "test": split("test", test_n)}),
    )


def _cifar10(side: int) -> pack.Source:
    """cifar10/ under the data root if it is there, else torchvision's CIFAR-10 (its files checked by MD5)."""
    folder = data_root() / "cifar10"
    if folder.is_dir():
        return _folder(folder, side, "cifar10", tests=("test", "val"))

    def load(train):
        from torchvision.datasets import CIFAR10

        return CIFAR10(str(data_root()), train=train, download=True)

    def split(found):
        labels = np.array(found.targets, np.int64)
        return pack.Split(labels, lambda index: decode.square(Image.fromarray(found.data[index]), side))

    def opened():
        looked = (folder, data_root() / "cifar-10-batches-py")
        train, test = _fetch("cifar10", looked, lambda: (load(True), load(False)))
        return tuple(train.classes), {"train": split(train), "test": split(test)}

    origin = "CIFAR-10 as published"
    checked_by_md5 = pack.fingerprint([origin], side)  # so a constant can stand for the content
    return pack.Source("cifar10", side, checked_by_md5, origin, opened)


def _imagenette(side: int) -> pack.Source:
    """Imagenette under the data root, in imagenette/ or as torchvision unpacks it; else it is downloaded."""
    places = [data_root() / name for name in ("imagenette", "imagenette2", "imagenette2-320")]
    there = [place for place in places if place.is_dir()]
    folder = there[0] if there else _fetch("imagenette", places, lambda: _download_imagenette(places[-1]))
    return _folder(folder, side, "imagenette", tests=("val",))


def _download_imagenette(folder: Path) -> Path:
    """Download the copy of short side 320 beside `folder` and rename it when whole."""
    from torchvision.datasets import Imagenette

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as part:
        Imagenette(part, size="320px", download=True)
        os.rename(Path(part) / folder.name, folder)
    return folder


def _imagenet(side: int) -> pack.Source:
    """The user's own copy of ILSVRC-2012: no program may download it."""
    folder = data_root() / "imagenet"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"ImageNet is not at {folder}: get ILSVRC-2012 from https://image-net.org and put its photographs "
            f"into {folder}/train/<wnid>/ and {folder}/val/<wnid>/ (a link will do), or set ALEXLIB_DATA to the "
            f"folder that has imagenet/"
        )
    return _folder(folder, side, "imagenet", tests=("val",))


def _fetch(name: str, looked: list[Path] | tuple[Path, ...], download: Callable):
    """What `download` gives; FileNotFoundError saying where to put the files when it fails."""
    try:
        data_root().mkdir(parents=True, exist_ok=True)
        return download()
    except Exception as error:  # no network, a changed archive, no torchvision: the way out is the same
        raise FileNotFoundError(
            f"{name} is not there (looked for {', '.join(map(str, looked))}) and its download failed "
            f"({type(error).__name__}: {error}). Put the pictures into {looked[0]}: {LAYOUT}"
        ) from error


NAMED = {"cifar10": _cifar10, "imagenette": _imagenette, "imagenet": _imagenet}
