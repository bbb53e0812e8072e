"""What a trained net has learned (section 6.1, Figures 3 and 4): its kernels, and what it makes of pictures.

net = features.of_run(run, training)                        # or foreign.load("bvlc_alexnet.npy")
made = features.activations(net, test, ["conv5", "fc7"])    # {"fc7": float32 (N, 4096), ...}
features.exciting(net, test, "conv5", made["conv5"], [3, 17])
"""

from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from alexold import findings, rows, study
from alexold.augment import centre_crop, to_input
from alexold.batches import Feed, generator
from alexold.config import spec_from
from alexold.data import Images
from alexold.diagnostics import through
from alexold.layers import SpatialResponseNorm
from alexold.nets import AlexNet
from alexold.train import autocast, keep_freed_memory

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
KINDS = ("grating", "blob", "neither")  # of first-layer kernels


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net with what belongs to it: how pictures are shown to it, and where the paper's layers are.

    Its input is the central window of a picture, RGB in 0..255, minus `mean` and divided by `std`.
    """

    model: nn.Module
    size: int  # side of the window, pixels
    mean: torch.Tensor  # float32 (size, size, 3)
    classes: tuple[str, ...]
    origin: str  # whose weights these are, in words
    towers: int = 2
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layers: dict[str, str] = field(default_factory=lambda: dict(zip(LAYERS, LAYERS, strict=True)))
    precision: str = "fp32"

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str) -> "Trained":
        """The same net, moved."""
        self.model.to(device, memory_format=torch.channels_last)
        return self

    def layer(self, name: str) -> nn.Module:
        """A layer by its name in the paper."""
        if name not in self.layers:
            raise ValueError(f"unknown layer {name!r}: valid ones: {', '.join(self.layers)}")
        return self.model.get_submodule(self.layers[name])

    def input(self, pixels) -> torch.Tensor:
        """What the net is given of pictures, uint8 (N, S, S, 3): float32 (N, 3, size, size)."""
        if pixels.shape[1] < self.size:
            raise ValueError(f"pictures of {pixels.shape[1]} pixels: this net sees {self.size}")
        x = to_input(centre_crop(pixels, self.size), self.mean.to(pixels.device))
        return x.div_(torch.tensor(self.std, device=x.device).view(3, 1, 1))


def of_run(run: study.Run, images: Images) -> Trained:
    """The net of a finished run, on one device whatever it was trained on; `images` are its training pictures."""
    spec = spec_from(run.row["config"])
    model = AlexNet(spec)
    model.load_state_dict(run.model.state_dict())
    mean = centre_crop(torch.tensor(images.mean), spec.net.input)
    shown = {"precision": spec.train.precision, "towers": spec.net.towers}
    return Trained(model.eval(), spec.net.input, mean, images.classes, f"run {run.folder.name}", **shown)


def record(run: study.Run, measured: dict, queries: int, among: int, device: str) -> dict:
    """Put on record what was measured of a finished run; the same once more leaves no second row.

    A row of which one of these claims is withdrawn does not count.

    Args:
        measured: {id of a claim: (value, low, high)}.
        queries, among: how many test pictures looked for neighbours, and among how many training pictures.

    Returns the row: study, scale, run (fields that name the row of the run), queries, among, measured, and with what it
    was made (`rows.provenance`).
    """
    about = {"study": "05_features", "scale": run.row["scale"], "run": named(run.row), "queries": queries}
    about |= {"among": among, "measured": {id: [float(x) for x in bounds] for id, bounds in measured.items()}}
    known = [row for row in rows.read(**about) if row.get("withdrawn", {}).keys().isdisjoint(measured)]
    if not known:
        rows.append(about | rows.provenance(device))
    return (known or rows.read(**about))[-1]


def named(row: dict) -> dict:
    """What tells the row of a run from all others."""
    return {key: row[key] for key in ("study", "variant", "seed", "started")}


def drawn(n: int, count: int, seed: int = 0) -> np.ndarray:
    """`count` of the numbers 0..n-1 at random, in rising order; 0, or more than there are: all."""
    return np.sort(torch.randperm(n, generator=generator(seed, n, "drawn"))[: count or n].numpy())


def activations(net: Trained, images: Images, layers: list[str], batch: int = 128) -> dict[str, torch.Tensor]:
    """What layers put out for each picture, before the non-linearity: float32 (N, units) on the CPU.

    A map of a convolution counts as one unit, with its strongest value.
    """
    keep_freed_memory(net.device)
    kept = {name: [] for name in layers}

    def keep(name):
        def hook(_layer, _inputs, output):
            strongest = output.flatten(2).amax(2) if output.dim() == 4 else output
            kept[name].append(strongest.to("cpu", torch.float32, copy=True))  # a ReLU may overwrite the output

        return hook

    with ExitStack() as hooks, torch.inference_mode(), autocast(net.device, net.precision):
        for name in layers:
            hooks.enter_context(net.layer(name).register_forward_hook(keep(name)))
        for pixels, _ in Feed(images, net.device)(torch.arange(len(images)).split(batch)):
            net.model(net.input(pixels))
    return {name: torch.cat(parts) for name, parts in kept.items()}


class Pixels:
    """The central windows of pictures as vectors, minus the mean image, made when they are read.

    Pixels(images, 224)[10:20]       # float32 (10, 150528)
    Pixels(images, 224, 32)[10:20]   # (10, 3072): shrunk by averaging to 32 x 32
    """

    def __init__(self, images: Images, size: int, side: int | None = None):
        self.images, self.size, self.side = images, size, side or size
        self.mean = centre_crop(torch.tensor(images.mean), size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, some: slice) -> torch.Tensor:
        indices = np.arange(len(self))[some]
        return torch.cat([self._vectors(part) for part in np.array_split(indices, max(1, len(indices) // 128))])

    def _vectors(self, indices: np.ndarray) -> torch.Tensor:
        x = to_input(centre_crop(torch.from_numpy(self.images.gather(indices)), self.size), self.mean)
        return (x if self.side == self.size else F.adaptive_avg_pool2d(x, self.side)).flatten(1)


def kernel_energy(weights) -> torch.Tensor:
    """How much of each first-layer kernel's energy is a grating, and how much a colour blob: shares, float64 (2, K).

    Section 6.1: "frequency- and orientation-selective kernels, as well as various colored blobs". The mean of each
    colour (DC) is left out of all energies, so that a flat tint adds nothing. Frequencies are in cycles per kernel (11
    pixels), in steps of a half (the kernel is padded with zeros to twice its side), in both directions.

    - Grating: the energy at one non-zero frequency, colours added; the largest over the frequencies that have twice as
      much as the same frequency turned by 90 degrees, for a smooth spot has as much across. "At" a frequency is within
      1 cycle of it or of its mirror image along either axis, but not within 1 cycle of the turned one: a Gabor kernel
      whose envelope has a standard deviation of 1.5 pixels or more spreads no further.
    - Blob: the energy off the grey axis (red = green = blue), at 2 cycles or fewer: spots half as wide as the kernel.

    Args:
        weights: (K, 3, 11, 11). ValueError: another shape; with few frequencies white noise would count.
    """
    if weights.shape[1:] != (3, 11, 11):
        raise ValueError(f"kernels of shape {tuple(weights.shape[1:])}: expected (3, 11, 11)")
    raw = weights.detach().double().cpu()
    kernels, side = raw - raw.mean((2, 3), keepdim=True), 22

    def power(x):
        return torch.fft.fft2(x, s=(side, side)).abs().square().sum(1).flatten(1) / side**2

    def around(centres):
        gap = [(half[:, None] - sign * centres + side // 2) % side - side // 2 for sign in (1, -1)]
        return torch.stack(gap).abs().amax(-1).amin(0) <= 2

    half = torch.cartesian_prod(*[torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)] * 2)  # half cycles
    along, across = around(half), around(half.flip(1) * torch.tensor([1, -1]))
    whole, colour = power(kernels), power(kernels - kernels.mean(1, keepdim=True))
    one, other = whole @ (along & ~across).double(), whole @ (across & ~along).double()
    found = torch.stack([(one * (one >= 2 * other)).amax(1), colour[:, half.norm(dim=1) <= 4].sum(1)])
    rounding = 1e-12 * raw.square().sum((1, 2, 3)) + torch.finfo(torch.float64).tiny  # of a flat kernel's mean
    return found / whole.sum(1).clamp(min=rounding)


def kinds(weights) -> np.ndarray:
    """What each first-layer kernel is, str (K,): with half of its `kernel_energy` or more, a grating, else a blob."""
    grating, blob = kernel_energy(weights).numpy() >= 0.5
    return np.where(grating, "grating", np.where(blob, "blob", "neither"))


def kernel_kinds(weights) -> dict[str, float]:
    """The share (0..1) of each kind among first-layer kernels (K, 3, 11, 11), as plain numbers for a row."""
    found = kinds(weights)
    return {kind: float((found == kind).mean()) for kind in KINDS}


def selectivity(weights, seed: int = 0) -> tuple[float, ...]:
    """The claim `conv1-kernels`: the share of gratings and blobs, minus that of white noise (the kernels' start).

    Returns value, low, high in points; the 95 % interval is over kernels (Wilson), for 2,000 kernels of noise.
    """
    share, before = (1 - kernel_kinds(some)["neither"] for some in (weights, white_noise(weights, 2000, seed)))
    return tuple(100 * float(bound - before) for bound in (share, *findings.proportion(share, len(weights))))


def white_noise(weights, n: int, seed: int = 0) -> torch.Tensor:
    """Kernels as before training: n of the shape of `weights`, from a Gaussian."""
    return torch.randn(n, *weights.shape[1:], generator=generator(seed, 0, "kernels"))


def purity(values, labels, k: int = 9) -> torch.Tensor:
    """Of the k pictures that excite each unit most, the share that is of their commonest class: (units,).

    Args:
        values: (N, units). labels: (N,).
    """
    classes = torch.as_tensor(labels)[values.topk(k, dim=0).indices]
    return (classes == classes.mode(0).values).double().mean(0)


def exciting(net: Trained, images: Images, layer: str, values, units, k: int = 8) -> tuple:
    """The k pictures that excite each of some units most, and where in them.

    Args:
        values: (N, all units), `activations` of the layer.

    Returns windows, uint8 (U, k, size, size, 3), labels (U, k), and boxes (U, k, 3): left, top and side, in pixels of
    the window, of what the unit sees where it is strongest; None for a fully-connected layer, which sees everything.
    """
    pixels, labels = pictures_at(images, values[:, units].topk(k, dim=0).indices.T)
    windows = centre_crop(torch.from_numpy(pixels), net.size)
    places = []
    for unit, shown in zip(units, windows, strict=True):
        maps = through(net.model, net.layers[layer], net.input(shown.to(net.device)))[1].cpu()
        if maps.dim() == 2:
            return windows.numpy(), labels, None
        place = maps[:, unit].flatten(1).argmax(1)
        places.append(torch.stack([place % maps.shape[3], place // maps.shape[3]], 1))
    side, stride, start = receptive_field(net.model, net.layer(layer))
    corners = start + stride * torch.stack(places)
    return windows.numpy(), labels, F.pad(corners, (0, 1), value=side).numpy()


def pictures_at(images: Images, indices) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, uint8 (..., S, S, 3), and labels (...) at an array of indices of any shape."""
    indices = np.asarray(indices)
    pixels = images.gather(indices.ravel())
    return pixels.reshape(*indices.shape, *pixels.shape[1:]), images.labels[indices]


def receptive_field(model: nn.Module, layer: nn.Module) -> tuple[int, int, int]:
    """What a position of a convolution's maps sees of the input: (size, stride, start), pixels.

    Position i of a row sees pixels start + stride * i to start + stride * i + size - 1; those below 0 are padding.
    """
    size, stride, start = 1, 1, 0
    for stage in (module for module in model.modules() if not list(module.children())):
        if isinstance(stage, nn.ZeroPad2d):
            start -= stride * stage.padding[0]
        elif isinstance(stage, nn.Conv2d | nn.MaxPool2d | SpatialResponseNorm):
            kernel, step, pad = _window(stage)
            start, size, stride = start - stride * pad, size + (kernel - 1) * stride, stride * step
        if stage is layer:
            return size, stride, start
    raise ValueError("the layer is not in this net")


def _window(stage: nn.Module) -> tuple[int, int, int]:
    """Side, stride and padding of a stage that reads several positions."""
    if isinstance(stage, SpatialResponseNorm):
        return stage.size, 1, stage.size // 2
    return tuple(v[0] if isinstance(v, tuple) else v for v in (stage.kernel_size, stage.stride, stage.padding))
