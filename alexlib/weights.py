"""Trained nets: `load` opens one; `foreign.export` writes one for other programs.

    net = alexlib.load("04_train-sample-source2012-seed0-1a2b3c4d")  # a run, a folder or a file
    net.predict(["cat.jpg", "dog.jpg"])  # float32 (2, classes), in the order of net.classes

A run's folder holds what `load` needs: config.json (config, class names, side of the images) and
mean.npy (the mean image) from the start of the run, model.safetensors from its end.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from alexlib import foreign
from alexlib.config import Config, config_from, runs_root
from alexlib.data.augment import centre_crop, to_input
from alexlib.data.images import Images, read_file, square
from alexlib.files import atomic_write
from alexlib.models import build
from alexlib.paper import IMAGENET_CLASSES
from alexlib.training import checkpoint
from alexlib.training.distributed import rank
from alexlib.training.machine import autocast

MODEL, CONFIG, MEAN = "model.safetensors", "config.json", "mean.npy"


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net and its input: the centre window of an image, minus a mean, over a std."""

    model: nn.Module  # float32 (N, 3, size, size) to (N, classes); layers: foreign.LAYERS
    mean: torch.Tensor  # float32 (size, size, 3), RGB in 0..255
    classes: tuple[str, ...]
    origin: str  # where the weights come from
    std: torch.Tensor | float = 1.0  # (3, 1, 1)
    precision: str = "fp32"
    side: int = 256  # of the squares that images are resized to, pixels
    ids: tuple[str, ...] = ()  # WordNet ids or folders of the classes; (): known by name only

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def input(self, pixels):
        """The net's input from uint8 (N, S, S, 3). ValueError: the images are too small."""
        size = len(self.mean)
        if pixels.shape[1] < size:
            raise ValueError(f"this net needs images of {size} pixels, not {pixels.shape[1]}")
        windows, std = torch.as_tensor(pixels, device=self.device), torch.as_tensor(self.std)
        return to_input(centre_crop(windows, size), self.mean.to(self.device)) / std.to(self.device)

    def predict(self, images) -> np.ndarray:
        """Class probabilities of images, centre view, float32 (N, classes).

        Args:
            images: files or PIL images, one or several; or pixels, uint8 (N, S, S, 3).

        Raises ValueError or OSError for images that cannot be read or are too small.
        """
        if isinstance(images, str | Path | Image.Image):
            images = [images]
        if not isinstance(images, np.ndarray | torch.Tensor):
            images = np.stack([self._square(image) for image in images])
        with torch.inference_mode(), autocast(self.device, self.precision):
            parts = torch.as_tensor(images).split(128)
            scores = torch.cat([self.model(self.input(part)).float() for part in parts])
        if not scores.isfinite().all():
            raise ValueError(f"{self.origin}: the net's scores are NaN or infinite")
        return scores.softmax(1).cpu().numpy()

    def _square(self, image) -> np.ndarray:
        is_file = isinstance(image, str | Path)
        return square(read_file(str(image), self.side) if is_file else image, self.side)


# ---- in ------------------------------------------------------------------------------------------


def load(source, classes=()) -> Trained:
    """A trained net that can predict, without its training images.

    Args:
        source: the name of a run below `runs_root()`, its folder or a file in it; or a file from
            another program (`foreign.torchvision`: .pth, .safetensors; `foreign.caffe`: .onnx).
        classes: class names for a file from another program. By default those of ImageNet if
            there are 1,000, else "class 0", "class 1", ...

    Raises:
        FileNotFoundError: there is no such run or file.
        ValueError: it is of another kind, which the message names.
    """
    path = find(source)
    folder = path if path.is_dir() else path.parent
    of_run = path in (folder, *(folder / name for name in (MODEL, checkpoint.LAST, CONFIG)))
    if of_run and (folder / CONFIG).is_file():
        if classes:
            raise ValueError(f"{path} is of a run, which has the names of its classes")
        return _of_folder(folder)
    if path.is_dir():
        raise ValueError(f"{path} is not the folder of a run: it has no {CONFIG}")
    fields = foreign.caffe(path) if path.suffix == ".onnx" else foreign.torchvision(path)
    n, names, ids = fields["model"].fc8.out_features, tuple(classes), ()
    if len(names) not in (0, n):
        raise ValueError(f"{path} has {n} classes: give as many names, not {len(names)}")
    if not names and n == len(IMAGENET_CLASSES):
        ids, names = tuple(IMAGENET_CLASSES), tuple(IMAGENET_CLASSES.values())
    names = names or tuple(f"class {i}" for i in range(n))
    return Trained(classes=names, ids=ids, **fields)


def find(source) -> Path:
    """The path of a file, of a folder or of a run below `runs_root()`."""
    for path in (Path(source).expanduser(), runs_root() / source):
        if path.exists():
            return path.absolute()  # the name of a link tells the kind, its target may not
    raise FileNotFoundError(f"{source}: no such file or folder, nor a run in {runs_root()}")


def _of_folder(folder: Path) -> Trained:
    about, file = json.loads((folder / CONFIG).read_text("utf-8")), folder / MODEL
    config = config_from(about["config"])
    model = build(config).eval()
    state = safetensors.torch.load_file(file) if file.exists() else checkpoint.weights(folder)
    model.load_state_dict(state)
    mean = centre_crop(torch.tensor(np.load(folder / MEAN)), config.net.input)
    fields = {"precision": config.train.precision, "side": about["side"], "ids": about["ids"]}
    return Trained(model, mean, tuple(about["classes"]), f"run {folder.name}", **fields)


def match(net: Trained, images: Images) -> np.ndarray:
    """The net's class for each class of some images, int64 (classes,); -1: it has no such class.

    Classes are matched by WordNet id ("n02086240", "n02086240-Shih-Tzu") where there is one or
    ImageNet's names give one; else by name, up to its first comma.
    """
    if net.classes == images.classes:
        return np.arange(len(net.classes))
    mine, theirs = (_keys(each.ids or each.classes, each.classes) for each in (net, images))
    count, place = Counter(mine), {key: i for i, key in enumerate(mine)}
    return np.array([place[key] if count[key] == 1 else -1 for key in theirs])


def _keys(ids, names) -> list[str]:
    def simple(name):
        return name.split(",")[0].replace("_", " ").strip().casefold()

    known = {simple(name): wnid for wnid, name in IMAGENET_CLASSES.items()}
    found = [re.match(r"n\d{8}(?!\d)", id) for id in ids]
    pairs = zip(found, map(simple, names), strict=True)
    return [wnid[0] if wnid else known.get(name, name) for wnid, name in pairs]


# ---- a run's own weights -------------------------------------------------------------------------


def describe(folder: Path, about: dict, images: Images) -> None:
    """Write into a run's folder what predicting needs besides the weights."""
    about = about | {"classes": images.classes, "ids": images.ids, "side": images.side}
    contents = json.dumps(about).encode()
    atomic_write(folder / MEAN, lambda out: np.save(out, images.mean))
    atomic_write(folder / CONFIG, lambda out: out.write(contents))


def save_model(folder: Path, model: nn.Module) -> None:
    """Write the weights of a finished run into its folder."""
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    contents = safetensors.torch.save(state)
    atomic_write(folder / MODEL, lambda out: out.write(contents))


def identity(source) -> str:
    """The path of weights and a hash of their contents: what a run starts from."""
    path = find(source)
    files = [path] if path.is_file() else [path / MODEL, path / checkpoint.LAST]
    if not (there := [file for file in files if file.is_file()]):
        raise ValueError(f"{path} has no weights: neither {MODEL} nor {checkpoint.LAST}")
    with open(there[0], "rb") as file:
        return f"{path} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def start_from(source: str, model: nn.Module, config: Config) -> None:
    """Copy the weights of an `identity` into the layers of a net that they fit; names the others.

    Up to the first new layer, the net then computes in testing the same as the net that it starts
    from, as far as their other stages are equal.

    Raises ValueError if no layer fits or the file has changed.
    """
    path = source.rpartition(" sha256:")[0]
    if identity(path) != source:
        raise ValueError(f"{path} is not the same as when this run was begun")
    net, state = load(path), model.state_dict()
    given, new = foreign.plain_state(net), []
    with torch.device("meta"):
        factors = foreign.dropout_factors(build(config, fast=False))
    for layer, factor in factors.items():
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        there, here = ([s[key].shape for key in (weight, bias) if key in s] for s in (given, state))
        if there == here:
            state |= {weight: given[weight] / factor, bias: given[bias]}
        else:
            new.append(f"{layer} ({[*there[0]] if there else 'none'} there, {[*here[0]]} here)")
    if len(new) == len(factors):
        raise ValueError(f"no layer of {net.origin} fits this net: {', '.join(new)}")
    model.load_state_dict(state)
    if rank() == 0:
        print(f"started from {net.origin}; not copied: {', '.join(new) or 'nothing'}")
