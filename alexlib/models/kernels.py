"""Both response norms on NVIDIA and AMD GPUs: Triton kernels for tensors in channels-last order.

    y = x d^(-3/4) with d = k + alpha window(x^2)
    dx = g d^(-3/4) - 3/2 alpha x window(s) with s = g x d^(-7/4), for the gradient g of y

A program computes BLOCK numbers at the positions `i` in memory. It reads windows number by number,
mostly from the cache.
"""

import torch
import triton
from triton import language as tl

BLOCK = 1024


@triton.jit
def read(p, i, inside, RECTIFY: tl.constexpr):
    """The numbers at i, or 0; max(a, 0) keeps NaN."""
    a = tl.load(p + i, inside, 0.0).to(tl.float32)
    return tl.where(a < 0, 0.0, a) if RECTIFY else a


@triton.jit
def window(p, i, n, maps, C, H, W, SPATIAL: tl.constexpr, HALF: tl.constexpr,
           RECTIFY: tl.constexpr, SQUARE: tl.constexpr):  # fmt: skip
    """Sums over 2 HALF + 1 adjacent maps of a tower, or over as many rows and columns of a map."""
    total = read(p, i, i < 0, RECTIFY)
    if SPATIAL:
        h, w = i // (C * W) % H, i // C % W
        for a in tl.static_range(-HALF, HALF + 1):
            for b in tl.static_range(-HALF, HALF + 1):
                inside = (h + a >= 0) & (h + a < H) & (w + b >= 0) & (w + b < W)
                v = read(p, i + (a * W + b) * C, inside & (i < n), RECTIFY)
                total += v * v if SQUARE else v
    else:
        c = i % maps
        for a in tl.static_range(-HALF, HALF + 1):
            v = read(p, i + a, (c + a >= 0) & (c + a < maps) & (i < n), RECTIFY)
            total += v * v if SQUARE else v
    return total


@triton.jit
def normalise(x, y, k, alpha, n, maps, C, H, W, SPATIAL: tl.constexpr, HALF: tl.constexpr,
              RECTIFY: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    d = k + alpha * window(x, i, n, maps, C, H, W, SPATIAL, HALF, RECTIFY, True)
    root = tl.rsqrt(d)
    tl.store(y + i, read(x, i, i < n, RECTIFY) * root * tl.sqrt(root), i < n)


@triton.jit
def gradient_terms(x, g, s, k, alpha, n, maps, C, H, W, SPATIAL: tl.constexpr,
                   HALF: tl.constexpr, RECTIFY: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    d = k + alpha * window(x, i, n, maps, C, H, W, SPATIAL, HALF, RECTIFY, True)
    root = tl.rsqrt(d)
    product = read(x, i, i < n, RECTIFY) * read(g, i, i < n, False)
    tl.store(s + i, product * root * tl.sqrt(root) / d, i < n)


@triton.jit
def gradient(x, g, s, dx, k, alpha, n, maps, C, H, W, SPATIAL: tl.constexpr, HALF: tl.constexpr,
             RECTIFY: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    d = k + alpha * window(x, i, n, maps, C, H, W, SPATIAL, HALF, RECTIFY, True)
    root, a = tl.rsqrt(d), read(x, i, i < n, RECTIFY)
    sums = window(s, i, n, maps, C, H, W, SPATIAL, HALF, False, False)
    found = read(g, i, i < n, False) * root * tl.sqrt(root) - 1.5 * alpha * a * sums
    if RECTIFY:
        found = tl.where(a == 0, 0.0, found)
    tl.store(dx + i, found, i < n)


def response_norm(x, g, maps, half, spatial, rectify, k, alpha):
    """A norm of x; given the gradient g of its output, the gradient of x instead.

    Args:
        x: channels-last, (N, C, H, W); maps: of a tower; half: maps, or rows and columns, on each
            side of a window's centre; spatial: which of the two; rectify: normalise max(x, 0).
    """
    (_, C, H, W), n, y = x.shape, x.numel(), torch.empty_like(x)
    settings, grid = (k, alpha, n, maps, C, H, W, spatial, half, rectify, BLOCK), (-(-n // BLOCK),)
    with torch.cuda.device_of(x):  # Triton starts kernels on the current device
        if g is None:
            normalise[grid](x, y, *settings)
            return y
        g = g.contiguous(memory_format=torch.channels_last)
        s = torch.empty_like(x, dtype=torch.float32)
        gradient_terms[grid](x, g, s, *settings)
        gradient[grid](x, g, s, y, *settings)
    return y
