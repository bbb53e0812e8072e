"""The layers of 2012 that torch lacks or defines differently, each with its equation."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin


class LocalResponseNorm(nn.Module):
    """Local response normalisation (section 3.3), separately in each tower.

        b_i = a_i / (k + alpha * sum of a_j^2 for j = i - n/2 .. i + n/2) ^ beta

    a_i is the activation of feature map i; the sum leaves out maps that the tower does not have.
    alpha multiplies the sum, as in the paper. torch.nn.LocalResponseNorm and the 2012 code
    (layer.py) divide alpha by n first. Computed in float32 if `a` has a lower precision.

    Shapes: (N, C, H, W) to the same, with C a multiple of `towers`.
    """

    def __init__(self, n=5, k=2.0, alpha=1e-4, beta=0.75, towers=1):
        super().__init__()
        if n % 2 == 0:
            raise ValueError(f"LocalResponseNorm(n={n}): n must be odd, as the window is centred")
        self.n, self.k, self.alpha, self.beta, self.towers = n, k, alpha, beta, towers

    def forward(self, a):
        dtype = torch.promote_types(a.dtype, torch.float32)
        squares = a.to(dtype).square().unflatten(1, (self.towers, -1))  # (N, towers, maps, H, W)
        maps, half = squares.shape[2], self.n // 2
        padded = F.pad(squares, (0, 0) * (a.dim() - 2) + (half, half))  # zero maps on both sides
        sums = sum(padded[:, :, j : j + maps] for j in range(self.n)).flatten(1, 2)
        b = a.to(dtype) / (self.k + self.alpha * sums) ** self.beta
        return b.to(a.dtype)

    def extra_repr(self):
        settings = f"n={self.n}, k={self.k:g}, alpha={self.alpha:g}, beta={self.beta:g}"
        return f"{settings}, towers={self.towers}"


class SpatialResponseNorm(nn.Module):
    """Response normalisation over size x size positions of one feature map; not in the paper.

        b = a / (1 + alpha * sum of a^2 over the window) ^ beta,  zeros beyond the edge

    This is cnorm2 of layers-145.cfg; alpha multiplies the sum (the 2012 code divides by size^2).
    Computed in float32 if `a` has a lower precision. Shapes: (N, C, H, W) to the same; size is odd.
    """

    def __init__(self, size=5, alpha=1e-3 / 25, beta=0.75):
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, a):
        wide = a.to(torch.promote_types(a.dtype, torch.float32))
        sums = F.avg_pool2d(wide.square(), self.size, 1, self.size // 2) * self.size**2
        return (wide / (1 + self.alpha * sums) ** self.beta).to(a.dtype)

    def extra_repr(self):
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}"


class Dropout(nn.Module):
    """Dropout as in the paper (section 4.2): zeroes units in training, scales by 1 - p in testing.

    torch.nn.Dropout scales by 1 / (1 - p) in training instead, so that the next layer receives
    larger activations. `factor` multiplies the outputs in training and in testing: with p = 0 and
    factor = 0.5, the next layer receives the same mean activations as with p = 0.5.
    """

    def __init__(self, p=0.5, factor=1.0):
        super().__init__()
        self.p, self.factor = p, factor

    def forward(self, x):
        if not self.training:
            return x * ((1 - self.p) * self.factor)
        if self.p:
            x = x * torch.empty_like(x).bernoulli_(1 - self.p)
        return x if self.factor == 1 else x * self.factor

    def extra_repr(self):
        return f"p={self.p:g}, factor={self.factor:g}"


class TowerLinear(LazyModuleMixin, nn.Module):
    """A fully connected layer in which each tower reads only its own part of the input.

    As in torch.nn.LazyLinear, the first input sets the number of inputs; weights have the shape
    (towers, outputs / towers, inputs / towers). Shapes: (N, inputs) to (N, outputs).
    """

    def __init__(self, outputs, towers):
        super().__init__()
        self.outputs, self.towers = outputs, towers
        self.weight = nn.UninitializedParameter()
        self.bias = nn.Parameter(torch.empty(outputs))

    def initialize_parameters(self, x):
        inputs = x.shape[1] // self.towers
        self.weight.materialize((self.towers, self.outputs // self.towers, inputs))

    def forward(self, x):
        parts = zip(x.chunk(self.towers, 1), self.weight, strict=True)
        return torch.cat([part @ weight.T for part, weight in parts], 1) + self.bias


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x / 3), LeCun's scaling with f(1) = 1 and f(-1) = -1."""

    def forward(self, x):
        return 1.7159 * torch.tanh(x * (2 / 3))


ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
