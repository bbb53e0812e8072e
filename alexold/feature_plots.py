"""Figures of what a net has learned: its kernels, neighbours of pictures, short codes, what excites its units."""

import numpy as np
from matplotlib.patches import Rectangle

from alexold import plots
from alexold.features import KINDS
from alexold.plots import HELD_OUT, PAPER_LINE, TOWERS, TRAIN, new_figure
from alexold.stats import paired

SAME, OTHER = "#2f8f4e", "#b9b9b9"  # frames: of the wanted class, or not
FRAMES = {"grating": "k", "blob": "#d62728"}  # of first-layer kernels that count


def kernels(weights, kinds, towers: int = 2):
    """First-layer kernels, tower by tower as in the paper's Figure 3; those that count come first, in frames.

    Args:
        weights: (K, 3, 11, 11). kinds: (K,), of `features.kinds`.
    """
    parts = [sorted(part, key=lambda i: KINDS.index(kinds[i])) for part in np.array_split(range(len(kinds)), towers)]
    figure = plots.kernels(weights[np.concatenate(parts)], towers)
    figure.set_figheight(figure.get_figheight() + 0.3)
    figure.suptitle(f"Learned first-layer filters: {counted(kinds)}", x=0.01, ha="left", size=10.5)
    for tower, (part, axis) in enumerate(zip(parts, figure.axes, strict=True), 1):
        axis.set_title(
            f"Tower {tower}: {counted(kinds[part])}" if towers > 1 else "", color=TOWERS[tower - 1], loc="left"
        )
        for place, kind in enumerate(kinds[part]):
            if colour := FRAMES.get(kind):
                corner = (12 * (place % 16) - 1, 12 * (place // 16) - 1)
                axis.add_patch(Rectangle(corner, 12, 12, fill=False, ec=colour, lw=2, clip_on=False))
    return figure


def counted(kinds) -> str:
    """How many filters are of each kind, in words."""
    gratings, blobs = ((kinds == kind).sum() for kind in KINDS[:2])
    return f"{gratings} gratings (black) and {blobs} colour blobs (red) of {len(kinds)}"


def kernel_energy(energy, noise, kinds):
    """The two shares of energy that decide each first-layer kernel's kind, beside those of white noise.

    Args:
        energy, noise: (2, K) and (2, n), of `features.kernel_energy`. kinds: (K,), of `features.kinds`.
    """
    figure, axis = new_figure(7, 3.2)
    axis.plot(*noise, ".", ms=2, color="0.8", label="white noise", zorder=0)
    for kind in KINDS:
        axis.plot(*energy[:, kinds == kind], "o", ms=5, mec="white", mew=0.5, color=FRAMES.get(kind, "0.5"), label=kind)
    axis.plot([0.5, 0.5, 0.5, 0], [0, 1, 0.5, 0.5], "k--", lw=0.8)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of energy at one frequency and orientation")
    axis.set_ylabel("share of energy off the\ngrey axis, low frequency")
    _titled(axis, f"First-layer filters: {counted(kinds)}")
    return figure


def neighbours(queries, query_labels, found: dict, classes, show_pictures: bool = True):
    """Pictures with their nearest ones, a row each (Figure 4, right); green frames: of the picture's class.

    Args:
        queries: uint8 (Q, S, S, 3). query_labels: (Q,).
        found: {name of a distance: (pictures, uint8 (Q, k, S, S, 3), labels (Q, k))}, a block of columns for each.
        show_pictures: False draws the names of the classes alone.
    """
    n, k = next(iter(found.values()))[1].shape
    figure, axes = _tiles(n, [1.0] + [0.3, *[1.0] * k] * len(found))
    for i, row in enumerate(axes):
        _tile(row[0], queries[i], classes[query_labels[i]], "k", show_pictures)
        for block, (pictures, labels) in enumerate(found.values()):
            for axis, picture, label in zip(row[2 + block * (k + 1) :], pictures[i], labels[i], strict=False):
                _tile(axis, picture, classes[label], SAME if label == query_labels[i] else OTHER, show_pictures)
    _head(axes[0, 0], "test picture")
    for block, (name, (_, labels)) in enumerate(found.items()):
        same = int((labels == np.asarray(query_labels)[:, None]).sum())
        _head(axes[0, 2 + block * (k + 1)], f"nearest training pictures by {name}: {same} of {n * k} of its class")
    return figure


def exciting(pictures, labels, boxes, names, classes, show_pictures: bool = True):
    """The pictures that excite some units most, a row each; green frames: of the row's commonest class.

    Args:
        pictures, labels, boxes: of `features.exciting`. names: of the units.
    """
    n, k = labels.shape
    figure, axes = _tiles(n, [0.3] + [1.0] * k)
    commonest = [np.bincount(row).argmax() for row in labels]
    for i, row in enumerate(axes):
        row[0].text(0.5, 0.57, names[i], ha="center", va="center", rotation=90, size=8)
        for j, axis in enumerate(row[1:]):
            colour = SAME if labels[i, j] == commonest[i] else OTHER
            _tile(axis, pictures[i, j], classes[labels[i, j]], colour, show_pictures)
            if boxes is not None and show_pictures:
                _box(axis, boxes[i, j], pictures.shape[2])
    most = ", ".join(str((row == label).sum()) for row, label in zip(labels, commonest, strict=True))
    _head(axes[0, 1], f"pictures of one class (green), of {k}: {most}")
    return figure


def _tiles(rows: int, widths: list[float]):
    """A grid of square tiles, without axes, with room for a line above it."""
    height = 1.15 * rows + 0.3
    figure, axes = new_figure(0.98 * sum(widths), height, rows, len(widths), squeeze=False, width_ratios=widths)
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.02, wspace=0, hspace=0, rect=(0, 0, 1, 1 - 0.28 / height))
    for axis in axes.ravel():
        axis.axis("off")
        axis.set_anchor("N")
    return figure, axes


def _head(axis, text: str) -> None:
    """A line above a block of tiles, which may be longer than the first of them is wide."""
    axis.figure.text(0, 1.06, text, transform=axis.transAxes, size=9, va="bottom")  # of the axes, it would widen them


def _tile(axis, picture, name: str, colour, show_picture: bool) -> None:
    """A picture in a frame with its class below; or the name alone, on a tile."""
    side = picture.shape[0]
    if show_picture:
        axis.imshow(picture)
        axis.text(side / 2, 1.05 * side, name, ha="center", va="top", size=6.5)
    else:
        axis.imshow(np.full((1, 1, 3), 0.96), extent=(0, side, side, 0))
        axis.text(side / 2, side / 2, name.replace(" ", "\n"), ha="center", va="center", size=7.5)
    axis.add_patch(Rectangle((0, 0), side, side, fill=False, ec=colour, lw=3, clip_on=False))


def _box(axis, box, side: int) -> None:
    """The part of a box that lies in the picture."""
    left, top, size = box
    right, bottom = min(left + size, side), min(top + size, side)
    left, top = max(left, 0), max(top, 0)
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="white", lw=1.2))


def precision_curves(ks, shares: dict, chance: float, k: int = 6):
    """Precision against how many of the nearest count, {name: (Q, ks)}: mean and 95 % interval over queries."""
    figure, axis = new_figure(6.5, 3.2)
    for (name, values), colour in zip(shares.items(), (HELD_OUT, PAPER_LINE, TRAIN), strict=False):
        _curve(axis, ks, values, color=colour, label=name)
    axis.axhline(chance, color="k", lw=0.8, ls="--", label="chance")
    axis.set(ylim=(0, 1), xlabel="nearest training pictures", ylabel="share of the query's class")
    said = ", ".join(f"{values[:, list(ks).index(k)].mean():.2f} by {name}" for name, values in shares.items())
    _titled(axis, f"Of the query's class among the {k} nearest: {said}")
    return figure


def pixel_ranks(ranks):
    """Where the nearest by features stand by pixels: their ranks (Q, k), 0..1, as a distribution."""
    figure, axis = new_figure(6.5, 3)
    places = 100 * np.sort(ranks, axis=None)
    half = np.median(places)
    axis.plot(places, np.linspace(0, 1, len(places)), color=HELD_OUT, label="neighbours\nby features")
    axis.plot([0, 100], [0, 1], "k--", lw=0.8, label="pictures\nat random")
    axis.plot([half, half, 0], [0, 0.5, 0.5], color=HELD_OUT, lw=0.8, ls=":")
    axis.set(xlim=(0, 100), ylim=(0, 1), ylabel="share of neighbours")
    axis.set_xlabel("training pictures that are nearer by pixels, %")
    _titled(axis, f"The median neighbour by features: {half:.1f} % of the pictures are nearer by pixels")
    return figure


def code_curves(lengths, shares: dict, levels: dict, bits: int):
    """Precision against the length of codes, {(what, axes): (Q, lengths)}; {name: precision} without codes as lines.

    A line has the colour of the curves of the same name; the first of a colour is dashed, others are dash-dotted.
    """
    figure, axis = new_figure(7.5, 3.6)
    colours = dict(zip(dict.fromkeys(what for what, _ in shares), (HELD_OUT, PAPER_LINE), strict=True))
    for (what, axes), values in shares.items():
        style = "-" if axes == "learned" else ":"
        _curve(axis, lengths, values, color=colours[what], ls=style, label=f"{what}, {axes} axes")
    for name, level in levels.items():
        colour, style = colours.get(name.partition(",")[0], "k"), "-." if "," in name else "--"
        label = name if colour == "k" else f"{name}, no codes"
        axis.axhline(level, color=colour, lw=0.8, ls=style, label=label)
    axis.set(ylim=(0, 1), xlabel="bits of a code", ylabel="share of the query's class\namong the six nearest")
    at = list(lengths).index(bits)
    said = ", ".join(f"{v[:, at].mean():.2f} from {what}" for (what, axes), v in shares.items() if axes == "learned")
    _titled(axis, f"{bits} bits, learned axes: {said}")
    return figure


def purity_by_layer(purities: dict, chance: float, k: int):
    """Of the k pictures that excite a unit most, the share of the commonest class: {layer: (units,)}."""
    figure, axis = new_figure(7, 3)
    for i, values in enumerate(purities.values()):
        low, high = np.quantile(values, (0.25, 0.75))
        bar = {"lw": 5, "alpha": 0.3, "solid_capstyle": "butt", "label": None if i else "middle half of units"}
        axis.plot([i, i], [low, high], color=HELD_OUT, **bar)
        axis.plot(i, values.mean(), "o", color=HELD_OUT, ms=5, label=None if i else "mean over units")
    axis.axhline(chance, color="k", lw=0.8, ls="--", label="pictures at random")
    axis.set_xticks(range(len(purities)), purities)
    axis.set(
        ylim=(0, 1.02), xlim=(-0.6, len(purities) - 0.4), ylabel=f"share of one class among\na unit's {k} pictures"
    )
    first, *_, last, _ = purities
    said = f"{purities[first].mean():.2f} in {first}, {purities[last].mean():.2f} in {last}"
    _titled(axis, f"Of one class among a unit's {k} strongest pictures: {said}")
    return figure


def _curve(axis, x, values, **style) -> None:
    """Means of (Q, n) at n places on a logarithmic axis, with their 95 % intervals over queries."""
    mean, low, high = np.transpose([paired(column, np.zeros(len(column))) for column in np.transpose(values)])
    axis.plot(x, mean, marker="o", ms=3, **style)
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(x, [str(value) for value in x])
    axis.minorticks_off()


def _titled(axis, title: str) -> None:
    """The title, and the legend beside the axes."""
    axis.set_title(title, loc="left", fontsize=10.5)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
