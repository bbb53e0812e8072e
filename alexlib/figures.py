"""Figures from rows, DataFrames and arrays, one function for each; nothing is trained or loaded."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy import stats

from alexlib import fonts

# Colours that colour-blind readers can tell apart (Okabe and Ito); a name always has the same one.
BLACK, GREY, PALE, BLUE, RED = "#000000", "#7a7a7a", "#c8c8c8", "#0072b2", "#d55e00"
GREEN, PURPLE, ORANGE, SKY = "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
COLOURS = {"relu": BLACK, "tanh": BLUE, "paper": BLUE, "source2012": RED, "chance": GREY}
COLOURS |= {"baseline": BLACK, "no-lrn": BLUE, "no-dropout": RED, "no-crops-flips": GREEN}
COLOURS |= {"tower 1": BLUE, "tower 2": RED, "features": RED, "pixels": BLUE}
COLOURS |= {"grating": BLACK, "blob": RED}
OTHERS, DASHES = (ORANGE, SKY, PURPLE, GREEN, GREY), ("-", ":", "--", "-.")

# The style of all figures, including those that notebooks draw themselves.
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
STYLE |= {"font.size": 9.5, "axes.titlesize": 10.5, "legend.frameon": False, "figure.dpi": 100}
STYLE |= {"figure.constrained_layout.use": True, "font.family": fonts.FAMILY}
plt.rcParams.update(STYLE)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """A figure (size in inches) and its axes; shown only where a cell ends in the figure."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)
    return figure, axes


def styles(names) -> dict[str, dict]:
    """Line style for each name: "a, b" has the colour of "a" and the dashes of any other "b"."""
    found, colours, dashes = {}, dict(COLOURS), {}
    for name in names:
        what, _, which = name.partition(", ")
        colour = colours.setdefault(what, OTHERS[(len(colours) - len(COLOURS)) % len(OTHERS)])
        dash = dashes.setdefault(which, DASHES[len(dashes) % len(DASHES)])
        found[name] = {"color": colour, "ls": dash, "label": name}
    return found


PANELS = {"plain_top1": "Training error, eval mode", "val_top1": "Held-out error"}


def learning_curves(histories: dict, chance: float, panels: dict = PANELS, target=None):
    """Errors against epochs: the runs of each name (thin) and their mean (thick).

    `histories` are {name: [history of a run, ...]}, `panels` {field of an epoch: title}; `chance`
    and `target` are errors in 0..1. Dotted lines: where the first run's learning rate is lowered.
    Figure 1 of the paper has `panels={"train_top1": "Training error"}, target=0.25`.
    """
    figure, axes = new_figure(4.5 * len(panels), 3.4, 1, len(panels), sharey=True, squeeze=False)
    first = next(iter(histories.values()))[0]
    drops = [one["epoch"] for one, after in pairwise(first) if after["lr"] != one["lr"]]
    for axis, (key, title) in zip(axes[0], panels.items(), strict=True):
        for name, style in styles(histories).items():
            runs = [[chance, *(epoch.get(key) for epoch in run)] for run in histories[name]]
            for run in runs:
                axis.plot(100 * np.array(run, float), color=style["color"], lw=0.5, alpha=0.5)
            shared = np.array([run[: min(map(len, runs))] for run in runs], float)
            style["label"] += f", n = {len(runs)}"
            axis.plot(100 * shared.mean(0), lw=1.8, **style)
        for drop in drops:
            axis.axvline(drop, color=GREY, lw=0.8, ls=":")
        if target is not None:
            axis.axhline(100 * target, color=GREY, lw=0.8, ls="--")
        axis.set(title=title, xlabel="epochs", ylim=0, xlim=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("top-1 error, %")
    axes[0, -1].legend()
    return figure


def signal_sizes(signals: dict):
    """Sizes of activations and gradients by layer; `signals`: {name: `features.signals`}."""
    figure, axes = new_figure(9, 3, 1, 2)
    for axis, column in zip(axes, ("output", "gradient"), strict=True):
        for name, style in styles(signals).items():
            axis.semilogy(signals[name][column], marker="o", ms=4, **style)
        axis.set_title(f"Standard deviation of a layer's {column}")
    axes[1].legend()
    return figure


MARKS = {
    "value": {"marker": "o", "color": RED, "label": "here, 95 % interval"},
    "low": {"marker": "", "color": RED, "alpha": 0.5},
    "high": {"marker": "", "color": RED, "alpha": 0.5},
    "paper": {"marker": "|", "color": BLUE, "ms": 15, "mew": 2, "label": "paper"},
    "log": {"marker": "^", "color": BLUE, "label": "2012 log"},
    "later": {"marker": "x", "color": GREY, "mew": 1.5, "label": "later studies"},
}


def forest(effects: list[dict], title: str = ""):
    """Effects with 95 % intervals, one in a row, beside the paper, the 2012 log and later studies.

    `effects` are dicts with name, value, low, high, unit, n (runs of each arm), and where known
    paper, log (numbers), later (several numbers). Arrows point to numbers far beyond the others. An
    infinite interval is not drawn. A hollow marker means that an arm has only a single run.
    """
    numbers = [{key: _finite(row.get(key)) for key in MARKS} for row in effects]
    left, right = _limits([np.concatenate(list(row.values())) for row in numbers])
    figure, axis = new_figure(9, 0.29 * len(effects) + 1.6)
    for y, (row, known) in enumerate(zip(effects, numbers, strict=True)):
        if len(ends := [*known["low"], *known["high"]]) == 2:
            axis.plot(ends, [y, y], color=RED, lw=4, alpha=0.35, solid_capstyle="butt")
        for key, value in ((key, value) for key, values in known.items() for value in values):
            style = MARKS[key] | {"label": None}
            if key == "value" and min(row["n"]) < 2:
                style["mfc"] = "white"
            if not left <= value <= right:
                style |= {"marker": "<" if value < left else ">", "ms": 8, "clip_on": False}
            axis.plot(np.clip(value, left, right), y, **style)
        said = f"{row['value']:+z.1f} {row['unit']}, n = {' + '.join(map(str, row['n']))}"
        axis.text(1.02, y, said, transform=axis.get_yaxis_transform(), va="center", fontsize=9.5)
    axis.axvline(0, color=BLACK, lw=0.8)
    axis.tick_params(axis="y", pad=9)
    axis.set_yticks(range(len(effects)), [row["name"] for row in effects])
    axis.set(title=title, xlim=(left, right), ylim=(len(effects) - 0.4, -0.6))
    units = dict.fromkeys(row["unit"] for row in effects)
    axis.set_xlabel(", ".join({"pp": "percentage points"}.get(unit, unit) for unit in units))
    for key in (key for key in MARKS if any(known[key].size for known in numbers)):
        axis.plot([], [], ls="", **MARKS[key])
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _finite(values) -> np.ndarray:
    values = np.ravel(values).astype(float)  # None becomes NaN
    return values[np.isfinite(values)]


def _limits(rows: list[np.ndarray]) -> tuple[float, float]:
    """Ends of an axis, without values beyond three times the third quartile of the rows' ends."""
    limit = 3 * np.quantile([abs(row).max() for row in rows], 0.75, method="lower")
    kept = np.concatenate([[0.0], *rows])
    kept = kept[abs(kept) <= limit]
    margin = 0.05 * np.ptp(kept) or 1.0
    return kept.min() - margin, kept.max() + margin


def kernels(weights, towers: int = 2, kinds=None, columns: int = 16):
    """First-layer kernels (K, 3, h, w), each scaled to its own range, by tower (Figure 3).

    With `kinds` (K,), from `features.kinds`, gratings and blobs are framed.
    """
    from torchvision.utils import make_grid  # takes two seconds

    side, parts = weights.shape[-1] + 1, np.arange(len(weights)).reshape(towers, -1)
    rows = towers * len(range(0, parts.shape[1], columns))
    figure, axes = new_figure(8, 0.5 * (rows + towers), towers, squeeze=False)
    for tower, (part, axis) in enumerate(zip(parts, axes[:, 0], strict=True), 1):
        tiles = weights[part].detach().float().cpu()
        grid = make_grid(tiles, columns, 1, normalize=True, scale_each=True, pad_value=1)
        axis.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
        for place, kernel in enumerate(part):
            if kinds is not None and kinds[kernel] != "neither":
                corner = side * (place % columns), side * (place // columns)
                style = {"ec": COLOURS[kinds[kernel]], "lw": 2, "fill": False}
                axis.add_patch(Rectangle(corner, side, side, **style))
        name = f"tower {tower}" if towers > 1 else "one tower"
        axis.set_title(f"{len(part)} kernels, {name}", color=COLOURS.get(name, BLACK))
        axis.axis("off")
    return figure


def predictions(pixels, labels, probabilities, classes, show_images: bool = True):
    """Images (N, S, S, 3) with their five most probable classes, the true one green (Figure 4).

    `probabilities` are (N, classes). Images can be left out of published reports.
    """
    n, classes = len(labels), fonts.drawable(classes)
    figure, axes = new_figure(1.75 * n, 3.2, 2, n, squeeze=False, height_ratios=(3, 2))
    for i, (image, bars) in enumerate(axes.T):
        image.imshow(pixels[i] if show_images else np.full((4, 4, 3), 0.93))
        image.set_title(classes[labels[i]], fontsize=8, loc="center")
        image.axis("off")
        values = np.asarray(probabilities[i], np.float32)
        best = np.argsort(-values, kind="stable")[:5][::-1]
        fill = [GREEN if label == labels[i] else PALE for label in best]
        bars.barh(range(len(best)), values[best], color=fill)
        for place, label in enumerate(best):
            bars.text(0.03, place, classes[label], va="center", fontsize=7)
        bars.set(xlim=(0, 1), xticks=[], yticks=[])
    return figure


def image_rows(pixels, labels, classes, wanted=None, heads=(), boxes=None, show_images=True):
    """Rows of images with their classes: neighbours (Figure 4), or what activates some units most.

    Args:
        pixels: uint8 (R, C, S, S, 3); labels: (R, C).
        wanted: (R,): images of this class have a thick green frame, others a thin grey one.
        heads: {column: text above it}.
        boxes: (R, C, 4): left, top, right and bottom pixel of a white frame in each image.
    """
    (rows, columns, side), classes = pixels.shape[:3], fonts.drawable(classes)
    figure, axes = new_figure(columns, 1.2 * rows + 0.3, rows, columns, squeeze=False)
    for (i, j), axis in np.ndenumerate(axes):
        axis.imshow(pixels[i, j] if show_images else np.full((side, side, 3), 0.96))
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel(classes[labels[i, j]], fontsize=7)
        same = wanted is not None and labels[i, j] == wanted[i]
        axis.spines[:].set(visible=wanted is not None, color=GREEN if same else PALE)
        axis.spines[:].set_linewidth(3 if same else 1)
        if boxes is not None and show_images:
            left, top, right, bottom = boxes[i, j].tolist()
            corner, size = (left - 0.5, top - 0.5), (right - left + 1, bottom - top + 1)
            axis.add_patch(Rectangle(corner, *size, fill=False, ec="white", lw=1.2))
    for column, text in dict(heads).items():
        axes[0, column].set_title(text, fontsize=9)
    return figure


def precision_curves(x, shares: dict, levels: dict, xlabel: str, title: str = ""):
    """Precision against the number of neighbours or of bits: mean, 95 % interval over queries.

    `shares` are {name: (Q, len(x))}; `levels`, {name: precision}, are drawn as horizontal lines.
    """
    figure, axis = new_figure(7.5, 3.4)
    for name, style in styles([*shares, *levels]).items():
        if name in levels:
            axis.axhline(levels[name], lw=0.8, **style)
            continue
        mean, half = np.mean(shares[name], 0), 1.96 * stats.sem(shares[name])
        axis.plot(x, mean, marker="o", ms=3, **style)
        axis.fill_between(x, mean - half, mean + half, color=style["color"], alpha=0.15, lw=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(x, [str(value) for value in x])
    axis.set(title=title, xlabel=xlabel, ylabel="share of the query's class", ylim=(0, 1))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
