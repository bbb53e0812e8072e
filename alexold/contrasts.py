"""Figures of variants against a baseline: their curves, their effects, what LRN does to a picture's maps."""

import numpy as np

from alexold.plots import HELD_OUT, PAPER_LINE, TRAIN, new_figure


def variant_curves(rows: list[dict]):
    """Training and held-out error against epochs, a panel each, a colour a variant: mean over seeds, band of all.

    Rows from before training errors were measured in eval mode have the running one.

    ValueError: the runs held no pictures out.
    """
    if any(row["history"][-1]["val_top1"] is None for row in rows):
        raise ValueError("held-out curves need held-out pictures: give `validation` a share above 0")
    figure, axes = new_figure(9, 3.4, 1, 2, sharey=True)
    names = list(dict.fromkeys(row["variant"] for row in rows))
    plain = all(row["history"][-1].get("plain_top1") is not None for row in rows)
    training = ("plain_top1", "Training, eval mode") if plain else ("train_top1", "Training, running")
    for axis, key, title in ((axes[0], *training), (axes[1], "val_top1", "Held out")):
        for i, name in enumerate(names):
            curves = [[100 * h[key] for h in row["history"]] for row in rows if row["variant"] == name]
            curves = np.array([curve[: min(map(len, curves))] for curve in curves])
            epochs = np.arange(1, curves.shape[1] + 1)
            axis.plot(epochs, curves.mean(0), color=f"C{i}", label=name)
            axis.fill_between(epochs, curves.min(0), curves.max(0), color=f"C{i}", alpha=0.2, lw=0)
        axis.set(xlabel="epochs", ylim=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(title, loc="left")
    axes[0].set(ylabel="top-1 error, %")
    axes[1].legend(frameon=False)
    return figure


def forest(effects: list[dict], title: str):
    """Effects with their intervals, one a line: rows of name, value, low, high, n, paper (or None); log, later.

    An effect that rests on a single run in one of its arms is drawn hollow.
    """
    figure, axis = new_figure(8, 0.42 * len(effects) + 1.5)
    axis.set_title(title, loc="left")
    for i, row in enumerate(reversed(effects)):
        alone = min(row["n"]) < 2
        if np.isfinite(row["low"]):
            axis.plot([row["low"], row["high"]], [i, i], color=HELD_OUT, lw=3, alpha=0.35)
        axis.plot(row["value"], i, "o", color=HELD_OUT, mfc="white" if alone else HELD_OUT)
        if row["paper"] is not None:
            axis.plot([row["paper"]] * 2, [i - 0.35, i + 0.35], color=PAPER_LINE, ls="--")
        if row.get("log") is not None:
            axis.plot(row["log"], i, "^", color=PAPER_LINE, ms=5)
        for _, value in row.get("later", ()):
            axis.plot(value, i, "x", color=TRAIN, ms=6)
    axis.axvline(0, color="k", lw=0.8)
    axis.set_yticks(range(len(effects)), [row["name"] for row in reversed(effects)])
    marks = "dashed: paper; triangle: 2012 log; cross: later studies; hollow: a single run in an arm"
    axis.set(
        xlabel=f"percentage points, 95 % interval over seeds and test images\n({marks})",
        ylim=(-0.6, len(effects) - 0.4),
    )
    return figure


def normalised(before, after, towers: int = 1):
    """What LRN does: one position's maps before and after, and by how much values of all positions shrink.

    Args:
        before, after: (C, H, W) of one picture.
        towers: a sum ends at a tower's edge, drawn dotted.
    """
    figure, axes = new_figure(9, 3, 1, 2, width_ratios=(3, 2))
    y, x = divmod(int(before.abs().sum(0).argmax()), before.shape[2])
    for values, colour, name in ((before, TRAIN, "before"), (after, HELD_OUT, "after")):
        axes[0].bar(range(len(values)), values[:, y, x].tolist(), color=colour, label=name)
    for edge in range(1, towers):
        axes[0].axvline(edge * len(before) / towers - 0.5, color="k", lw=0.8, ls=":")
    axes[0].set(xlabel="map")
    axes[0].set_title(f"The strongest position, row {y + 1}, column {x + 1}", loc="left")
    axes[0].legend(frameon=False)
    seen = before.abs() > 1e-3 * before.abs().max()
    ratio = (after[seen] / before[seen]).numpy()
    axes[1].hist(ratio, 40, color=HELD_OUT)
    axes[1].set(xlabel="value after / value before", yticks=[])
    axes[1].set_title(f"Factors from {ratio.min():.2f} to {ratio.max():.2f}", loc="left")
    return figure
