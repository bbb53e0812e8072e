"""Figures of pictures: what a set is like, what happens to a picture on its way to the net. Nothing is trained here."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw

from alexold import augment, paper
from alexold.pictures import square, to_rgb
from alexold.plots import HELD_OUT, PAPER_LINE, TRAIN, new_figure

CHANNELS = {"red": "#c43c2c", "green": "#2f8f4e", "blue": "#2c62b5"}


def class_balance(sets: dict, few: int = 20):
    """Pictures of each class in each set, {name: Images}: bars by name of up to `few` classes, else sorted counts."""
    figure, axis = new_figure(8, 2.8)
    for i, (name, images) in enumerate(sets.items()):
        counts = np.bincount(images.labels, minlength=len(images.classes))
        colour = (PAPER_LINE, HELD_OUT)[i % 2]
        if len(counts) <= few:
            axis.bar(np.arange(len(counts)) + 0.4 * i - 0.2, counts, 0.4, color=colour, label=name)
        else:
            axis.step(np.arange(1, len(counts) + 1), np.sort(counts)[::-1], where="mid", color=colour, label=name)
    if len(counts) <= few:
        axis.set_xticks(range(len(counts)), images.classes, rotation=25, ha="right", fontsize=8)
    else:
        axis.set_xlabel("classes, the largest first")
    first = np.bincount(next(iter(sets.values())).labels)
    span = f"{first.min():,} to {first.max():,}" if first.min() < first.max() else f"{first.min():,}"
    axis.set_title(f"{span} {next(iter(sets))} pictures in each class", loc="left")
    axis.set(ylabel="pictures")
    figure.legend(frameon=False, loc="outside right upper")
    return figure


def card(width: int, height: int) -> Image.Image:
    """A test card: a circle of the largest size in the middle, squares of equal size, an edge along the border."""
    image = Image.new("RGB", (width, height), "#f4efe4")
    draw = ImageDraw.Draw(image)
    step = min(width, height) // 8
    for x in range(width // 2 % step, width, step):
        draw.line((x, 0, x, height), fill="#c9c1b0")
    for y in range(height // 2 % step, height, step):
        draw.line((0, y, width, y), fill="#c9c1b0")
    radius, x, y = 0.42 * min(width, height), width / 2, height / 2
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=PAPER_LINE, width=max(step // 4, 1))
    draw.rectangle((0, 0, width - 1, height - 1), outline=HELD_OUT, width=max(step // 3, 1))
    return image


def squares(pictures: list[Image.Image], side: int = 256):
    """Pictures of different shapes, the square that is kept, and beside it what Caffe's squash makes of the whole."""
    n = len(pictures)
    figure, axes = new_figure(8, 2.6 * n, n, 3, squeeze=False)
    heads = ("as it is; framed: what is kept", f"short side {side}, centre crop", f"squashed to {side} x {side}")
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=9)
    for row, image in zip(axes, pictures, strict=True):
        short, long = min(image.size), max(image.size)
        corner = (image.width - short) / 2, (image.height - short) / 2
        row[0].add_patch(plt.Rectangle(corner, short, short, fill=False, ec=HELD_OUT, lw=2, ls="--"))
        facts = (f"{image.width} x {image.height}", f"{short / long:.0%} is kept", f"stretched by {long / short:.2f}")
        squashed = to_rgb(image).resize((side, side), Image.Resampling.BICUBIC)
        shown = (to_rgb(image), square(image, side), squashed)
        for axis, pixels, fact in zip(row, shown, facts, strict=True):
            axis.imshow(pixels)
            axis.set_xlabel(fact)
    _bare(axes.ravel())
    return figure


def mean_image(images, size: int = 224):
    """The mean image, the centre of it that is subtracted, and the mean of each channel from top to bottom."""
    figure, axes = new_figure(8, 3, 1, 2, width_ratios=(1, 1.6))
    side, low, high = images.side, images.mean.min(), images.mean.max()
    axes[0].imshow((images.mean - low) / (high - low))
    if side > size:
        first = (side - size) // 2
        axes[0].add_patch(plt.Rectangle((first, first), size, size, fill=False, ec="k", lw=1, ls="--"))
    _bare(axes[:1])
    axes[0].set(xlabel=f"grey levels {low:.0f} to {high:.0f}, spread to black and white")
    axes[0].set_title("Mean of the training pictures", loc="left")
    for (name, colour), profile in zip(CHANNELS.items(), images.mean.mean(1).T, strict=True):
        axes[1].plot(profile, np.arange(side), color=colour, label=name)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="mean grey level of a row of pixels", ylabel="row, from the top")
    axes[1].set_title("From top to bottom", loc="left")
    axes[1].legend(frameon=False)
    return figure


def channel_histograms(pixels, means):
    """How often each grey level occurs in pictures, uint8 (N, S, S, 3); the means of the set, and those of 2012."""
    figure, axis = new_figure(8, 2.6)
    for i, (name, colour) in enumerate(CHANNELS.items()):
        counts = np.bincount(pixels[..., i].ravel(), minlength=256)
        axis.plot(100 * counts / counts.sum(), color=colour, lw=1, label=name)
        axis.axvline(means[i], color=colour, lw=1.5)
        axis.axvline(paper.CHANNEL_MEANS[i], color=colour, lw=1, ls="--")
    axis.set(xlabel="grey level (lines: mean; dashed: ImageNet, 2012)", ylabel="% of pixels", xlim=(0, 255), ylim=0)
    axis.set_title(f"Grey levels in {len(pixels):,} pictures", loc="left")
    axis.legend(frameon=False)
    return figure


def colour_cloud(pixels, images, points: int = 4000, seed: int = 0):
    """Pixels in the plane of the first two principal components, with the standard deviations of all three.

    Args:
        pixels: uint8 (N, S, S, 3), some pictures of the set, of which random pixels are drawn.
    """
    figure, axes = new_figure(8, 3.4, 1, 2, width_ratios=(1.5, 1))
    rgb = pixels.reshape(-1, 3)
    rgb = rgb[np.random.default_rng(seed).integers(len(rgb), size=points)].astype(np.float64)
    stds, along = np.sqrt(images.eigenvalues), (rgb - images.mean.mean((0, 1))) @ images.eigenvectors
    axes[0].scatter(along[:, 2], along[:, 1], s=3, c=rgb / 255, linewidths=0)
    for axis, std in ((np.array([1, 0]), stds[2]), (np.array([0, 1]), stds[1])):
        axes[0].plot(*np.outer(axis, (-2 * std, 2 * std)), color="k", lw=1)
    axes[0].set(xlabel="along the largest component", ylabel="along the second", aspect="equal", facecolor="#dddddd")
    axes[0].set_title("Pixels, in grey levels from their mean; bars: 2 std", loc="left", fontsize=9)
    place = np.arange(3)
    kinds = {"this set": stds, "2012": np.array(paper.COLOUR_STDS), "copied": copied_stds()}
    for i, (name, values) in enumerate(kinds.items()):
        axes[1].bar(place + 0.28 * (i - 1), values[::-1], 0.28, color=(HELD_OUT, PAPER_LINE, TRAIN)[i], label=name)
    axes[1].set_xticks(place, ("largest", "second", "smallest"))
    axes[1].set(ylabel="standard deviation, grey levels")
    axes[1].set_title("Three sets of constants, in one unit", loc="left", fontsize=9)
    axes[1].legend(frameon=False)
    return figure


def copied_stds():
    """The standard deviations in grey levels, (3,), that the copied eigenvalues, variances on 0..1, amount to."""
    return 255 * np.sqrt(paper.COPIED_EIGENVALUES)


def crops(picture, size: int = 224, shown: int = 3, seed: int = 0):
    """The places that a window of `size` can have in a picture, uint8 (S, S, 3), and some windows, one mirrored."""
    places = picture.shape[0] - size + 1
    offsets = np.random.default_rng(seed).integers(places, size=(shown, 2))
    figure, axes = new_figure(8, 2.4, 1, shown + 1)
    axes[0].imshow(picture)
    axes[0].plot(*np.mgrid[:places, :places].reshape(2, -1), ".", ms=0.7, color="white", alpha=0.6)
    axes[0].set_xlabel(f"white: {places} x {places} places of a corner", fontsize=8)
    for i, (top, left) in enumerate(offsets):
        colour = (PAPER_LINE, HELD_OUT, TRAIN)[i % 3]
        axes[0].add_patch(plt.Rectangle((left, top), size, size, fill=False, ec=colour, lw=1.5))
        window = picture[top : top + size, left : left + size]
        axes[i + 1].imshow(window[:, ::-1] if i == shown - 1 else window)
        axes[i + 1].set_xlabel(f"row {top}, column {left}" + ", mirrored" * (i == shown - 1), fontsize=8)
    _bare(axes)
    for i, axis in enumerate(axes[1:]):
        axis.spines[:].set(visible=True, edgecolor=(PAPER_LINE, HELD_OUT, TRAIN)[i % 3], linewidth=2)
    return figure


def place_counts(top, left, size: int, side: int):
    """How often each place was drawn: offsets (N,) of windows of `size` in pictures of `side`."""
    places = side - size + 1
    counts = np.bincount(np.asarray(top) * places + np.asarray(left), minlength=places**2).reshape(places, places)
    figure, axes = new_figure(8, 2.6, 1, 2)
    drawn = axes[0].imshow(counts, cmap="Greys", vmin=0)
    figure.colorbar(drawn, ax=axes[0], label="draws")
    axes[0].set(xlabel="column of the window", ylabel="row")
    values, how_many = np.unique(counts, return_counts=True)
    axes[1].bar(values, how_many, color=TRAIN, width=1)
    grid = np.arange(values.max() + 1)
    mean = counts.mean()
    log_factorials = np.concatenate([[0], np.cumsum(np.log(np.arange(1, len(grid))))])
    axes[1].plot(grid, places**2 * np.exp(grid * np.log(mean) - mean - log_factorials), color=HELD_OUT)
    axes[1].set(xlabel="draws of a place (line: Poisson)", ylabel="places")
    axes[0].set_title(f"{len(top):,} windows over {places**2:,} places", loc="left")
    return figure


def shifted(picture, shift):
    """A picture, uint8 (..., 3), with an RGB shift (3,), clipped to what a screen can show."""
    return (np.asarray(picture, np.float32) + np.asarray(shift, np.float32)).round().clip(0, 255).astype(np.uint8)


def colour_readings(picture, readings: dict, coefficients):
    """One picture with the same coefficients in several readings of the noise, a row each.

    Args:
        picture: uint8 (S, S, 3). readings: {name: axes (3, 3) of `augment.colour_axes`}.
        coefficients: (n, 3) of the smallest, second and largest component, before any standard deviation.
    """
    n = len(coefficients)
    figure, axes = new_figure(1.35 * n + 0.4, 1.6 * len(readings) + 0.3, len(readings), n, squeeze=False)
    for row, (name, matrix) in zip(axes, readings.items(), strict=True):
        row[0].set_ylabel(name, fontsize=8)
        for axis, alpha in zip(row, coefficients, strict=True):
            shift = np.asarray(matrix) @ np.asarray(alpha)
            axis.imshow(shifted(picture, shift))
            axis.set_xlabel(_rgb(shift), fontsize=7)
    for axis, alpha in zip(axes[0], coefficients, strict=True):
        axis.set_title("{:.2f}, {:.2f}, {:.2f}".format(*alpha), fontsize=7)
    _bare(axes.ravel())
    return figure


def ten_views(picture, size: int = 224):
    """The ten views of a picture, uint8 (S, S, 3), and where they lie."""
    views = list(augment.views(torch.as_tensor(picture)[None], size, "ten"))
    names = ("top left", "top right", "bottom left", "bottom right", "centre")
    figure, axes = new_figure(8, 2.8, 2, 6)
    far = picture.shape[0] - size
    axes[0, 0].imshow(picture)
    for r, c in (*augment.CORNERS, (0.5, 0.5)):
        axes[0, 0].add_patch(plt.Rectangle((far * c, far * r), size, size, fill=False, ec="white", lw=1))
    axes[1, 0].set_visible(False)
    for i, (axis, view) in enumerate(zip(axes[:, 1:].ravel(), views, strict=True)):
        axis.imshow(view[0].numpy())
        axis.set_xlabel(f"{i + 1}: {names[i % 5]}" + ", mirrored" * (i > 4), fontsize=7)
    _bare(axes.ravel())
    return figure


def one_window(picture, top: int, left: int, mirrored: bool, shift, size: int = 224):
    """A picture and what the net is shown of it: one window, mirrored or not, with an RGB shift (3,)."""
    figure, axes = new_figure(6, 3, 1, 2)
    axes[0].imshow(picture)
    axes[0].add_patch(plt.Rectangle((left, top), size, size, fill=False, ec=HELD_OUT, lw=2))
    window = picture[top : top + size, left : left + size]
    axes[1].imshow(shifted(window[:, ::-1] if mirrored else window, shift))
    axes[1].set_xlabel(_rgb(shift), fontsize=8)
    _bare(axes)
    return figure


def png(figure) -> bytes:
    """A figure as a PNG file, for `ipywidgets.Image`: outputs caught by a widget can hang papermill (nbclient 0.11)."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _rgb(shift) -> str:
    """A shift in whole grey levels, zero without a sign."""
    return "R {:+d}, G {:+d}, B {:+d}".format(*(round(float(value)) for value in shift))


def _bare(axes) -> None:
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
