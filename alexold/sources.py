"""Where sets of pictures come from: generated, in folders, or downloaded.

A folder holds train/<class>/* and val/<class>/* (or test/<class>/*). Labels follow the sorted names of the class
folders, pictures the sorted names of the files; names that begin with a dot are ignored. Reports and rows repeat the
first line of its about.txt, if there is one.
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

from alexold import pack, sample
from alexold.paths import data_root
from alexold.pictures import EXTENSIONS, decode, square

SAMPLE_TRAIN, SAMPLE_TEST, SAMPLE_SEED = 3000, 500, 2012
LAYOUT = "expected are train/<class>/* and val/<class>/* (or test/<class>/*)"
ARCHIVES = {  # what torchvision downloads, for those who have to carry it over
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "imagenette": "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
}
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
Classes = dict[str, list[File]]  # by class folder, in sorted order


def packed(source: str | Path, side: int, on_error: str = "raise") -> Path:
    """The pack of the set that a name or a folder stands for: `data.load` says which, and what it raises."""
    if side < 1:
        raise ValueError(f"side must be at least 1 pixel, not {side}")
    if source == "sample":
        return _sample(side, on_error)
    if source == "cifar10" and not (data_root() / "cifar10").is_dir():
        return _cifar10(side, on_error)
    if source in NAMED:
        return _folder(get(source), side, on_error, source)
    return _folder(Path(source).expanduser(), side, on_error)


def packed_flat(folder: str | Path, side: int, on_error: str = "raise") -> Path:
    """The pack of the pictures that lie directly in a folder: one split, "train", and one class, "unlabelled"."""
    folder = Path(folder).expanduser()
    files = pictures_in(folder) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{folder} is no folder with pictures ({' '.join(EXTENSIONS)}) directly in it")
    return _files(folder, side, on_error, ("unlabelled",), {"train": ("", {"": files})})


def get(name: str) -> Path | None:
    """The folder of a named set, which is downloaded if it is not there; None for "sample", which is generated.

    FileNotFoundError: it cannot be downloaded; says where to put the files.
    """
    if name not in NAMED:
        raise ValueError(f"no set is called {name!r}; valid names: {', '.join(NAMED)}")
    return NAMED[name]()


def survey(folder: Path) -> tuple[dict[str, Classes], list[Exception]]:
    """The splits of a folder by name, "train" first, and all that is not as LAYOUT says, the gravest first."""
    there, wrong, splits = subfolders(folder), [], {}
    tests = [name for name in ("val", "test") if name in there]
    if len(tests) == 2:  # ImageNet's own test pictures have no classes
        tests = [name for name in tests if subfolders(folder / name)] or tests
    if "train" not in there or not tests:
        missing = "val/ or test/" if "train" in there else "train/"
        has = f"it has: {', '.join(there[:9]) or 'no folders'}{', ...' * (len(there) > 9)}"
        wrong.append(FileNotFoundError(f"{folder} has no {missing} ({has}); {LAYOUT}"))
    if len(tests) > 1:
        why = f"{folder} has both val/ and test/: move the one away that results are not reported on"
        wrong.append(ValueError(why))
    for name in ["train"] * ("train" in there) + tests:
        splits[name] = classes_in(folder / name, wrong)
    if len(splits) == 2 and all(splits.values()) and (alone := _alone(folder, splits)):
        shown = ", ".join(alone[:9]) + ", ..." * (len(alone) > 9)
        both = " and ".join(f"{name}/" for name in splits)
        wrong.append(ValueError(f"{folder}: {both} must have the same class folders; only one has {shown}"))
    return splits, wrong


def classes_in(root: Path, wrong: list[Exception]) -> Classes:
    """The class folders of a split, with their files; what is wrong with them is added to `wrong`."""
    found = {}
    try:
        found = {name: [] for name in subfolders(root)}
        if not found:
            loose = len(pictures_in(root))
            raise ValueError(f"{root} has no class folders ({loose} pictures lie directly in it); {LAYOUT}")
    except (OSError, ValueError) as error:
        wrong.append(error)
    for name in found:
        try:
            found[name] = pictures_in(root / name)
            if not found[name]:
                raise ValueError(f"{root / name} holds no pictures ({' '.join(EXTENSIONS)}): fill or remove it")
        except (OSError, ValueError) as error:
            wrong.append(error)
    return found


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; OSError if it cannot be listed, or if one is a link to nothing."""
    with _listing(folder) as entries:
        lost = [e.path for e in entries if not e.name.lower().endswith(EXTENSIONS) and not os.path.exists(e.path)]
        found = sorted(entry.name for entry in entries if os.path.isdir(entry.path))
    if lost:
        raise FileNotFoundError(f"{lost[0]} is a link to nothing: mend or remove it")
    return found


def pictures_in(folder: Path) -> list[File]:
    """The files in a folder that have the name of a picture, sorted; OSError if it cannot be listed."""
    with _listing(folder) as entries:
        return sorted(filter(None, (_file(e) for e in entries if e.name.lower().endswith(EXTENSIONS))))


@contextmanager
def _listing(folder: Path) -> Iterator[list[os.DirEntry]]:
    try:
        with os.scandir(folder) as entries:
            yield [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise OSError(f"{folder} cannot be listed ({error.strerror}): make it readable, or remove it") from error


def _file(entry: os.DirEntry) -> File | None:
    try:
        about = entry.stat()
    except OSError:  # as a link to nothing: named among the pictures that cannot be read
        return entry.name, 0, 0
    return (entry.name, about.st_size, about.st_mtime_ns) if entry.is_file() else None


def _alone(folder: Path, splits: dict[str, Classes]) -> list[str]:
    """The class folders that only one of two splits has."""
    (one, these), (other, those) = splits.items()
    missing = [(one, other, c) for c in these if c not in those] + [(other, one, c) for c in those if c not in these]
    return [f"{a}/{c}" + f" ({b}/{c} is no folder)" * (folder / b / c).exists() for a, b, c in missing]


def _folder(folder: Path, side: int, on_error: str, name: str = "") -> Path:
    """The pack of a folder laid out as LAYOUT says."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder, and no set known by name ({', '.join(NAMED)})")
    splits, wrong = survey(folder)
    if wrong:
        raise wrong[0]
    (_, train), (test_name, test) = splits.items()
    names = READABLE | _class_names(folder)
    classes = tuple(names[c] for c in train) if train.keys() <= names.keys() else tuple(train)
    return _files(folder, side, on_error, classes, {"train": ("train", train), "test": (test_name, test)}, name)


def _files(
    folder: Path, side: int, on_error: str, classes: tuple[str, ...], splits: dict[str, tuple[str, Classes]], name=""
) -> Path:
    """The pack of a folder's splits, each in the subfolder of that name; called by the folder's name unless told."""
    listing = [(split, c, *file) for split in splits for c, files in splits[split][1].items() for file in files]
    kinds = Counter(Path(file).suffix for _, _, file, _, _ in listing)
    origin = "folder of " + ", ".join(f"{count:,} {kind} files" for kind, count in kinds.most_common())
    if note := _note(folder):
        origin, listing = f"{note}; {origin}", [*listing, note]
    name = name or re.sub(r"[^\w.-]", "_", folder.resolve().name).lstrip(".") or "pictures"

    def split(where, found):
        paths = [folder / where / c / file for c, files in found.items() for file, _, _ in files]
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
        return labels, lambda index: decode(paths[index], side)

    def opened():
        return classes, {key: split(*where) for key, where in splits.items()}

    return pack.ensure(name, side, listing, origin, opened, folder, on_error)


def _class_names(folder: Path) -> dict[str, str]:
    """Names of the class folders from classes.txt in a set's folder: a line is folder, tab, names with commas."""
    file = folder / "classes.txt"
    lines = file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return {key.strip(): names.split(",")[0].strip() for key, names in pairs}


def _note(folder: Path) -> str:
    """The first line of about.txt in a set's folder, which says in words where the pictures come from; "" if none."""
    file = folder / "about.txt"
    return file.read_text("utf-8", "replace").strip().partition("\n")[0].strip() if file.is_file() else ""


def _sample(side: int, on_error: str) -> Path:
    """Generated pictures: the same numbers give the same pictures, nothing is downloaded."""

    def split(name, count):
        labels = np.arange(count) % len(sample.CLASSES)
        return labels, lambda index: sample.picture(SAMPLE_SEED, name, index, side)[0]

    def opened():
        return sample.CLASSES, {"train": split("train", SAMPLE_TRAIN), "test": split("test", SAMPLE_TEST)}

    code = hashlib.sha256(Path(sample.__file__).read_bytes()).hexdigest()
    identity, origin = (code, SAMPLE_SEED, SAMPLE_TRAIN, SAMPLE_TEST), "generated pictures"
    return pack.ensure("sample", side, identity, origin, opened, on_error=on_error)


def _cifar10(side: int, on_error: str) -> Path:
    """CIFAR-10 from torchvision's files, which it checks by MD5."""

    def split(found):
        return np.array(found.targets), lambda index: square(Image.fromarray(found.data[index]), side)

    def opened():
        from torchvision.datasets import CIFAR10

        root = _cifar10_files().parent
        train, test = (CIFAR10(root, train=train, download=False) for train in (True, False))
        return tuple(train.classes), {"train": split(train), "test": split(test)}

    origin = "CIFAR-10 as published"  # checked by MD5, so a constant can stand for the content
    return pack.ensure("cifar10", side, [origin], origin, opened, on_error=on_error)


def _cifar10_files() -> Path:
    """CIFAR-10 under the data root, in cifar10/ or as torchvision unpacks it; else it is downloaded."""
    folder = data_root() / "cifar10"
    if folder.is_dir():
        return folder
    from torchvision.datasets import CIFAR10

    with _download(folder):
        CIFAR10(data_root(), train=True, download=True)  # unless its files are there and whole
    return data_root() / "cifar-10-batches-py"


def _imagenette_files() -> Path:
    """Imagenette under the data root, in imagenette/ or as torchvision unpacks it; else it is downloaded."""
    places = [data_root() / name for name in ("imagenette", "imagenette2", "imagenette2-320")]
    folder = next((place for place in places if place.is_dir()), places[-1])
    if not folder.is_dir():
        from torchvision.datasets import Imagenette

        with _download(places[0]), TemporaryDirectory(dir=data_root(), prefix=".download-") as part:
            Imagenette(part, size="320px", download=True)
            (Path(part) / folder.name).rename(folder)  # when it is whole
    return folder


def _miniimagenet_files() -> Path:
    """100 classes of ImageNet photographs under the data root, in miniimagenet/ or miniimagenet72/."""
    places = [data_root() / name for name in ("miniimagenet", "miniimagenet72")]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(
            f"mini-ImageNet is not at {places[0]}: put or link 100 classes of ImageNet photographs there ({LAYOUT}); "
            "docs/data.md says where the set comes from and how to make one of your own"
        )
    return folder


def _imagenet_files() -> Path:
    """The user's own copy of ILSVRC-2012: no program may download it."""
    folder = data_root() / "imagenet"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"ImageNet is not at {folder}: get ILSVRC-2012 from https://image-net.org, and put or link the folders "
            f"of its photographs there ({LAYOUT}; docs/data.md), or set ALEXLIB_DATA to the folder that has imagenet/"
        )
    return folder


@contextmanager
def _download(folder: Path) -> Iterator[None]:
    """Around a download: when it fails, FileNotFoundError says where to put the files."""
    try:
        data_root().mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:  # no network, a changed archive, a full disk: the way out is the same
        raise FileNotFoundError(
            f"{folder.name} is not there (looked for {folder}) and its download failed "
            f"({type(error).__name__}: {error}). Put the pictures into {folder}: {LAYOUT}; "
            f"or unpack {ARCHIVES[folder.name]} in {data_root()}"
        ) from error


NAMED = {
    "sample": lambda: None,
    "cifar10": _cifar10_files,
    "imagenette": _imagenette_files,
    "miniimagenet": _miniimagenet_files,
    "imagenet": _imagenet_files,
}
