"""Augmentation (section 4.1): random crops, mirror images and colour noise; the ten test views.

Images are uint8 (N, S, S, 3). The input of the net is float32 (N, 3, size, size), channels-last:
pixels in 0..255 minus the centre of the mean image, wherever the crop was (convdata_jpeg.py). All
random numbers come from `draw`, on the CPU, so they are the same on every device, and each of
several processes can draw for the whole mini-batch and use its part.

    draws = draw(128, 256, 224, config.augment, generator)
    x = training_input(pixels, mean, axes, 224, config.augment, draws)  # (128, 3, 224, 224)
"""

from typing import NamedTuple

import torch

from alexlib.config import Augment

CACHED = 2**18  # numbers that stay in the cache of a CPU core between two operations


class Draws(NamedTuple):
    """The random numbers for the images of a mini-batch."""

    top: torch.Tensor  # int64 (N,)
    left: torch.Tensor  # int64 (N,)
    mirrored: torch.Tensor  # bool (N,)
    coefficients: torch.Tensor | None  # float32 (N, 3), of the colour noise; None if it is off

    def part(self, images: slice) -> "Draws":
        """The random numbers for some of the images."""
        return Draws(*(values if values is None else values[images] for values in self))


def draw(n: int, side: int, size: int, augment: Augment, generator, colour: bool = True) -> Draws:
    """Random numbers for n images of `side` pixels and crops of `size`, from a CPU generator.

    `colour` is False after `augment.colour_end`: then there is neither colour noise nor division.
    """
    windows, coefficients = random_windows(n, side, size, augment, generator), None
    if colour and augment.colour != "none":
        coefficients = torch.randn(n, 3, generator=generator) * augment.colour_std
    return Draws(*windows, coefficients)


def random_windows(n: int, side: int, size: int, augment: Augment, generator):
    """Positions of n crops: top, left (int64) and mirrored (bool), each (n,).

    The (side - size + 1)^2 positions, 33 x 33 for 224 of 256 pixels, are equally likely;
    `augment.chunk` successive images share one.
    """
    if size > side:
        raise ValueError(f"crops of {size} pixels do not fit into images of {side}")
    chunks = -(-n // augment.chunk)
    offsets = torch.randint(side - size + 1, (2, chunks), generator=generator)
    mirrored = torch.rand(chunks, generator=generator) < 0.5
    if augment.crop == "centre":
        offsets.fill_((side - size) // 2)
    if not augment.flip:
        mirrored.fill_(False)
    return tuple(x.repeat_interleave(augment.chunk)[:n] for x in (*offsets, mirrored))


def training_input(pixels, mean, axes, size: int, augment: Augment, draws: Draws):
    """Random crops minus the mean, plus colour noise: float32 (N, 3, size, size).

    Args:
        pixels: uint8 (N, S, S, 3); mean: float32 (S, S, 3); axes: (3, 3), from `colour_axes`.
    """
    fixed = augment.crop == "centre" and not augment.flip  # then the crops need no copy
    windows = centre_crop(pixels, size) if fixed else crop(pixels, *draws[:3], size)
    mean = centre_crop(mean, size)
    if draws.coefficients is None:
        return to_input(windows, mean)
    return to_input(windows, mean, colour_noise(draws.coefficients, axes), augment.divide)


def crop(pixels, top, left, mirrored, size: int):
    """A window of each image, mirrored where asked: uint8 (N, size, size, 3)."""
    if not pixels.is_cuda and size >= 64:  # copying rows is faster than the gather below
        out = pixels.new_empty((len(pixels), size, size, 3))
        for i, (y, x, flip) in enumerate(zip(top.tolist(), left.tolist(), mirrored, strict=True)):
            window = pixels[i, y : y + size, x : x + size]
            out[i] = window.flip(1) if flip else window
        return out
    j = torch.arange(size, device=pixels.device)
    top, left, mirrored = (x.to(pixels.device)[:, None] for x in (top, left, mirrored))
    rows, columns = top + j, left + torch.where(mirrored, size - 1 - j, j)  # each (N, size)
    image = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return pixels[image, rows[:, :, None], columns[:, None, :]]


def centre_crop(pixels, size: int):
    """The central window of images (N, S, S, 3) or of one image (S, S, 3)."""
    first = (pixels.shape[-2] - size) // 2
    return pixels[..., first : first + size, first : first + size, :]


def views(pixels, size: int, which: str = "centre"):
    """Yields the views that are averaged in a test, each (N, size, size, 3): "centre" or "ten".

    The ten are the four corners and the centre, then their mirror images.
    """
    if which not in ("centre", "ten"):
        raise ValueError(f"views {which!r}: expected 'centre' or 'ten'")
    far, centre = pixels.shape[1] - size, centre_crop(pixels, size)
    if which == "centre":
        yield centre
        return
    corners = ((0, 0), (0, far), (far, 0), (far, far))
    windows = [*(pixels[:, y : y + size, x : x + size] for y, x in corners), centre]
    yield from windows
    yield from (window.flip(2) for window in windows)


def colour_axes(eigenvalues, eigenvectors, reading: str):
    """The principal components, in columns, times the size of their noise, in grey levels: (3, 3).

    "root" scales by the standard deviation, as the 2012 code did; "eigenvalue" by the variance, as
    the paper says. A variance depends on the unit of the pixels, which is then 0..1.
    """
    scales = {"root": eigenvalues.sqrt(), "eigenvalue": eigenvalues / 255}
    return eigenvectors * scales[reading]


def colour_noise(coefficients, axes):
    """The RGB shift of each image, (N, 3): coefficients (N, 3) times the axes (3, 3)."""
    return coefficients.to(axes) @ axes.T


def to_input(pixels, mean, shift=None, divide: float = 1.0):
    """(pixels - mean + shift) / divide: float32 (N, 3, s, s), channels-last.

    Args:
        pixels: uint8 (N, s, s, 3); mean: float32 (s, s, 3); shift: one for each image, (N, 3).
    """
    n, side = pixels.shape[:2]
    x = torch.empty(pixels.shape, device=pixels.device)
    mean = mean.reshape(side, 3 * side)  # rows of 3s numbers: a last dimension of 3 is slow
    step = max(n if pixels.is_cuda else CACHED // (3 * side * side), 1)
    for i in range(0, n, step):
        part = x[i : i + step].copy_(pixels[i : i + step]).view(-1, side, 3 * side)
        part -= mean if shift is None else mean - shift[i : i + step].repeat(1, side)[:, None]
        if divide != 1:
            part *= 1 / divide
    return x.permute(0, 3, 1, 2)
