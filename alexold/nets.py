"""The net of the paper (section 3.5, Figure 2), the nets for CIFAR-10 of 2012, and what each of their layers costs."""

import math

import torch
from torch import nn

from alexold.config import Cifar, Net, Spec
from alexold.layers import (
    ACTIVATION_LAYERS,
    Dropout,
    FirstConv,
    LocallyConnected,
    LocalResponseNorm,
    SpatialResponseNorm,
    TowerLinear,
)
from alexold.towers import cross, divide, reads_both, same_precision, two_devices

# Layers of the CIFAR nets: kind, kernels or units (None: the classes), initial standard deviation, pool after it.
# From cuda-convnet's example-layers: layers-19pct.cfg, layers-conv-local-13pct.cfg, layers-80sec.cfg.
STACKS = {
    "four-layer": (
        ("conv", 32, 1e-4, "max"), ("conv", 32, 0.01, "avg"), ("conv", 64, 0.01, "avg"), ("fc", None, 0.01, ""),
    ),
    "local": (
        ("conv", 64, 1e-4, "max"), ("conv", 64, 0.01, "max"), ("local", 32, 0.04, ""), ("local", 32, 0.04, ""),
        ("fc", None, 0.01, ""),
    ),
    "80-seconds": (
        ("conv", 32, 1e-4, "max"), ("conv", 32, 0.01, "avg"), ("conv", 64, 0.01, "avg"), ("fc", 64, 0.1, ""),
        ("fc", None, 0.1, ""),
    ),
}  # fmt: skip

CIFAR_LRN = {"n": 9, "k": 1.0, "alpha": 1e-3 / 9, "beta": 0.75}  # rnorm1, rnorm2 of layers-conv-local-11pct.cfg


class Stages(nn.Sequential):
    """Stages one after another, with fewer passes over memory where the result and all gradients are the same.

    A ReLU before a response norm is part of it; one before a max-pool comes after it (both only choose, and commute).
    A stage that somebody watches through a hook keeps its place.
    """

    def forward(self, x):
        stages = list(self)
        while stages:
            stage = stages.pop(0)
            if stages and type(stage) is nn.ReLU and not (stage._forward_hooks or stages[0]._forward_hooks):
                if isinstance(stages[0], LocalResponseNorm):
                    x = stages.pop(0)(x, rectify=True)
                    continue
                if isinstance(stages[0], nn.MaxPool2d):
                    x = stages.pop(0)(x)
            x = stage(x)
        return x


class AlexNet(Stages):
    """Five convolutional and three fully-connected layers, from pixels in 0..255 minus the mean image to class scores.

    The towers of the paper's two GPUs are the two halves of every layer's maps: a layer that reads its own tower only
    is a convolution in groups. Stages bear the names of the paper's Figure 2: `conv1`, `lrn1`, `pool1`, ..., `fc8`.

    Args:
        net: the settings; a whole `Spec` serves too (its `net` is taken).
        devices: two, each of which holds a tower (`alexold.towers`): pictures go to the first, scores come from it.

    Shapes: (N, 3, input, input) to (N, classes).

    Raises:
        ValueError: devices that are not there, not two, or for a net without two towers.
    """

    def __init__(self, net: Net | Spec, devices: tuple[str, str] | None = None):
        super().__init__()
        self.net = net = net.net if isinstance(net, Spec) else net
        self.devices = two_devices(devices, net.towers) if devices else None
        self._side, self._maps = net.input, 3
        pools = []  # of layers that are left out: they follow the next convolution, or the last one
        for i in range(1, 6):
            pools += [f"pool{i}"] * (i in (1, 2, 5))
            if i not in net.omit:
                self._conv_stages(i, pools)
                pools = []
        for name in pools:
            self.add_module(name, self._pool())
        self.flatten = nn.Flatten()
        self._units = self._maps * self._side**2  # 256 x 6 x 6 in the paper
        for i in (6, 7):
            if i not in net.omit:
                self._fc(i, wide(net.units[i - 6], net))
                self.add_module(f"relu{i}", ACTIVATION_LAYERS[net.activation]())
                self.add_module(f"dropout{i}", Dropout(net.dropout, net.fc_factor))
        self.fc8 = nn.Linear(self._units, net.classes)
        self.initialise()
        if self.devices:
            divide(self, self.devices)

    def forward(self, x):
        if not self.devices:
            return super().forward(x)
        with same_precision(self.devices):
            return super().forward((x, cross(x, self.devices[1])))

    def _conv_stages(self, i: int, pools: list[str]) -> None:
        """Convolution i with what follows it; an LRN on the linear output leaves the ReLU until after the pools."""
        net = self.net
        self._conv(i)
        norms = {}
        if i in net.lrn:
            norms["lrn"] = LocalResponseNorm(net.lrn_n, net.lrn_k, net.lrn_alpha, net.lrn_beta, net.towers)
        if i in net.spatial_norm:
            norms["spatial"] = SpatialResponseNorm(alpha=net.spatial_alpha)
        norms = {f"{name}{i}": stage for name, stage in norms.items()}
        relu = {f"relu{i}": ACTIVATION_LAYERS[net.activation]()}
        pool = {name: self._pool() for name in pools}
        first_norm = i in net.lrn and i in net.lrn_before_relu
        for name, stage in (norms | pool | relu if first_norm else relu | norms | pool).items():
            self.add_module(name, stage)

    def _pool(self) -> nn.MaxPool2d:
        size = 3 if self.net.overlapping else 2
        self._side = -(-(self._side - size) // 2) + 1
        return nn.MaxPool2d(size, 2, ceil_mode=True)

    def _conv(self, i: int) -> None:
        net, (size, stride, pad) = self.net, ((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))[i - 1]
        if not net.overlapping:  # as in layers-147.cfg, so that 6x6 maps come out all the same
            pad = {2: 1, 5: 0}.get(i, pad)
        first = self._maps == 3  # reads the image
        if first and i > 1:  # takes over conv1's stride, without padding: 224 pixels make 55 positions, as with conv1
            stride, pad = 4, 0
        maps, out = self._maps, wide(net.kernels[i - 1], net)
        steps = (self._side + 2 * pad - size) // stride
        own = not first and not (net.cross_talk and i == min({3, 4, 5} - set(net.omit), default=0))
        if i == 1:
            steps = -(-(self._side - size) // stride)  # rounded up: the last window hangs over the edge
            conv = FirstConv(maps, out, size, stride, over=steps * stride + size - self._side)  # 224 + 3: 55 windows
        else:
            conv = nn.Conv2d(maps, out, size, stride, pad, groups=net.towers if own else 1)
        self.add_module(f"conv{i}", conv)
        self._side, self._maps = steps + 1, out

    def _fc(self, i: int, units: int) -> None:
        both = self.net.cross_talk or self.net.towers == 1
        fc = nn.Linear(self._units, units) if both else TowerLinear(self._units, units, self.net.towers)
        self.add_module(f"fc{i}", fc)
        self._units = units

    def initialise(self) -> None:
        """Gaussian weights and constant biases, layer by layer (section 5; initW, initB of layers-145.cfg).

        The standard deviations are those of the full width; a layer with fewer inputs gets larger weights, so that what
        arrives at each unit varies as much as in the full net.
        """
        layers = [(int(name[-1]), layer) for name, layer in self.named_children() if hasattr(layer, "weight")]
        for i, layer in layers:
            narrower = 1.0 if i == layers[0][0] else self.net.width**0.5  # the first one reads all of the image
            nn.init.normal_(layer.weight, 0.0, self.net.init_std[i - 1] / narrower)
            nn.init.constant_(layer.bias, self.net.init_bias[i - 1])


class CifarNet(Stages):
    """A net for CIFAR-10 of the 2012 examples: 5x5 convolutions, overlapping pools, a classifier.

    Pools are 3x3 with stride 2, rounded up: 32 > 16 > 8 > 4. An average is over what of its window lies in the map.
    The 2012 files apply the ReLU of layer 1 after its max-pool, which is the same.

    Args:
        net: the settings; a whole `Spec` serves too (its `net` is taken).

    Shapes: (N, 3, input, input) to (N, classes).
    """

    def __init__(self, net: Cifar | Spec):
        super().__init__()
        self.net = net = net.net if isinstance(net, Spec) else net
        maps, side, layers = 3, net.input, STACKS[net.stack]
        for i, (kind, out, std, pool) in enumerate(layers, 1):
            out = net.classes if out is None else max(1, round(out * net.width))
            if kind == "fc" and side:
                self.flatten, maps, side = nn.Flatten(), maps * side**2, 0
            if kind == "conv":
                layer = nn.Conv2d(maps, out, 5, padding=2)
            else:
                layer = LocallyConnected(maps, out, side) if kind == "local" else nn.Linear(maps, out)
            nn.init.normal_(layer.weight, 0.0, std / (1.0 if i == 1 else net.width**0.5))
            nn.init.zeros_(layer.bias)
            self.add_module(f"{kind}{i}", layer)
            if i < len(layers):
                self.add_module(f"{net.activation}{i}", ACTIVATION_LAYERS[net.activation]())
            if net.lrn and i == 2:
                self.add_module("lrn2", LocalResponseNorm(**CIFAR_LRN))
            if pool:
                kernel = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[pool](3, 2, ceil_mode=True)
                self.add_module(f"pool{i}", kernel)
                side = -(-(side - 3) // 2) + 1
            if net.lrn and i == 1:
                self.add_module("lrn1", LocalResponseNorm(**CIFAR_LRN))
            maps = out


def build(net: Net | Cifar | Spec, devices: tuple[str, str] | None = None) -> AlexNet | CifarNet:
    """The net of some settings, with its initial weights; on two devices where they are given."""
    net = net.net if isinstance(net, Spec) else net
    if isinstance(net, Cifar) and devices:
        raise ValueError(f"devices {devices}: the CIFAR nets have no towers")
    return CifarNet(net) if isinstance(net, Cifar) else AlexNet(net, devices)


def wide(count: int, net: Net) -> int:
    """A layer's kernels or units at the net's width, a multiple of its towers."""
    return max(1, round(count * net.width / net.towers)) * net.towers


def trace(net: Net | Cifar | Spec) -> list[dict]:
    """Shape and cost of every stage for one picture, read off the built net without computing it.

    Returns one dict a stage: stage, output (C, H, W) or (units,), neurons, parameters, macs (multiply-adds); neurons,
    parameters and macs are 0 for stages without weights.
    """
    with torch.device("meta"):
        model = build(net)
        x = torch.empty(1, 3, model.net.input, model.net.input)
    rows = []
    for name, stage in model.named_children():
        x = stage(x)
        weights = stage.weight.numel() if hasattr(stage, "weight") else 0
        rows.append(
            {
                "stage": name,
                "output": tuple(x.shape[1:]),
                "neurons": x.numel() if weights else 0,
                "parameters": sum(p.numel() for p in stage.parameters()),
                "macs": weights * (1 if isinstance(stage, LocallyConnected) else x[0, 0].numel()),
            }
        )
    return rows


def ledger(net: Net | Spec) -> list[dict]:
    """What crosses between the devices of the two towers, read off the net without computing it (`alexold.towers`).

    Returns one dict for the pictures and for each layer before which something crosses: layer, values (numbers that
    cross forward, both ways together), forward, backward (bytes, one picture). Pictures are float32; activations are
    bfloat16 where a spec says bf16, else float32.
    """
    width = 2 if isinstance(net, Spec) and net.train.precision == "bf16" else 4
    settings = net.net if isinstance(net, Spec) else net
    with torch.device("meta"):
        stages = dict(AlexNet(settings).named_children())
    pictures = 3 * settings.input**2
    rows, read = [{"layer": "pictures", "values": pictures, "forward": 4 * pictures, "backward": 0}], 0
    for row in trace(settings):
        layer, output = row["stage"], math.prod(row["output"])
        if values := output if layer == "fc8" else read if reads_both(layer, stages[layer]) else 0:
            rows.append({"layer": layer, "values": values, "forward": width * values, "backward": width * values})
        read = output
    return rows


def trace_text(net: Net | Cifar | Spec) -> str:
    """The trace as a printable table with totals."""
    rows = trace(net)
    totals = {key: sum(row[key] for row in rows) for key in ("neurons", "parameters", "macs")}
    lines = [f"{'stage':<10}{'output':>16}{'neurons':>10}{'parameters':>13}{'multiply-adds':>15}"]
    for row in [*rows, {"stage": "total", "output": (), **totals}]:
        shape = " x ".join(map(str, row["output"]))
        cost = [f"{row[key]:,}" if row[key] else "" for key in totals]
        lines.append(f"{row['stage']:<10}{shape:>16}{cost[0]:>10}{cost[1]:>13}{cost[2]:>15}".rstrip())
    return "\n".join(lines)
