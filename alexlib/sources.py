"""Where sets of pictures come from, generated, in folders or downloaded, and how their files become squares of bytes.

A folder holds train/<class>/* and val/<class>/* (or test/<class>/*). Labels follow the sorted names of the class
folders, pictures the sorted names of the files; names that begin with a dot are ignored.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from alexlib import pack, sample
from alexlib.paths import data_root

EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")  # in any case; others are no pictures
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
Folder = tuple[Path, dict[str, list[File]]]  # a split's folder, and the files of each class folder in it


def packed(source: str | Path, side: int) -> Path:
    """The pack of the set that a name or a folder stands for: `data.load` says which, and what it raises."""
    if side < 1:
        raise ValueError(f"side must be at least 1 pixel, not {side}")
    return NAMED[source](side) if source in NAMED else _folder(Path(source).expanduser(), side)


def packed_flat(folder: str | Path, side: int) -> Path:
    """The pack of the pictures that lie directly in a folder: one split, "train", and one class, "unlabelled"."""
    folder = Path(folder).expanduser()
    files = _pictures(folder) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{folder} is no folder with pictures ({' '.join(EXTENSIONS)}) directly in it")
    return _files(folder, side, ("unlabelled",), {"train": (folder, {"": files})})


def _folder(folder: Path, side: int, name: str = "", tests: tuple[str, ...] = ("val", "test")) -> Path:
    """The pack of a folder laid out as LAYOUT says; `tests` are the names its test split may have."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder, and no set known by name ({', '.join(NAMED)})")
    there = _subfolders(folder)
    tests = [test for test in tests if test in there]
    if "train" not in there or not tests:
        missing = "val/ or test/" if "train" in there else "train/"
        raise FileNotFoundError(f"{folder} has no {missing} (it has: {', '.join(there) or 'no folders'}); {LAYOUT}")
    if len(tests) > 1:
        raise ValueError(f"{folder} has both val/ and test/: move the one away that results are not reported on")
    train, test = _classes(folder / "train"), _classes(folder / tests[0])
    alone = [f"train/{c}" for c in train if c not in test] + [f"{tests[0]}/{c}" for c in test if c not in train]
    if alone:
        shown = ", ".join(alone[:9]) + ", ..." * (len(alone) > 9)
        raise ValueError(f"{folder}: train/ and {tests[0]}/ must have the same class folders; only one has {shown}")
    classes = tuple(READABLE[c] for c in train) if train.keys() <= READABLE.keys() else tuple(train)
    splits = {"train": (folder / "train", train), "test": (folder / tests[0], test)}
    return _files(folder, side, classes, splits, name)


def _files(folder: Path, side: int, classes: tuple[str, ...], splits: dict[str, Folder], name: str = "") -> Path:
    """The pack of the files in the splits of a folder, called by the folder's name unless told otherwise."""
    listing = [(split, c, *file) for split in splits for c, files in splits[split][1].items() for file in files]
    kinds = Counter(Path(file).suffix for _, _, file, _, _ in listing)
    origin = "folder of " + ", ".join(f"{count:,} {kind} files" for kind, count in kinds.most_common())
    name = name or re.sub(r"[^\w.-]", "_", folder.resolve().name).lstrip(".") or "pictures"

    def split(root, found):
        paths = [root / c / file for c, files in found.items() for file, _, _ in files]
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
        return labels, lambda index: decode(paths[index], side)

    def opened():
        return classes, {key: split(*where) for key, where in splits.items()}

    return pack.ensure(name, side, listing, origin, opened)


def _classes(root: Path) -> dict[str, list[File]]:
    """The files of each class folder of a split, sorted by class; ValueError when there are none."""
    found = {folder: _pictures(root / folder) for folder in _subfolders(root)}
    if not found:
        raise ValueError(f"{root} has no class folders ({len(_pictures(root))} pictures lie directly in it); {LAYOUT}")
    for folder, files in found.items():
        if not files:
            raise ValueError(f"{root / folder} holds no pictures ({' '.join(EXTENSIONS)}): fill or remove it")
    return found


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[File]:
    with os.scandir(folder) as entries:
        files = [e for e in entries if e.name.lower().endswith(EXTENSIONS) and not e.name.startswith(".")]
        return sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in files if e.is_file())


def _sample(side: int) -> Path:
    """Generated pictures: the same numbers give the same pictures, nothing is downloaded."""

    def split(name, count):
        labels = np.arange(count) % len(sample.CLASSES)
        return labels, lambda index: sample.picture(SAMPLE_SEED, name, index, side)[0]

    def opened():
        return sample.CLASSES, {"train": split("train", SAMPLE_TRAIN), "test": split("test", SAMPLE_TEST)}

    code = hashlib.sha256(Path(sample.__file__).read_bytes()).hexdigest()
    return pack.ensure("sample", side, (code, SAMPLE_SEED, SAMPLE_TRAIN, SAMPLE_TEST), "generated pictures", opened)


def _cifar10(side: int) -> Path:
    """cifar10/ under the data root if it is there, else torchvision's CIFAR-10 (its files checked by MD5)."""
    folder = data_root() / "cifar10"
    if folder.is_dir():
        return _folder(folder, side, "cifar10")

    def split(found):
        return np.array(found.targets), lambda index: square(Image.fromarray(found.data[index]), side)

    def opened():
        from torchvision.datasets import CIFAR10

        with _download(folder):
            train, test = (CIFAR10(data_root(), train=train, download=True) for train in (True, False))
        return tuple(train.classes), {"train": split(train), "test": split(test)}

    origin = "CIFAR-10 as published"  # checked by MD5, so a constant can stand for the content
    return pack.ensure("cifar10", side, [origin], origin, opened)


def _imagenette(side: int) -> Path:
    """Imagenette under the data root, in imagenette/ or as torchvision unpacks it; else it is downloaded."""
    places = [data_root() / name for name in ("imagenette", "imagenette2", "imagenette2-320")]
    folder = next((place for place in places if place.is_dir()), places[-1])
    if not folder.is_dir():
        from torchvision.datasets import Imagenette

        with _download(places[0]), TemporaryDirectory(dir=data_root(), prefix=".download-") as part:
            Imagenette(part, size="320px", download=True)
            (Path(part) / folder.name).rename(folder)  # when it is whole
    return _folder(folder, side, "imagenette", tests=("val",))


def _imagenet(side: int) -> Path:
    """The user's own copy of ILSVRC-2012: no program may download it."""
    folder = data_root() / "imagenet"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"ImageNet is not at {folder}: get ILSVRC-2012 from https://image-net.org, and put or link the folders "
            f"of its photographs there ({LAYOUT}), or set ALEXLIB_DATA to the folder that has imagenet/"
        )
    return _folder(folder, side, "imagenet", tests=("val",))


@contextmanager
def _download(folder: Path) -> Iterator[None]:
    """Around a download: when it fails, FileNotFoundError says where to put the files."""
    try:
        data_root().mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:  # no network, a changed archive, a full disk: the way out is the same
        raise FileNotFoundError(
            f"{folder.name} is not there (looked for {folder}) and its download failed "
            f"({type(error).__name__}: {error}). Put the pictures into {folder}: {LAYOUT}"
        ) from error


NAMED = {"sample": _sample, "cifar10": _cifar10, "imagenette": _imagenette, "imagenet": _imagenet}


def decode(path: Path, side: int) -> np.ndarray:
    """A picture file as uint8 RGB (side, side, 3); ValueError naming the file if it cannot be decoded whole.

    The EXIF orientation is ignored, as it was in 2012.
    """
    try:
        with Image.open(path) as image:
            image.draft(image.mode, (2 * side, 2 * side))  # a JPEG decodes faster at 1/2, 1/4 or 1/8 of its size
            return square(image, side)
    except Exception as error:  # a decoder may raise anything on broken bytes
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be decoded ({reason}); replace or delete the file and start again") from error


def square(image: Image.Image, side: int) -> np.ndarray:
    """Short side to `side`, then the centre crop: uint8 RGB (side, side, 3).

    The centre square is cut first and resized after: the same picture, without rounding the long side.
    """
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = to_rgb(image.crop((left, top, left + short, top + short)))
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits are scaled to 8, what is transparent shows a white ground."""
    if image.mode[0] in "IF":
        levels = np.asarray(image)
        if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("grey levels beyond 16 bits have no known range")
        image = Image.fromarray(((levels.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
