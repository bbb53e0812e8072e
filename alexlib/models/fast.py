"""Stages that compute the same as the plain ones in less time; `accelerate(model)` puts them in.

On CPUs, LRN is compiled from kernels.c; on GPUs, both norms are the Triton kernels of kernels.py.
On all devices conv1 reads blocks of pixels, the norms save only their input for the gradient, and a
ReLU is part of the LRN that follows it or comes after the max-pool that follows it. Float64,
torch.compile and a beta other than 3/4 use the plain stages.
"""

import os

import torch
import torch.nn.functional as F
from torch import nn

from alexlib.models import native
from alexlib.models.layers import LocalResponseNorm, SpatialResponseNorm

SLICE = 1 << 19  # numbers that a CPU normalises at a time, so that they stay in its cache


def accelerate(model: nn.Sequential) -> nn.Sequential:
    """Replace stages of a net by faster ones, in place; returns the net.

    Parameters, state dict, order of stages and hooks do not change. Each stage alone still computes
    what its name says; the net runs two stages as one if neither has a hook.
    """
    faster = {kind.__base__: kind for kind in (FastLocalResponseNorm, FastSpatialResponseNorm)}
    for module in model.modules():
        module.__class__ = faster.get(type(module), type(module))
        if type(module) is nn.Conv2d and module.in_channels == 3 and min(module.stride) > 1:
            module.__class__ = BlockedConv2d
    if not isinstance(model, _Fused):
        model.__class__ = type(f"Fast{type(model).__name__}", (_Fused, type(model)), {})
    return model


class _Fused(nn.Sequential):
    """Runs two stages as one where the result and the gradients are the same."""

    def forward(self, x):
        if torch.compiler.is_compiling():
            return super().forward(x)
        stages = list(self)
        while stages:
            stage = stages.pop(0)
            pair = (stage, *stages[:1])
            hooks = [v for s in pair for name, v in vars(s).items() if name.endswith("_hooks")]
            kinds = () if any(hooks) else tuple(map(type, pair))
            if kinds == (nn.ZeroPad2d, BlockedConv2d):
                x = stages.pop(0)(x, edge=stage.padding[1])
            elif kinds == (nn.ReLU, FastLocalResponseNorm):
                x = stages.pop(0)(x, rectify=True)
            elif kinds == (nn.ReLU, nn.MaxPool2d):
                x = stage(stages.pop(0)(x))
            else:
                x = stage(x)
        return x


def _plain(x) -> bool:
    """Whether the plain stages are used: for float64, for shapes alone, when torch compiles."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # compiled, or exported
    return traced or x.dtype == torch.float64 or x.is_meta


def _triton(x, half: int):
    """The module of the Triton kernels, if they support this tensor and are not switched off."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    fits = x.is_cuda and last and half <= 16 and 0 < x.numel() < 2**31  # they count with 32 bits
    if not fits or os.environ.get("ALEXLIB_NATIVE") == "0":
        return None
    try:
        from alexlib.models import kernels
    except ModuleNotFoundError:  # Windows, or a Python without Triton
        return None
    return kernels


class BlockedConv2d(nn.Conv2d):
    """A convolution over the three colours of an image, with a stride and without padding.

    A block of pixels becomes one position with 3 maps for each pixel: `stride` pixels of a row on a
    CPU, stride x stride pixels on a GPU. With kernels padded to whole blocks, the sums are equal.
    """

    def forward(self, x, edge: int = 0):
        """`edge` is the number of columns and rows of zeros on the right and at the bottom."""
        if _plain(x):
            return super().forward(F.pad(x, (0, edge, 0, edge)))
        (n, maps, height, width), size, stride = x.shape, self.kernel_size[1], self.stride[1]
        device, a = x.device.type, stride if x.is_cuda else 1  # blocks of a x stride pixels
        tall, wide = -(-size // a), -(-size // stride)  # blocks under a kernel
        down = (height + edge - size) // stride * (stride // a) + tall  # blocks of the image
        across = (width + edge - size) // stride + wide
        h, w = min(height, down * a), min(width, across * stride)
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        rows = x.new_zeros((n, down * a, across * stride, maps), dtype=dtype)
        rows[:, :h, :w] = x.movedim(1, -1)[:, :h, :w]
        blocks = rows.view(n, down, a, across, stride * maps).movedim(2, 3).flatten(3)
        kernels = F.pad(self.weight, (0, wide * stride - size, 0, tall * a - size))
        kernels = kernels.unflatten(3, (wide, stride)).unflatten(2, (tall, a))
        kernels = kernels.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)  # (K, a x stride x maps, ...)
        kernels = kernels.contiguous(memory_format=torch.channels_last)
        return F.conv2d(blocks.movedim(-1, 1), kernels, self.bias, (stride // a, 1))


class FastLocalResponseNorm(LocalResponseNorm):
    """LRN by kernels.c where it applies, else with sums by a banded matrix of ones."""

    def forward(self, a, rectify: bool = False):
        """`rectify` normalises max(a, 0), as after a ReLU."""
        if _plain(a) or self.beta != 0.75 or a.shape[1] % self.towers:
            return super().forward(F.relu(a) if rectify else a)
        maps, half = a.shape[1] // self.towers, self.n // 2
        last = a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last)
        fits = last and a.dtype in native.TYPES and maps <= 1024 and half <= 16  # as in kernels.c
        if fits and a.device.type == "cpu" and native.kernels():
            settings = maps, half, rectify, self.k, self.alpha
            return ResponseNorm.apply(a, native.response_norm, *settings)
        if kernels := _triton(a, half):
            settings = maps, half, False, rectify, self.k, self.alpha
            return ResponseNorm.apply(a, kernels.response_norm, *settings)
        band = torch.ones(maps, maps, device=a.device).tril(half).triu(-half)

        def window(squares):
            rows = squares.movedim(1, -1)
            with torch.autocast(a.device.type, enabled=False):
                return (rows.reshape(-1, maps) @ band).view(rows.shape).movedim(-1, 1)

        a = F.relu(a) if rectify else a
        return ResponseNorm.apply(a, response_norm, window, self.k, self.alpha)


class FastSpatialResponseNorm(SpatialResponseNorm):
    """The spatial norm with sums over columns first, then over rows."""

    def forward(self, a):
        if _plain(a) or self.beta != 0.75:
            return super().forward(a)
        size, half = self.size, self.size // 2
        if kernels := _triton(a, half):
            settings = 1, half, True, False, 1.0, self.alpha
            return ResponseNorm.apply(a, kernels.response_norm, *settings)

        def window(squares):
            columns = F.avg_pool2d(squares, (size, 1), 1, (half, 0), divisor_override=1)
            return F.avg_pool2d(columns, (1, size), 1, (0, half), divisor_override=1)

        return ResponseNorm.apply(a, response_norm, window, 1.0, self.alpha)


class ResponseNorm(torch.autograd.Function):
    """A norm that saves only its input: y = norm(x, None, ...), and norm(x, g, ...) is dx."""

    @staticmethod
    def forward(ctx, x, norm, *settings):
        ctx.save_for_backward(x)
        ctx.norm, ctx.settings = norm, settings
        return norm(x, None, *settings)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        dx = ctx.norm(*ctx.saved_tensors, g, *ctx.settings)
        return dx, None, *[None for _ in ctx.settings]


def response_norm(x, g, window, k, alpha):
    """y = x d^(-3/4) with d = k + alpha window(x^2), where the gradient of a window is a window.

    For the gradient g of y: dx = g d^(-3/4) - 3/2 alpha x window(g x d^(-7/4)). In float32.
    """
    out = torch.empty_like(x)
    images = SLICE * len(x) // max(1, x.numel()) if x.device.type == "cpu" else len(x)
    parts = (tensor.split(max(1, images)) for tensor in (x, x if g is None else g, out))
    for xs, gs, part in zip(*parts, strict=True):
        xs = xs.float()
        squares = window(xs * xs)
        root = torch.add(squares.new_full((), k), squares, alpha=alpha, out=squares).rsqrt_()
        power, inverse = root.sqrt().mul_(root), root.mul_(root)  # d^(-3/4), 1 / d
        power.mul_(xs if g is None else gs.float())
        if g is not None:
            sums = window(inverse.mul_(power).mul_(xs))
            power.addcmul_(sums, xs, value=-1.5 * alpha)
        part.copy_(power)
    return out
