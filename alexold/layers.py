"""The layers of 2012 that torch lacks, means differently or does slowly: response norms, conv1, dropout, towers."""

import torch
import torch.nn.functional as F
from torch import nn

from alexold import native

# Elements of one slice of a batch on a CPU: float32 temporaries of this size stay in the cache.
SLICE = 1 << 19


class _ResponseNorm(torch.autograd.Function):
    """y = x * d^-beta, d = k + alpha * window(x^2), for a `window` sum that is its own transpose.

    With g the gradient of y: dx = g d^-beta - 2 alpha beta x window(g x d^(-beta-1)).
    Saves x alone and computes d again; works in float32 (float64 for float64), returns the dtype of x.
    """

    @staticmethod
    def forward(ctx, x, window, k, alpha, beta):
        ctx.save_for_backward(x)
        ctx.settings = window, k, alpha, beta
        y = torch.empty_like(x)
        with _full_precision(x):
            for xs, ys in _slices(x, y):
                xs = _wide(xs)
                power, _ = _powers(xs, window, k, alpha, beta)
                ys.copy_(power.mul_(xs))  # `out=ys` would cast element by element
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,), (window, k, alpha, beta) = ctx.saved_tensors, ctx.settings
        dx = torch.empty_like(x)
        with _full_precision(x):
            for xs, gs, out in _slices(x, g, dx):
                xs, gs = _wide(xs), _wide(gs)
                power, inverse = _powers(xs, window, k, alpha, beta)
                power.mul_(gs)
                spread = window(inverse.mul_(power).mul_(xs))
                out.copy_(power.addcmul_(spread, xs, value=-2 * alpha * beta))
        return dx, None, None, None, None


def _full_precision(x):
    """Inside, products are not cast to bfloat16 (the meta device knows no autocast of its own)."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _slices(*tensors):
    """The same few pictures of each tensor at a time on a CPU; everything at once elsewhere."""
    x = tensors[0]
    if x.numel() == 0:
        return ()
    if x.device.type != "cpu":
        return (tensors,)
    pictures = max(1, SLICE * len(x) // x.numel())
    return zip(*(t.split(pictures) for t in tensors), strict=True)


def _wide(x):
    return x if x.dtype == torch.float64 else x.float()


def _powers(x, window, k, alpha, beta):
    """(d^-beta, 1/d) with d = k + alpha * window(x^2); roots instead of a power for the beta that everybody uses."""
    squares = window(x * x)
    d = torch.add(squares.new_full((), k), squares, alpha=alpha, out=squares)
    if beta == 0.75:
        root = d.rsqrt_()
        return root.sqrt().mul_(root), root.mul_(root)
    return d.pow(-beta), d.reciprocal_()


class LocalResponseNorm(nn.Module):
    """Response normalisation across maps (section 3.3), separately in each tower.

    b_i = a_i / (k + alpha * sum_{j=i-n/2}^{i+n/2} a_j^2)^beta, the sum cut off at a tower's first and last map.
    alpha multiplies the SUM, as in the paper; `torch.nn.LocalResponseNorm` and the 2012 parser divide it by n first.
    One pass over memory where `alexold.native` has its kernels. Elsewhere the sum over maps is a product with a banded
    matrix of ones. Both sum in float32 even where x is bfloat16.

    Shapes: (N, C, ...) to the same, C a multiple of `towers`; the result is channels-last where x is. `rectify` makes
    it the norm of max(x, 0), a ReLU before it that costs no pass of its own.
    """

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, towers: int = 1):
        super().__init__()
        if n % 2 == 0:
            raise ValueError(f"LocalResponseNorm(n={n}): the window is i-n/2 .. i+n/2, so n must be odd")
        self.n, self.k, self.alpha, self.beta, self.towers = n, k, alpha, beta, towers

    def forward(self, x, rectify: bool = False):
        if x.shape[1] % self.towers:
            raise ValueError(f"{x.shape[1]} maps do not divide into {self.towers} towers")
        maps = x.shape[1] // self.towers
        if torch.compiler.is_compiling():
            return self.formula(F.relu(x) if rectify else x)
        if native.fits(x, self.towers, self.n, self.beta):
            return native.ResponseNorm.apply(x, maps, self.n // 2, self.k, self.alpha, rectify)
        x = F.relu(x) if rectify else x
        i = torch.arange(maps, device=x.device)
        band = ((i[:, None] - i).abs() <= self.n // 2).to(torch.promote_types(x.dtype, torch.float32))

        def window(squares):
            last = squares.movedim(1, -1)
            return (last.reshape(-1, maps) @ band).view(last.shape).movedim(-1, 1)

        return _ResponseNorm.apply(x, window, self.k, self.alpha, self.beta)

    def formula(self, x):
        """The equation as it stands, for `torch.compile`, which makes it and its gradient into kernels of its own."""
        wide, maps = _wide(x).unflatten(1, (self.towers, -1)), x.shape[1] // self.towers
        side = (0, 0) * (wide.dim() - 3) + (self.n // 2, self.n // 2)
        squares = F.pad(wide * wide, side)
        sums = sum(squares.narrow(2, j, maps) for j in range(self.n))
        return (wide * (self.k + self.alpha * sums) ** -self.beta).flatten(1, 2).to(x.dtype)

    def extra_repr(self):
        return f"n={self.n}, k={self.k:g}, alpha={self.alpha:g}, beta={self.beta:g}, towers={self.towers}"


class SpatialResponseNorm(nn.Module):
    """Response normalisation over size x size positions of the same map: cnorm2 of layers-145.cfg, not in the paper.

    y = x * (1 + alpha * sum x^2)^-beta, zeros outside the map; alpha multiplies the SUM (the file's scale / size^2).
    Shape: (N, C, H, W) to the same.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-3 / 25, beta: float = 0.75):
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"SpatialResponseNorm(size={size}): the window is centred, so size must be odd")
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x):
        return _ResponseNorm.apply(x, self._window, 1.0, self.alpha, self.beta)

    def _window(self, squares):
        for kernel in ((self.size, 1), (1, self.size)):
            padding = tuple(side // 2 for side in kernel)
            squares = F.avg_pool2d(squares, kernel, 1, padding, divisor_override=1)
        return squares

    def extra_repr(self):
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}"


class Dropout(nn.Module):
    """Dropout as in the paper (section 4.2; layer.cu): zeroes units in training, multiplies all by 1 - p in use.

    `torch.nn.Dropout` divides by 1 - p in training instead, which feeds the next layer activations twice as large.
    `factor` multiplies all outputs, in training and in use: a net without dropout (p = 0) needs a factor of .5 to feed
    the next layer the same mean activations as one with p = .5.
    """

    def __init__(self, p: float = 0.5, factor: float = 1.0):
        super().__init__()
        self.p, self.factor = p, factor

    def forward(self, x):
        if not self.training:
            return x * ((1 - self.p) * self.factor)
        if self.p:
            x = x * torch.empty_like(x).bernoulli_(1 - self.p)
        return x if self.factor == 1 else x * self.factor

    def extra_repr(self):
        return f"p={self.p:g}" + f", factor={self.factor:g}" * (self.factor != 1)


class FirstConv(nn.Conv2d):
    """conv1: kernels on pixels with a stride; the windows at the right and the lower edge see `over` zeros there.

    A product over 3 colours keeps a CPU's matrix units waiting. Channels-last pixels read four by four are as they lie
    a picture of a fourth of the width and 12 maps: the same sums, with kernels that are padded to a whole number of
    strides. Weights, (K, 3, size, size), are those of the plain convolution.

    Shapes: (N, C, H, W) to (N, K, (H + over - size) / stride + 1, ...).
    """

    def __init__(self, maps: int, out: int, size: int, stride: int, over: int):
        super().__init__(maps, out, size, stride)
        self.over = over

    def forward(self, x):
        if x.device.type != "cpu":
            return super().forward(F.pad(x, (0, self.over, 0, self.over)))
        (n, maps, height, width), size, stride = x.shape, self.kernel_size[1], self.stride[1]
        blocks = -(-size // stride)  # that a kernel covers
        across = (width + self.over - size) // stride + blocks
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        rows = x.new_zeros((n, height + self.over, across * stride, maps), dtype=dtype)
        rows[:, :height, :width] = x.movedim(1, -1)
        rows = rows.view(n, height + self.over, across, stride * maps).movedim(-1, 1)
        kernels = F.pad(self.weight, (0, blocks * stride - size)).unflatten(3, (blocks, stride))
        kernels = kernels.permute(0, 4, 1, 2, 3).flatten(1, 2)  # (K, stride x maps, size, blocks)
        return F.conv2d(rows, kernels.contiguous(memory_format=torch.channels_last), self.bias, (stride, 1))

    def extra_repr(self):
        return f"{super().extra_repr()}, over={self.over}"


class TowerLinear(nn.Module):
    """A linear layer in which each tower reads its own part of the input only: (N, in) to (N, out)."""

    def __init__(self, inputs: int, outputs: int, towers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(towers, outputs // towers, inputs // towers))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        parts = zip(x.chunk(len(self.weight), 1), self.weight, strict=True)
        return torch.cat([part @ weight.T for part, weight in parts], 1) + self.bias

    def extra_repr(self):
        towers, outputs, inputs = self.weight.shape
        return f"{towers} x ({inputs} to {outputs})"


class LocallyConnected(nn.Module):
    """A convolution whose weights are not shared: each position has kernels and biases of its own (type=local, 2012).

    Shapes: (N, maps, side, side) to (N, out, side, side), windows size x size, zeros beyond the edge.
    """

    def __init__(self, maps: int, out: int, side: int, size: int = 3):
        super().__init__()
        self.side, self.size = side, size
        self.weight = nn.Parameter(torch.empty(side**2, maps * size**2, out))
        self.bias = nn.Parameter(torch.empty(side**2, out))

    def forward(self, x):
        windows = F.unfold(x, self.size, padding=self.size // 2)  # (N, maps x size x size, positions)
        y = windows.permute(2, 0, 1) @ self.weight + self.bias[:, None]  # (positions, N, out)
        return y.permute(1, 2, 0).unflatten(2, (self.side, self.side))

    def extra_repr(self):
        positions, inputs, out = self.weight.shape
        return f"{positions} x ({inputs} to {out})"


class _WideTanh(torch.autograd.Function):
    """tanh computed in float32 and handed on in the dtype of x, as torch does it, but with torch's fast float32 code.

    On CPUs torch's bfloat16 tanh takes twice as long, and ten times for inputs above 43, whose exponentials are
    subnormal numbers: docs/performance.md.
    """

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x.float()).to(x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return torch.ops.aten.tanh_backward(g, *ctx.saved_tensors)


class Tanh(nn.Tanh):
    """tanh, as fast as it can be on CPUs."""

    def forward(self, x):
        return _WideTanh.apply(x) if x.dtype == torch.bfloat16 and x.device.type == "cpu" else torch.tanh(x)


class ScaledTanh(Tanh):
    """1.7159 tanh(2x / 3), LeCun's scaling, with which f(1) = 1 and f(-1) = -1."""

    def forward(self, x):
        return 1.7159 * super().forward(x * (2 / 3))


ACTIVATION_LAYERS = {
    "relu": nn.ReLU,
    "tanh": Tanh,
    "scaled_tanh": ScaledTanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
