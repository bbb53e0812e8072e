"""Opens image sets by name or folder, in the layouts of docs/data.md.

train, test = load("imagenette")  # a known set; also those of torchvision, and "hf:food101"
train, test = load("my/images")  # train/<class>/*, and val/<class>/* or test/<class>/*
"""

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from alexlib.config import data_root
from alexlib.data import synthetic
from alexlib.data.images import EXTENSIONS, Images
from alexlib.data.packing import LAYOUT, pack
from alexlib.paper import IMAGENET_CLASSES

SAMPLE = {"train": 3000, "test": 500}  # numbers of generated images
PLACES = {  # of the known sets, below the data root
    "sample": (),
    "cifar10": ("cifar10", "cifar-10-batches-py"),
    "imagenette": ("imagenette", "imagenette2", "imagenette2-320"),
    "miniimagenet": ("miniimagenet", "miniimagenet72"),
    "imagenet": ("imagenet",),
}
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z")
KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
VALID = f"{', '.join(PLACES)}, a classification set of torchvision (cifar100, ...) or hf:NAME"


def load(source: str | Path, side: int = 256, on_error: str = "raise") -> tuple[Images, Images]:
    """Training and test set of a name or of a folder, as squares of `side` pixels.

    Names are those in `PLACES`, those of torchvision's classification sets and "hf:NAME". A name
    takes precedence over a folder: write "./imagenette" for a folder named like a known set.
    The first call packs the images, later ones open the pack; a folder is packed again when a file
    was changed, added or removed. `on_error="skip"` leaves out files that cannot be used.

    Raises:
        FileNotFoundError: the set is not there; says where to put it.
        ValueError: the folder has another layout, or files cannot be used: all are named.
        OSError: the disk is full, or a folder cannot be read.
    """
    name = known_name(source)
    if name and Path(source).is_dir():
        print(f"{source!r} is the known set; for the folder write ./{source}", file=sys.stderr)
    if name == "sample":
        splits = {split: synthetic.Synthetic(split, n, side) for split, n in SAMPLE.items()}
        code = Path(synthetic.__file__).read_text("utf-8")
        about = {"classes": synthetic.CLASSES, "origin": "generated images", "version": code}
        about["threads"] = 1  # they are made by Python code: threads would wait for each other
    elif name and name.startswith("hf:"):
        if Path(name[3:]).is_dir():
            here = f"the folder ./{name[3:]} is here, which would be read instead of the hub"
            raise ValueError(f"{name}: {here}: give ./{name[3:]}, or run it in another folder")
        splits = partial(_sources().from_hugging_face, name[3:], side)
        about = {"classes": (), "origin": f"Hugging Face set {name[3:]}"}
    elif name and name not in PLACES:
        splits = partial(_sources().from_torchvision, name, data_root() / name)
        about = {"classes": (), "origin": f"torchvision {name}"}
    else:
        folder = get(name) if name else Path(source).expanduser()
        name = name or folder.resolve().name
        splits, about = _open(folder, side)
    if about.get("ignored"):
        print(f"{name}: {about['ignored']}", file=sys.stderr)
    sets = pack(name, splits, side=side, on_error=on_error, **about)
    return sets["train"], sets["test"]


def _sources():
    """The module with all sets but the sample: it imports torchvision, which takes two seconds."""
    from alexlib.data import sources

    return sources


def known_name(source: str | Path) -> str | None:
    """The name of a known set, a torchvision set or a hub set; None: `source` is a folder."""
    name = str(source).lower()
    if isinstance(source, str) and (name in PLACES or _sources().torchvision_splits(name)):
        return name
    return "hf:" + source[3:] if isinstance(source, str) and name.startswith("hf:") else None


def get(name: str) -> Path | None:
    """The folder of a known set, downloaded if needed; None for "sample", which is generated.

    FileNotFoundError: there is no such folder; says where to put the files.
    """
    root, name = data_root(), known_name(name) or name
    if name not in PLACES and _sources().torchvision_splits(name):
        _sources().from_torchvision(name, root / name)
        return root / name
    if name not in PLACES:
        raise ValueError(f"cannot download {name!r}: expected {VALID.rpartition(' or ')[0]}")
    found = next((root / p for p in PLACES[name] if (root / p).is_dir()), None)
    if found or name == "sample":
        return found and _unpacked(found)
    try:
        if name == "cifar10":
            _sources().datasets.CIFAR10(root, download=True)
        elif name == "imagenette":
            root.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=root) as part:  # moved when it is complete
                _sources().datasets.Imagenette(part, size="320px", download=True)
                Path(part, "imagenette2-320").rename(root / "imagenette2-320")
        else:
            raise FileNotFoundError("you must supply your own copy")
    except Exception as error:
        raise FileNotFoundError(
            f"{name} is not in {root / name} and cannot be downloaded ({error}): put or link its"
            f" folders there ({LAYOUT}), or set ALEXLIB_DATA to another folder"
        ) from error
    return root / PLACES[name][-1]


def _unpacked(folder: Path) -> Path:
    """The folder, after torchvision has unpacked the original archives of ImageNet there."""
    try:
        for split in ("train", "val"):
            if (folder / f"ILSVRC2012_img_{split}.tar").is_file() and not (folder / split).is_dir():
                _sources().datasets.ImageNet(folder, split)
    except RuntimeError as error:  # an archive is missing or damaged
        raise ValueError(f"{folder} cannot be unpacked: {error}") from error
    return folder


def _open(folder: Path, side: int) -> tuple[dict | Callable, dict]:
    """The data sets of a folder in any layout, and what `pack` needs to know about them."""
    if folder.is_file():
        raise FileNotFoundError(f"{folder} is a file: unpack it and give the folder; {LAYOUT}")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, nor a known set: {VALID}")
    if folder.name == "cifar-10-batches-py":
        splits = _sources().from_torchvision("cifar10", folder.parent)
        return splits, {"classes": splits["train"].classes, "origin": "CIFAR-10 as published"}
    folder = next((folder / inner for inner in KAGGLE if (folder / inner).is_dir()), folder)
    if not _folders(_unpacked(folder) / "train") and (shards := _shards(folder)):
        splits = partial(_sources().from_hugging_face, os.path.abspath(folder), side)
        return splits, {"classes": (), **_identity(folder, [("", path) for path in shards])}
    splits = _splits(folder, side)
    train = splits["train"]

    names = _names(folder / "words.txt") | IMAGENET_CLASSES | _names(folder / "classes.txt")
    classes = [names[id] for id in train.classes] if names.keys() >= {*train.classes} else ()
    about = {"classes": classes or train.classes, "ids": train.classes}
    files = [(split, path) for split, data in splits.items() for path, _ in data.samples]
    about |= _identity(folder, files)

    ignored = sum((data.ignored for data in splits.values()), Counter())
    ignored["images beside train/"] = sum(p.suffix.lower() in EXTENSIONS for p in folder.iterdir())
    counts = sorted((+ignored).items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{count:,} {kind}" for kind, count in counts]
    used = {Path(data.root).name for data in splits.values()}
    kinds += [f"folder {name}/" for name in _folders(folder) if name not in used]
    return splits, about | {"ignored": f"ignored: {', '.join(kinds)}" if kinds else ""}


def _splits(folder: Path, side: int) -> dict:
    """Training and test set of a folder with train/<class>/*."""
    there, listed = _folders(folder), _list(folder)
    tests = [name for name in ("val", "test") if name in there]
    if len(tests) == 2:  # the test images of ImageNet have no class folders
        tests = ["val"] if listed else [name for name in tests if _folders(folder / name)]
    if "train" not in there or len(tests) != 1:
        packed = sorted(p.name for p in folder.iterdir() if p.suffix in ARCHIVES)
        unpack = f"; unpack {', '.join(packed[:9])} first" if packed else ""
        where = f"{folder} has the folders {there[:9]}; {LAYOUT}"
        raise FileNotFoundError(where + unpack + _elsewhere(folder.resolve()))
    train = _sources().ClassFolders(folder / "train", side)
    if listed:
        lines = (re.split(r"[\s,]+", line) for line in _text(listed).splitlines())
        labels = {Path(w[0]).stem: train.class_to_idx.get(w[1]) for w in lines if len(w) > 1}
        listed = train.classes, labels
    test = _sources().ClassFolders(folder / tests[0], side, listed)
    if alone := sorted({*train.classes} ^ {*test.classes}):
        where = f"{folder}: only one of train/ and {tests[0]}/ has the class folders"
        raise ValueError(f"{where} {', '.join(alone[:9])}; both must have the same")
    return {"train": train, "test": test}


def _list(folder: Path) -> Path | None:
    """The file with the class of each image in val/, in Tiny-ImageNet's or Kaggle's layout."""
    if not (folder / "val").is_dir() or {*_folders(folder / "val")} - {"images"}:
        return None
    places = [place / "LOC_val_solution.csv" for place in (folder, *folder.resolve().parents[:3])]
    return next(filter(Path.is_file, (folder / "val" / "val_annotations.txt", *places)), None)


def _shards(folder: Path) -> list[str]:
    """Parquet files and tar shards in a folder, or in its folders data, train, val, ..."""
    places = [folder, *(folder / name for name in ("data", "train", "val", "validation", "test"))]
    files = sorted(str(path) for place in places for path in place.glob("*.[pt]ar*"))
    files = [file for file in files if file.endswith((".parquet", ".tar"))]
    return files if any("train" in file.removeprefix(str(folder)) for file in files) else []


def _elsewhere(folder: Path) -> str:
    """Asks whether a folder above or below was meant."""
    patterns = ("*/*train*", "*/*/*train*", f"*/{KAGGLE[0]}/train")
    below = (path.parent for pattern in patterns for path in folder.glob(pattern))
    for place in (folder.parent, folder.parent.parent, *below):
        both = {"val", "test"} & {*_folders(place)} and (place / "train").is_dir()
        if both or _shards(place):
            return f"; did you mean {place}?"
    return ""


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, without hidden ones."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in entries if path.is_dir() and path.name[0] != ".")


def _identity(folder: Path, files: list[tuple[str, str]]) -> dict[str, str]:
    """Origin, and version: a hash of names, sizes and dates of the (split, path) of all files.

    The first line of about.txt is added to the origin.
    """
    kinds, version = Counter(), hashlib.sha256()
    for split, path in files:
        kinds[os.path.splitext(path)[1]] += 1
        identity = [split, path.removeprefix(str(folder))]
        with suppress(OSError):  # a broken symlink: reported when it is decoded
            state = os.stat(path)
            identity += state.st_size, state.st_mtime_ns
        version.update(repr(identity).encode())
    origin = "folder of " + ", ".join(f"{n:,} {kind} files" for kind, n in kinds.most_common())
    if note := _text(folder / "about.txt").strip().partition("\n")[0].strip():
        origin = f"{note}; {origin}"
    return {"origin": origin, "version": version.hexdigest()}


def _names(file: Path) -> dict[str, str]:
    """Class names by folder; each line has a folder, a tab, and names with commas."""
    lines = (line.partition("\t") for line in _text(file).splitlines())
    return {key.strip(): words.split(",")[0].strip() or key.strip() for key, _, words in lines}


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.is_file() else ""
