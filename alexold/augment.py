"""What a picture goes through before the net sees it (section 4.1): crops, mirror images, colour noise, ten views.

Pictures are uint8 tensors (N, S, S, 3); batches for the net are float32 (N, 3, size, size), channels-last, pixels in
0..255 minus the centre of the mean image, wherever the crop was (convdata_jpeg.py). Whatever is random comes from an
explicit CPU generator, so that the same seed gives the same batch on every device.
"""

import torch

from alexold.config import Augment

ALL = slice(None)
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
CACHED = 2**18  # values that stay in a core's cache from one operation to the next


def crop(pixels, top, left, mirrored, size: int):
    """One window of each picture, mirrored where asked: in one gather, or as a copy each of large ones on a CPU.

    Args:
        pixels: uint8 (N, S, S, 3).
        top, left: long (N,), 0 <= offset <= S - size (33 places on a side for 224 out of 256).
        mirrored: bool (N,).

    Returns uint8 (N, size, size, 3).
    """
    side = pixels.shape[1]
    if size > side:
        raise ValueError(f"crops of {size} pixels do not fit into pictures of {side}")
    one_by_one = not pixels.is_cuda and size >= 64
    return (_crop_copied if one_by_one else _crop_gathered)(pixels, top, left, mirrored, size)


def _crop_copied(pixels, top, left, mirrored, size: int):
    """Row by row from memory to memory: docs/performance.md compares it with the gather."""
    out = pixels.new_empty((len(pixels), size, size, 3))
    for i, (y, x, flip) in enumerate(zip(top.tolist(), left.tolist(), mirrored.tolist(), strict=True)):
        window = pixels[i, y : y + size, x : x + size]
        out[i].copy_(window.flip(1) if flip else window)
    return out


def _crop_gathered(pixels, top, left, mirrored, size: int):
    """All windows in one kernel, wherever each of them lies."""
    j = torch.arange(size, device=pixels.device)
    rows = top[:, None] + j
    columns = left[:, None] + torch.where(mirrored[:, None], size - 1 - j, j)
    picture = torch.arange(len(pixels), device=pixels.device)
    return pixels[picture[:, None, None], rows[:, :, None], columns[:, None, :]]


def random_windows(n: int, side: int, size: int, augment: Augment, generator: torch.Generator):
    """Where the windows of n pictures lie: top, left (long, N), mirrored (bool, N), on the CPU.

    Each of the (side - size + 1)^2 places is as likely; `augment.chunk` pictures in a row share theirs.
    """
    places, draws = side - size + 1, -(-n // augment.chunk)
    offsets = torch.randint(max(places, 1), (2, draws), generator=generator)
    mirrored = torch.rand(draws, generator=generator) < 0.5
    if augment.crop == "centre":
        offsets.fill_((places - 1) // 2)
    if not augment.flip:
        mirrored.fill_(False)
    return tuple(t.repeat_interleave(augment.chunk)[:n] for t in (*offsets, mirrored))


def random_crop_flip(
    pixels, size: int, augment: Augment, generator: torch.Generator, n: int | None = None, mine: slice = ALL
):
    """Random windows, half of them mirrored: uint8 (N, size, size, 3). `n`, `mine`: as in `training_input`."""
    drawn = random_windows(n or len(pixels), pixels.shape[1], size, augment, generator)
    top, left, mirrored = (values[mine] for values in drawn)
    if augment.crop == "centre" and not augment.flip:
        return centre_crop(pixels, size)
    return crop(pixels, top.to(pixels.device), left.to(pixels.device), mirrored.to(pixels.device), size)


def centre_crop(pixels, size: int):
    """The central window of each picture, or of one picture (S, S, 3)."""
    first = (pixels.shape[-2] - size) // 2
    return pixels[..., first : first + size, first : first + size, :]


def views(pixels, size: int, which: str = "centre"):
    """The views that are averaged in testing: `centre`, or `ten`: four corners and centre, then their mirror images.

    Yields uint8 (N, size, size, 3), one view at a time.
    """
    if which not in ("centre", "ten"):
        raise ValueError(f"views {which!r}: expected 'centre' or 'ten'")
    if which == "centre":
        yield centre_crop(pixels, size)
        return
    far = pixels.shape[1] - size
    windows = [pixels[:, far * r : far * r + size, far * c : far * c + size] for r, c in CORNERS]
    windows.append(centre_crop(pixels, size))
    yield from windows
    yield from (w.flip(2) for w in windows)


def colour_axes(eigenvalues, eigenvectors, reading: str):
    """The columns that colour noise adds, in grey levels for a coefficient of 1: (3, 3).

    `root`: eigenvector times the standard deviation along it, as the 2012 code did; `eigenvalue`: times the variance,
    as the paper says. The variance has a unit: the text makes sense for pixels in 0..1 only, which is how it is read
    here.
    """
    if reading == "root":
        return eigenvectors * eigenvalues.clamp(min=0).sqrt()
    if reading == "eigenvalue":
        return eigenvectors * (eigenvalues / 255)
    raise ValueError(f"colour reading {reading!r}: expected 'eigenvalue' or 'root'")


def colour_noise(n: int, axes, std: float, generator: torch.Generator):
    """One RGB shift a picture, (n, 3): coefficients drawn from N(0, std) along the principal components."""
    coefficients = torch.randn(n, 3, generator=generator) * std
    return coefficients.to(axes) @ axes.T


def to_input(pixels, mean, shift=None, divide: float = 1.0):
    """Pixels (N, s, s, 3) minus the mean (s, s, 3), plus a shift (N, 3): float32 (N, 3, s, s), channels-last."""
    n, side = pixels.shape[:2]
    x = torch.empty(pixels.shape, device=pixels.device)
    ground = mean.reshape(side, 3 * side)  # as rows, because a last dimension of 3 is slow
    for i in range(0, n, step := n if pixels.is_cuda else max(CACHED // x[0].numel(), 1)):
        part = x[i : i + step].copy_(pixels[i : i + step]).view(-1, side, 3 * side)
        part.sub_(ground if shift is None else ground - shift[i : i + step].repeat(1, side)[:, None])
        if divide != 1:
            part.mul_(1 / divide)
    return x.permute(0, 3, 1, 2)


def training_input(
    pixels,
    mean,
    axes,
    size: int,
    augment: Augment,
    generator: torch.Generator,
    colour: bool = True,
    n: int | None = None,
    mine: slice = ALL,
):
    """A training batch: random crop and flip, minus the mean, colour noise while it is on.

    Args:
        pixels: uint8 (N, S, S, 3); mean: float32 (S, S, 3); axes: (3, 3) from `colour_axes`.
        colour: False after `augment.colour_end`, when the division ends too.
        n, mine: where the pixels are a part of a batch of n, which part: they get what the whole batch would draw.
    """
    on = colour and augment.colour != "none"
    windows = random_crop_flip(pixels, size, augment, generator, n, mine)
    shift = colour_noise(n or len(pixels), axes, augment.colour_std, generator)[mine] if on else None
    return to_input(windows, centre_crop(mean, size), shift, augment.divide if on else 1.0)
