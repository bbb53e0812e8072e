"""The nets for CIFAR-10 in the examples of the 2012 code (section 3.1, Figure 1; section 3.3)."""

import torch
import torch.nn.functional as F
from torch import nn

from alexlib.config import Cifar
from alexlib.models.layers import ACTIVATIONS, LocalResponseNorm

# Layers of each net: kind, kernels or units (None: one for each class), standard deviation of the
# initial weights, pool after the layer. From layers-19pct.cfg, layers-conv-local-13pct.cfg and
# layers-80sec.cfg of cuda-convnet.
CONVS = ("conv", 32, 0.0001, "max"), ("conv", 32, 0.01, "avg"), ("conv", 64, 0.01, "avg")
STACKS = {
    "four-layer": (*CONVS, ("fc", None, 0.01, None)),
    "local": (
        ("conv", 64, 0.0001, "max"),
        ("conv", 64, 0.01, "max"),
        ("local", 32, 0.04, None),
        ("local", 32, 0.04, None),
        ("fc", None, 0.01, None),
    ),
    "80-seconds": (*CONVS, ("fc", 64, 0.1, None), ("fc", None, 0.1, None)),
}

POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class LocallyConnected(nn.Module):
    """A convolution with separate kernels and biases at each position (type=local of 2012).

    Windows are size x size, with zeros beyond the edge of the feature map.
    Shapes: (N, maps, side, side) to (N, kernels, side, side).
    """

    def __init__(self, maps, kernels, side, size=3):
        super().__init__()
        self.side, self.size = side, size
        self.weight = nn.Parameter(torch.empty(side**2, maps * size**2, kernels))
        self.bias = nn.Parameter(torch.empty(side**2, kernels))

    def forward(self, x):
        windows = F.unfold(x, self.size, padding=self.size // 2)  # (N, maps x size^2, side^2)
        y = windows.permute(2, 0, 1) @ self.weight + self.bias[:, None]  # (side^2, N, kernels)
        return y.permute(1, 2, 0).unflatten(2, (self.side, self.side))


class CifarNet(nn.Sequential):
    """5x5 convolutions, 3x3 pools with stride 2 (32 > 16 > 8 > 4 pixels), a classifier.

    An average pool divides by the number of pixels inside the feature map. The 2012 files put the
    ReLU of layer 1 after its max-pool, which gives the same result.
    Shapes: (N, 3, input, input) to (N, classes).
    """

    def __init__(self, net: Cifar):
        super().__init__()
        self.net = net
        maps, side, layers = 3, net.input, STACKS[net.stack]
        for i, (kind, count, std, pool) in enumerate(layers, 1):
            count = max(1, round(count * net.width)) if count else net.classes
            if kind == "conv":
                layer = nn.Conv2d(maps, count, 5, padding=2)
            elif kind == "local":
                layer = LocallyConnected(maps, count, side)
            else:
                if not hasattr(self, "flatten"):
                    self.flatten, maps = nn.Flatten(), maps * side**2
                layer = nn.Linear(maps, count)
            # Narrow nets get larger weights, so that the variance of the activations is the same.
            nn.init.normal_(layer.weight, 0.0, std if i == 1 else std / net.width**0.5)
            nn.init.zeros_(layer.bias)
            self.add_module(f"{kind}{i}", layer)
            if i < len(layers):
                self.add_module(f"{net.activation}{i}", ACTIVATIONS[net.activation]())
            if net.lrn and i == 2:
                self.lrn2 = LocalResponseNorm(9, 1.0, 0.001 / 9)
            if pool:
                self.add_module(f"pool{i}", POOLS[pool](3, stride=2, ceil_mode=True))
                side = -(-(side - 3) // 2) + 1
            if net.lrn and i == 1:
                self.lrn1 = LocalResponseNorm(9, 1.0, 0.001 / 9)  # layers-conv-local-11pct.cfg
            maps = count
