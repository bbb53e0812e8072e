"""Data sets of (image, label): class folders, sets of torchvision and of Hugging Face, shards."""

import inspect
import io
import os
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torchvision import datasets

from alexlib.data.images import EXTENSIONS, read_file
from alexlib.data.packing import LAYOUT
from alexlib.files import imported

LABELS = ("label", "cls", "labels", "class", "fine_label", "target")  # columns, the first counts
OTHER_TASKS = ("celeba", "cityscapes", "kitti", "widerface")  # of torchvision: without a class
UNLABELLED_TEST = ("clevrclassification", "places365")  # of torchvision: "val" has labels


class ClassFolders(datasets.ImageFolder):
    """torchvision's ImageFolder, with errors for what it accepts silently; counts what it ignores.

    Args:
        listed: for images that lie in no class folders: (class names, label by file name without
            its ending).
    """

    def __init__(self, root: Path, side: int, listed: tuple[list, dict] | None = None):
        self.ignored, self.listed = Counter(), listed
        read = partial(read_file, side=side)
        super().__init__(root, loader=read, is_valid_file=self._is_image, allow_empty=True)
        if empty := {*range(len(self.classes))} - {*self.targets}:
            names = ", ".join(self.classes[label] for label in sorted(empty)[:9])
            raise ValueError(f"{root}: no files that Pillow reads in class {names}")

    def find_classes(self, directory):
        if self.listed:
            return self.listed[0], {}
        entries = [entry for entry in os.scandir(directory) if not entry.name.startswith(".")]
        for entry in entries:
            if not os.path.exists(entry.path):
                raise FileNotFoundError(f"{entry.path} is a broken symlink: fix or remove it")
            if entry.is_file() and self._is_image(entry.path):
                self.ignored["images beside the class folders"] += 1
        classes = sorted(entry.name for entry in entries if entry.is_dir())
        if not classes:
            raise ValueError(f"{directory} has no class folders; {LAYOUT}")
        return classes, {name: label for label, name in enumerate(classes)}

    def make_dataset(self, directory, class_to_idx, **options):
        if not self.listed:
            return super().make_dataset(directory, class_to_idx, **options)
        parent, name = os.path.split(directory)
        files = [path for path, _ in super().make_dataset(parent, {name: 0}, **options)]
        samples = [(path, self.listed[1].get(Path(path).stem)) for path in files]
        samples = [(path, label) for path, label in samples if label is not None]
        self.ignored["images without a class of train/"] += len(files) - len(samples)
        return sorted(samples, key=lambda sample: (sample[1], Path(sample[0]).name))

    def _is_image(self, path: str) -> bool:
        hidden = f"{os.sep}." in path.removeprefix(str(self.root))
        ending = os.path.splitext(path)[1].lower()
        found = ending in EXTENSIONS and not hidden
        if not found:
            self.ignored["hidden" if hidden else ending or "without an ending"] += 1
        return found


def torchvision_splits(name: str) -> dict[str, tuple] | None:
    """The class in torchvision.datasets with this name in lower case, and its options by split.

    None if there is no such set with a training and a test part whose images have a class.
    """
    found = {key.lower(): getattr(datasets, key) for key in datasets.__all__}.get(name)
    if found is None or "._" in found.__module__ or name in OTHER_TASKS:
        return None
    _, *parameters = inspect.signature(found).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    if inspect.Parameter.empty in options.values():
        return None
    if "train" in options:
        return {split: (found, {"train": split == "train"}) for split in ("train", "test")}
    if not str(options.get("split")).startswith("train"):  # "train", "trainval", ...
        return None
    test = "val" if name in UNLABELLED_TEST else "test"
    return {"train": (found, {"split": options["split"]}), "test": (found, {"split": test})}


def from_torchvision(name: str, folder: Path) -> dict:
    """Training and test part of a torchvision set, downloaded to the folder if needed."""
    splits = {}
    try:
        for split, (dataset, options) in torchvision_splits(name).items():
            try:
                splits[split] = dataset(folder, **options)
            except (RuntimeError, OSError):  # it is not there
                splits[split] = dataset(folder, download=True, **options)
    except Exception as error:
        message = f"{name} is not in {folder} and cannot be downloaded: {error}"
        raise FileNotFoundError(message) from error
    return splits


class Stream:
    """A split of a Hugging Face set without random access.

    for item in stream:
        image, label = stream[item]  # may be done by another thread
    """

    def __init__(self, source: str, rows, side: int):
        self.source, self.rows, self.side = source, rows.decode(False), side
        row, features = next(iter(self.rows), {}), rows.features or {}
        images = [key for key, value in row.items() if self._is_image(value)]
        named = [key for key in features if hasattr(features[key], "names")]
        labels = [key for key in (*LABELS, *named) if key in row]
        if not images or not labels:
            columns = ", ".join(row) or "none"
            raise ValueError(f"no images with labels (in tar shards: jpg, cls) in {columns}")
        self.columns = images[0], labels[0]
        self.classes = getattr(features.get(labels[0]), "names", None) or ()
        self.labelled = row[labels[0]] not in (None, -1)

    @staticmethod
    def _is_image(value) -> bool:
        return isinstance(value, bytes) or (isinstance(value, dict) and "bytes" in value)

    def __iter__(self):
        """Yields (name, {"bytes": file}, label)."""
        image, label = self.columns
        try:
            for number, row in enumerate(self.rows):
                file = row[image] if isinstance(row[image], dict) else {"bytes": row[image]}
                yield file.get("path") or f"image {number}", file, row[label]
        except Exception as error:  # each reader of shards raises errors of its own
            raise ValueError(f"{self.source} cannot be read: {error}") from error

    def __getitem__(self, item) -> tuple:
        _, file, label = item
        content = file["bytes"]
        if content is None:
            import fsspec

            content = fsspec.open(file["path"]).open().read()
        return read_file(io.BytesIO(content), self.side), label


def from_hugging_face(source: str, side: int) -> dict[str, Stream]:
    """Training and test part of a hub set, or of a folder of parquet files or tar shards.

    The test part is "test", or "validation" where "test" is missing or has no labels.
    """
    library = imported("datasets", "'alexlib[data]'")
    try:
        with TemporaryDirectory() as cache:  # streaming needs it for a lock only
            found = library.load_dataset(source, streaming=True, cache_dir=cache)
        parts = [part for part in ("test", "validation", "val", "valid") if part in found]
        if "train" not in found or not parts:
            raise ValueError(f"expected train and test or validation, its parts are {[*found]}")
        tests = (Stream(source, found[part], side) for part in parts)
        test = next((stream for stream in tests if stream.labelled), None)
        if test is None:
            raise ValueError(f"the images in {' and '.join(parts)} have no labels")
        return {"train": Stream(source, found["train"], side), "test": test}
    except Exception as error:
        raise ValueError(f"{source} cannot be opened as a Hugging Face set: {error}") from error
