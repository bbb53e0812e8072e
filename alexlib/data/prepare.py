"""Opens image sets: generated images, torchvision's data sets, folders of image files.

train, test = load("imagenette")  # a set known by name
train, test = load("my/images")  # train/<class>/*, and val/<class>/* or test/<class>/*
"""

import hashlib
import os
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageFile, PngImagePlugin
from torchvision import datasets

from alexlib.config import data_root
from alexlib.data import synthetic
from alexlib.data.images import Images
from alexlib.data.packing import pack
from alexlib.paper import IMAGENET_CLASSES

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF")
EXTENSIONS = tuple(end for end, form in Image.registered_extensions().items() if form in FORMATS)
LAYOUT = "expected are train/<class>/* and val/<class>/* or test/<class>/*"
SAMPLE = {"train": 3000, "test": 500}  # numbers of generated images
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28  # bytes of metadata
PLACES = {  # of the known sets, below the data root
    "sample": (),
    "cifar10": ("cifar10", "cifar-10-batches-py"),
    "imagenette": ("imagenette", "imagenette2", "imagenette2-320"),
    "miniimagenet": ("miniimagenet", "miniimagenet72"),
    "imagenet": ("imagenet",),
}


def load(source: str | Path, side: int = 256, on_error: str = "raise") -> tuple[Images, Images]:
    """Training and test set of a name in `PLACES` or of a folder, as squares of `side` pixels.

    A name comes before a folder: write "./imagenette" for a folder that is called like a known set.
    The first call packs the images, later ones open the pack; a folder is packed again when a file
    was changed, added or removed. `on_error="skip"` leaves out files that cannot be used.

    Raises:
        FileNotFoundError: the set is not there; says where to put it.
        ValueError: the folder has another layout, or files cannot be used: all are named.
        OSError: the disk is full, or a folder cannot be read.
    """
    folder = get(source) if source in PLACES else Path(source).expanduser()
    name = source if source in PLACES else folder.resolve().name
    if folder is None:
        splits = {split: synthetic.Synthetic(split, n, side) for split, n in SAMPLE.items()}
        code = Path(synthetic.__file__).read_text("utf-8")
        about = {"classes": synthetic.CLASSES, "origin": "generated images", "version": code}
    elif folder.name == "cifar-10-batches-py":
        splits = {s: datasets.CIFAR10(folder.parent, s == "train") for s in ("train", "test")}
        about = {"classes": splits["train"].classes, "origin": "CIFAR-10 as published"}
    else:
        splits = _splits(folder, side)
        about = _about(folder, splits)
    sets = pack(name, splits, side=side, on_error=on_error, **about)
    return sets["train"], sets["test"]


def get(name: str) -> Path | None:
    """The folder of a known set, downloaded if needed; None for "sample", which is generated.

    FileNotFoundError: there is no such folder; says where to put the files.
    """
    if name not in PLACES:
        raise ValueError(f"no set is called {name!r}; valid names: {', '.join(PLACES)}")
    root = data_root()
    found = next((root / p for p in PLACES[name] if (root / p).is_dir()), None)
    if name == "imagenet" and found and any(found.glob("ILSVRC2012_*.tar")):
        for split in ("train", "val"):
            if not (found / split).is_dir():
                datasets.ImageNet(found, split)  # unpacks the archive
    if found or name == "sample":
        return found
    try:
        if name == "cifar10":
            datasets.CIFAR10(root, download=True)
        elif name == "imagenette":
            root.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=root) as part:  # moved when it is complete
                datasets.Imagenette(part, size="320px", download=True)
                Path(part, "imagenette2-320").rename(root / "imagenette2-320")
        else:
            raise FileNotFoundError("you must supply your own copy")
    except Exception as error:
        raise FileNotFoundError(
            f"{name} is not in {root / name} and cannot be downloaded ({error}): put or link its"
            f" folders there ({LAYOUT}; see docs/data.md), or set ALEXLIB_DATA to another folder"
        ) from error
    return root / PLACES[name][-1]


class ClassFolders(datasets.ImageFolder):
    """torchvision's ImageFolder, with errors for what it accepts silently."""

    def __init__(self, root: Path, side: int):
        read = partial(read_file, side=side)
        super().__init__(root, loader=read, is_valid_file=self._is_image, allow_empty=True)
        if empty := {*range(len(self.classes))} - {*self.targets}:
            names = ", ".join(self.classes[label] for label in sorted(empty)[:9])
            raise ValueError(f"{root}: no images ({' '.join(EXTENSIONS)}) in class {names}")

    def find_classes(self, directory):
        entries = [entry for entry in os.scandir(directory) if not entry.name.startswith(".")]
        for entry in entries:
            if not os.path.exists(entry.path):
                raise FileNotFoundError(f"{entry.path} is a broken symlink: fix or remove it")
        classes = sorted(entry.name for entry in entries if entry.is_dir())
        if not classes:
            raise ValueError(f"{directory} has no class folders; {LAYOUT}")
        return classes, {name: label for label, name in enumerate(classes)}

    def _is_image(self, path: str) -> bool:
        hidden = "/." in path.removeprefix(str(self.root))
        return path.lower().endswith(EXTENSIONS) and not hidden


def _splits(folder: Path, side: int) -> dict:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, nor a known set ({', '.join(PLACES)})")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    tests = [name for name in ("val", "test") if name in there]
    if len(tests) == 2:  # the test images of ImageNet have no class folders
        tests = [t for t in tests if any(path.is_dir() for path in (folder / t).iterdir())]
    if "train" not in there or len(tests) != 1:
        raise FileNotFoundError(f"{folder} has the folders {there[:9]}; {LAYOUT}, not both")
    train, test = (ClassFolders(folder / name, side) for name in ("train", *tests))
    if alone := sorted({*train.classes} ^ {*test.classes}):
        where = f"{folder}: only one of train/ and {tests[0]}/ has the class folders"
        raise ValueError(f"{where} {', '.join(alone[:9])}; both must have the same")
    return {"train": train, "test": test}


def _about(folder: Path, splits: dict) -> dict:
    """Classes, origin and version (names, sizes and dates of all files) of a folder.

    classes.txt may name the class folders: folder, tab, names with commas; WordNet ids of ImageNet
    have names without it. The first line of about.txt is added to the origin.
    """
    names = dict(IMAGENET_CLASSES)
    for line in _text(folder / "classes.txt").splitlines():
        key, _, words = line.partition("\t")
        names[key.strip()] = words.split(",")[0].strip() or key.strip()
    ids = splits["train"].classes
    classes = [names[id] for id in ids] if names.keys() >= {*ids} else ids

    kinds, version = Counter(), hashlib.sha256()
    for split, data in splits.items():
        for path, _ in data.samples:
            kinds[os.path.splitext(path)[1]] += 1
            identity = [split, path.removeprefix(str(folder))]
            with suppress(OSError):  # a broken symlink: reported when it is decoded
                state = os.stat(path)
                identity += state.st_size, state.st_mtime_ns
            version.update(repr(identity).encode())
    origin = "folder of " + ", ".join(f"{n:,} {kind} files" for kind, n in kinds.most_common())
    if note := _text(folder / "about.txt").strip().partition("\n")[0].strip():
        origin = f"{note}; {origin}"
    return {"classes": classes, "ids": ids, "origin": origin, "version": version.hexdigest()}


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.is_file() else ""


def read_file(path: str, side: int) -> Image.Image:
    """Decodes an image file; its EXIF orientation is ignored, as in 2012.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still twice `side`.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # in case another library has set it
    if not os.path.getsize(path):
        raise ValueError("the file is empty")
    with Image.open(path, formats=FORMATS) as image:
        if min(image.size) < 8 or max(image.size) > 100 * min(image.size):
            raise ValueError(f"{image.width} x {image.height} pixels: too small or too long")
        image.draft(image.mode, (2 * side, 2 * side))
        image.load()
    return image
