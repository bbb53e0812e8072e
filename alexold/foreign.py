"""Weights that others trained, each in the net it belongs to: torchvision's, and Caffe's in TensorFlow's layout.

net = load("bvlc_alexnet.npy")    # or "alexnet-owt-7be5be79.pth": a `features.Trained`

Nothing in a file is run. A .npy of weights is a pickle; numpy's own classes would trust what it says of an array (a
forged type makes them follow its bytes as addresses), so stand-ins of this module read it and take plain floats alone.
"""

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import nn

from alexold.config import PAPER, Net
from alexold.features import LAYERS, Trained
from alexold.nets import AlexNet

# bvlc_alexnet/deploy.prototxt of github.com/BVLC/caffe. Its dropout multiplies in training, so nothing is halved here.
CAFFE = PAPER.replace("caffe", input=227, lrn_k=1.0, lrn_alpha=1e-4 / 5, dropout=0.0)
CAFFE_MEAN = (122.67891434, 116.66876762, 104.00698793)  # RGB, of ilsvrc_2012_mean.npy over its pixels
VISION_MEAN, VISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in 0..1
VISION_LAYERS = dict(
    zip(LAYERS, [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)], strict=True)
)
EXPECTED = "expected is torchvision's alexnet (.pth) or Caffe's as {layer: [weights, biases]} (.npy)"


def load(file: str | Path) -> Trained:
    """A net with the weights of a file: Caffe's from a .npy, else torchvision's.

    FileNotFoundError: it is not there. ValueError: it holds something else; says what does not fit.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file: {EXPECTED}")
    return caffe(file) if file.suffix == ".npy" else vision(file)


def vision(file: Path) -> Trained:
    """torchvision's `alexnet`: one tower of 64-192-384-256-256 kernels, no normalisation. It is not the net of 2012.

    Its pixels are in 0..1, minus a mean and divided by a standard deviation for each colour.
    """
    from torchvision.models import AlexNet_Weights, alexnet

    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
        found = {name: tuple(value.shape) for name, value in values.items()}
    except Exception as error:  # torch raises whatever its readers meet
        raise ValueError(f"{file} is no file of weights ({_first_line(error)}); {EXPECTED}") from error
    with torch.device("meta"):
        model = alexnet()
    _compare(file, "torchvision's alexnet", {n: tuple(v.shape) for n, v in model.state_dict().items()}, found)
    mean = 255 * torch.tensor(VISION_MEAN).expand(224, 224, 3)
    std = tuple(255 * value for value in VISION_STD)
    classes = tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    net = _filled(model, {name: value.float() for name, value in values.items()})
    return Trained(net, 224, mean, classes, f"torchvision's alexnet, {file.name}", 1, std, VISION_LAYERS)


def caffe(file: Path, settings: Net = CAFFE.net) -> Trained:
    """Caffe's AlexNet with weights as caffe-tensorflow writes them: kernels (height, width, in, out), units (in, out).

    conv1 reads blue, green, red; fc6 reads row, column, map. Response normalisation sums over maps of both towers.
    """
    from torchvision.models import AlexNet_Weights

    with torch.device("meta"):
        model = AlexNet(settings)
    for norm in (model.lrn1, model.lrn2):
        norm.towers = 1
    layers = {name: model.get_submodule(name) for name in LAYERS}
    wanted = {}
    for name, layer in layers.items():
        out, *into = layer.weight.shape
        wanted |= {f"{name} weights": (*into[1:], into[0], out), f"{name} biases": (out,)}
    values = _arrays(file)
    _compare(file, "Caffe's AlexNet", wanted, {name: value.shape for name, value in values.items()})
    state = {}
    for name, layer in layers.items():
        weights = torch.from_numpy(values[f"{name} weights"])
        if name == "fc6":
            maps = model.conv5.out_channels
            side = round((layer.in_features / maps) ** 0.5)
            weights = weights.view(side, side, maps, -1).permute(2, 0, 1, 3).flatten(0, 2)
        weights = weights.permute(3, 2, 0, 1) if weights.dim() == 4 else weights.T
        state[f"{name}.weight"] = (weights.flip(1) if name == "conv1" else weights).contiguous()
        state[f"{name}.bias"] = torch.from_numpy(values[f"{name} biases"])
    mean = torch.tensor(CAFFE_MEAN).expand(settings.input, settings.input, 3)
    classes = tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])[: settings.classes]
    return Trained(_filled(model, state), settings.input, mean, classes, f"Caffe's AlexNet, {file.name}")


def _filled(model: nn.Module, values: dict) -> nn.Module:
    model.load_state_dict(values, assign=True)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _compare(file: Path, what: str, wanted: dict, found: dict) -> None:
    """ValueError unless both have the same names with the same shapes."""
    wrong = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    wrong += [f"{name} does not belong there" for name in found.keys() - wanted.keys()]
    pairs = [(name, shape, found[name]) for name, shape in wanted.items() if name in found]
    wrong += [f"{name} has shape {has}, not {shape}" for name, shape, has in pairs if has != shape]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{file} does not hold {what}: {'; '.join(sorted(wrong)[:3])}{more}")


class _Kind:
    """Stands for `numpy.dtype`: floats, or objects."""

    def __init__(self, code: str, *_):
        if code not in ("f2", "f4", "f8", "O", "O8"):
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for `numpy.ndarray`: floats made from bytes that must fit the shape, or a list of what else was read."""

    def __init__(self, *_):
        self.values = None

    def __setstate__(self, state):
        _, shape, kind, fortran, raw = state
        if kind.dtype.hasobject:
            self.values = list(raw)
            return
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
        values = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.values = np.array(values, np.float32, order="C")


class _Weights(pickle.Unpickler):
    """Reads dicts, lists, text and arrays of floats; whatever else a pickle names is refused, and never imported."""

    def find_class(self, module: str, name: str):
        stands_for = {
            "numpy.dtype": _Kind,
            "numpy.ndarray": _Array,
            "numpy.core.multiarray._reconstruct": _Array,
            "numpy._core.multiarray._reconstruct": _Array,
        }
        if (named := f"{module}.{name}") not in stands_for:
            raise pickle.UnpicklingError(f"it names {named}, which weights do not need")
        return stands_for[named]


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npy that holds {layer: [weights, biases]}, float32, as "conv1 weights", "conv1 biases", ..."""
    try:
        with open(file, "rb") as opened:
            version = np.lib.format.read_magic(opened)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read(opened)
            if shape or not dtype.hasobject:
                raise ValueError(f"it is an array of {dtype} {shape}, not a dict")
            (layers,) = _Weights(opened, encoding="latin1").load().values
        found = {}
        for name, (weights, biases) in layers.items():
            found |= {f"{name} weights": weights.values, f"{name} biases": biases.values}
        if not all(isinstance(values, np.ndarray) for values in found.values()):
            raise TypeError("it holds something else than arrays")
        return found
    except Exception as error:  # a pickle from outside can fail in any way
        raise ValueError(f"{file} is no file of weights ({_first_line(error)}); {EXPECTED}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
