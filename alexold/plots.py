"""Figures from plain rows and arrays. Each function returns one figure; nothing is trained or loaded here."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

from alexold.layers import ACTIVATION_LAYERS
from alexold.race import reached

TRAIN, HELD_OUT, PAPER_LINE = "#7a7a7a", "#c4420f", "#1f5fa8"
TOWERS = ("#1f5fa8", "#c4420f")
UNITS = {"relu": "k", "tanh": "#1f5fa8"}  # Figure 1 draws ReLUs solid, tanh units dashed
READINGS = {"paper": "#1f5fa8", "source2012": "#c4420f"}
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9.5}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs):
    """A figure with its axes that only shows where a cell ends in it."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", dpi=100, **kwargs)
    plt.close(figure)
    return figure, axes


def contact_sheet(images, columns: int = 10, rows: int = 3):
    """Some pictures of each class, one class a column (the first `columns` classes)."""
    shown = min(columns, len(images.classes))
    figure, axes = new_figure(1.1 * shown, 1.1 * rows + 0.3, rows, shown, squeeze=False)
    for label in range(shown):
        members = np.flatnonzero(images.labels == label)[:rows]
        for axis in axes[:, label]:
            axis.axis("off")
        for axis, pixels in zip(axes[:, label], images.gather(members), strict=False):
            axis.imshow(pixels)
        axes[0, label].set_title(images.classes[label], fontsize=8)
    return figure


def signal_sizes(signals: dict[str, list[dict]], styles: dict[str, dict] | None = None):
    """Sizes of activations and gradients by layer, one line a net: {name: rows of `diagnostics.signals`}.

    `styles` are matplotlib's, by name; the two readings have theirs.
    """
    figure, axes = new_figure(9, 3, 1, 2)
    for (key, title), axis in zip(
        (
            ("output", "What arrives: outputs before the non-linearity"),
            ("gradient", "What comes back: gradient of the loss"),
        ),
        axes,
        strict=True,
    ):
        for name, rows in signals.items():
            sizes = [r[key] for r in rows]
            style = {"color": READINGS.get(name), **(styles or {}).get(name, {})}
            axis.semilogy([r["layer"] for r in rows], sizes, marker="o", label=name, **style)
        axis.set_title(title, loc="left")
        axis.set_ylabel("standard deviation over units")
    axes[1].legend(frameon=False)
    return figure


def learning_curves(history: list[dict], chance: float):
    """Error and loss against epochs; the learning rate's drops as dotted lines."""
    figure, axes = new_figure(9, 3.3, 1, 2)
    epochs = [row["epoch"] for row in history]
    for axis, key, factor in ((axes[0], "top1", 100), (axes[1], "loss", 1)):
        for part, colour, name in (("train", TRAIN, "training, running"), ("val", HELD_OUT, "held out, centre view")):
            values = [row[f"{part}_{key}"] for row in history]
            if None not in values:
                axis.plot(epochs, [factor * v for v in values], "o-", ms=3, color=colour, label=name)
        for before, after in pairwise(history):
            if after["lr"] != before["lr"]:
                axis.axvline(before["epoch"] + 0.5, color="k", lw=0.8, ls=":")
        axis.set_xlabel("epochs (dotted: learning rate lowered)")
    axes[0].axhline(100 * chance, color="k", lw=0.8, ls="--")
    axes[0].annotate("chance", (epochs[-1], 100 * chance), (0, 3), textcoords="offset points", fontsize=8, ha="right")
    axes[0].set(ylabel="top-1 error, %", ylim=(0, None))
    last = history[-1]["train_top1"] if history[-1]["val_top1"] is None else history[-1]["val_top1"]
    axes[0].set_title(f"After {epochs[-1]} epochs the error is {100 * last:.1f} %", loc="left")
    axes[1].set(ylabel="cross-entropy, nats")
    axes[1].set_title("Loss", loc="left")
    axes[1].legend(frameon=False)
    return figure


def view_errors(errors: list[dict], gains: list[dict]):
    """Errors by views, and what ten views gain: rows of `findings.view_errors` and of `findings.view_gains`.

    Errors and gains in points; the bars are 95 % intervals over test pictures, the dashed lines the paper's gains.
    """
    figure, axes = new_figure(9, 2.4, 1, 2, width_ratios=(3, 2))
    for axis, rows in zip(axes, (errors, gains), strict=True):
        for i, row in enumerate(reversed(rows)):
            colour = HELD_OUT if row.get("views") == "ten" else PAPER_LINE if "paper" in row else TRAIN
            axis.plot([row["low"], row["high"]], [i, i], color=colour, lw=3, alpha=0.35)
            axis.plot(row["value"], i, "o", color=colour)
            label = (row["value"], i), (0, 6)
            axis.annotate(f"{row['value']:.1f}", *label, textcoords="offset points", ha="center")
            if "paper" in row:
                axis.plot([row["paper"]] * 2, [i - 0.4, i + 0.4], "k--", lw=1)
        axis.set(ylim=(-0.6, len(rows) - 0.2))
    axes[0].set_yticks(range(len(errors)), [f"{r['measure']}, {r['views']}" for r in reversed(errors)])
    axes[1].set_yticks(range(len(gains)), [r["measure"] for r in reversed(gains)])
    axes[1].axvline(0, color="k", lw=0.8)
    axes[0].set(xlabel="test error, %")
    axes[1].set(xlabel="centre minus ten, points (dashed: paper)")
    axes[0].set_title("One view and ten", loc="left")
    axes[1].set_title(f"Ten views gain {gains[0]['value']:.1f} points", loc="left")
    return figure


def kernels(weights, towers: int = 2, columns: int = 16):
    """First-layer kernels (K, 3, h, w), each scaled to its own range, tower by tower as in the paper's Figure 3."""
    low, high = weights.amin((1, 2, 3), True), weights.amax((1, 2, 3), True)
    tiles = ((weights - low) / (high - low + 1e-12)).permute(0, 2, 3, 1).numpy()
    groups = np.array_split(tiles, towers)
    rows = [-(-len(group) // columns) for group in groups]
    figure, axes = new_figure(8, 0.52 * sum(rows) + 0.5 * towers, towers, 1, squeeze=False, height_ratios=rows)
    for i, (group, axis) in enumerate(zip(groups, axes[:, 0], strict=True)):
        axis.imshow(_mosaic(group, columns), interpolation="nearest")
        axis.axis("off")
        title = f"{len(group)} kernels" + (f" of tower {i + 1}" if towers > 1 else "")
        axis.set_title(title, color=TOWERS[i], loc="left")
    return figure


def _mosaic(tiles, columns: int):
    """Tiles (K, h, w, 3) side by side with a white line between them."""
    n, height, width, _ = tiles.shape
    rows = -(-n // columns)
    sheet = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i, tile in enumerate(tiles):
        r, c = divmod(i, columns)
        sheet[r * (height + 1) : r * (height + 1) + height, c * (width + 1) : c * (width + 1) + width] = tile
    return sheet


def predictions(pixels, labels, probabilities, classes, show_pictures: bool = True):
    """Pictures (N, S, S, 3) with their five most probable classes, the true one in colour (Figure 4, left)."""
    n = len(labels)
    figure, axes = new_figure(1.75 * n, 3.2, 2, n, squeeze=False, height_ratios=(3, 2))
    for i in range(n):
        axes[0, i].axis("off")
        axes[0, i].imshow(pixels[i] if show_pictures else np.full((4, 4, 3), 0.93))
        axes[0, i].set_title(classes[labels[i]], fontsize=8)
        best = np.argsort(-probabilities[i].astype(np.float32), kind="stable")[:5][::-1]
        colours = [HELD_OUT if c == labels[i] else "#b9c6d6" for c in best]
        axes[1, i].barh(range(len(best)), probabilities[i][best].astype(np.float32), color=colours)
        for k, c in enumerate(best):
            axes[1, i].text(0.03, k, classes[c], va="center", fontsize=7)
        axes[1, i].set(xlim=(0, 1), xticks=[], yticks=[])
    return figure


def activation_functions(names: list[str]):
    """Non-linearities and their gradients, side by side."""
    figure, axes = new_figure(8, 2.6, 1, 2)
    x = torch.linspace(-4, 4, 401, requires_grad=True)
    for name in names:
        y = ACTIVATION_LAYERS[name]()(x)
        gradient = torch.autograd.grad(y.sum(), x)[0]
        for axis, values in zip(axes, (y.detach(), gradient), strict=True):
            axis.plot(x.detach().numpy(), values.numpy(), color=UNITS.get(name), label=name)
    for axis, title in zip(axes, ("What a unit puts out", "Its gradient"), strict=True):
        axis.set(xlabel="input of the unit", ylim=(-1.8, 2))
        axis.set_title(title, loc="left")
    axes[0].legend(frameon=False)
    return figure


def rate_search(searches: dict[str, dict[float, list[dict]]], target: float, chance: float):
    """What each learning rate comes to, a line a net: epochs to the target, error at the end: {name: {rate: history}}.

    A run that does not reach the target is a ring on top; one that diverged has no error at its end.
    """
    figure, axes = new_figure(9, 3, 1, 2)
    longest = max(len(history) for found in searches.values() for history in found.values())
    for i, (name, found) in enumerate(searches.items()):
        rates, colour = sorted(found), UNITS.get(name, f"C{i}")
        epochs = np.array([reached(found[rate], target, chance) for rate in rates])
        last = [found[rate][-1]["train_top1"] if found[rate] else np.nan for rate in rates]
        ring = {"marker": "o", "ls": "", "mfc": "none", "color": colour}
        axes[0].plot(rates, np.where(np.isfinite(epochs), epochs, np.nan), "o-", color=colour, label=name)
        axes[0].plot(rates, np.where(np.isfinite(epochs), np.nan, longest * (1.1 + 0.08 * i)), **ring)
        axes[1].plot(rates, last, "o-", color=colour, label=name)
    for axis in axes:
        axis.set(xscale="log", xlabel="learning rate")
    axes[0].set(ylabel=f"epochs to {target:.0%} training error", ylim=(0, longest * (1.15 + 0.08 * len(searches))))
    axes[0].set_title("One run at each rate (ring: not reached)", loc="left")
    axes[1].axhline(target, color="k", lw=0.8, ls=":")
    axes[1].set(ylim=0)
    axes[1].set_title("Training error where it ends", loc="left")
    axes[1].legend(frameon=False)
    return figure


def figure1(runs: dict[str, list[dict]], target: float, chance: float):
    """The paper's Figure 1: training error against epochs, all runs, mean and 95 % band (from 3): {name: rows}.

    The title says where the images are from.
    """
    figure, axis = new_figure(6.5, 4)
    arrivals = []
    for name, rows in runs.items():
        curves = [[chance, *(h["train_top1"] for h in row["history"])] for row in rows]
        shared = min(map(len, curves))
        for curve in curves:  # a run ends where it meets the target
            axis.plot(range(len(curve)), curve, color=UNITS.get(name), lw=0.5, alpha=0.4)
        errors = np.array([curve[:shared] for curve in curves])
        mean, style = errors.mean(0), "-" if name == "relu" else "--"
        axis.plot(range(shared), mean, style, color=UNITS.get(name), label=f"{name}, n = {len(rows)}")
        if len(rows) > 2:  # Student's interval over two runs says nothing
            half = stats.t.ppf(0.975, len(rows) - 1) * stats.sem(errors)
            axis.fill_between(range(shared), mean - half, mean + half, color=UNITS.get(name), alpha=0.15, lw=0)
        epochs = np.mean([reached(row["history"], target, chance) for row in rows])
        arrivals.append(f"{name} {epochs:.1f}" if np.isfinite(epochs) else f"{name} not always")
    axis.axhline(target, color="k", lw=0.8, ls=":")
    origins = dict.fromkeys(row["data"]["origin"].split(";")[0] for rows in runs.values() for row in rows)
    title = f"{', '.join(origins)}\nEpochs to {target:.0%} training error: {', '.join(arrivals)}"
    axis.set_title(title, loc="left")
    axis.set(xlabel="epochs", ylabel="training error", ylim=(0, 1), xlim=0)
    axis.legend(frameon=False)
    return figure


def ratio_by_target(rows: list[dict], slow: str, fast: str):
    """How the ratio of Figure 1 depends on the target error: rows of `race.by_target`; bars are 95 % intervals.

    A triangle points to where the ratio is if some runs did not reach the target, and the bar has the other end of the
    interval; without a ratio there is no mark.
    """
    figure, axis = new_figure(6.5, 3)
    for row in (row for row in rows if row["bound"] != "unknown"):
        x, marker = 100 * row["target"], {"at least": "^", "at most": "v"}.get(row["bound"], "o")
        ends = {"at least": ("low", "value"), "at most": ("value", "high")}.get(row["bound"], ("low", "high"))
        if min(row["n"]) > 1:
            axis.plot([x, x], [row[end] for end in ends], color=PAPER_LINE, lw=3, alpha=0.35)
        axis.plot(x, row["value"], marker, color=PAPER_LINE)
        axis.annotate(f"{row['value']:.1f}", (x, row["value"]), (6, 4), textcoords="offset points", fontsize=8)
    most = max((row["value"] for row in rows if row["bound"] != "unknown"), default=1.0)
    axis.axhline(1, color="k", lw=0.8, ls="--")
    targets = [100 * row["target"] for row in rows]
    axis.set(xlabel="target: training error, %", ylabel=f"epochs, {slow} / {fast}", xticks=targets)
    axis.set(xlim=(max(targets) + 2, min(targets) - 2), ylim=(0, 1.4 * max(most, 1)))
    runs = f"n = {rows[0]['n'][0]} ({slow}) and {rows[0]['n'][1]} ({fast}) runs"
    axis.set_title(f"The ratio depends on the target; {runs}", loc="left")
    return figure
