"""A figure of the two towers, layer by layer, and of what crosses between their devices, after the paper's Figure 2."""

import math

from matplotlib.patches import FancyArrowPatch, Rectangle

from alexold.config import Net, Spec
from alexold.nets import ledger, trace
from alexold.plots import TOWERS, new_figure

UPPER, LOWER = 1.0, -1.0  # the height of a tower's middle line
STEP = 1.0  # from one layer to the next


def tower_figure(net: Net | Spec):
    """Each tower's layers with the shape of their output, and arrows with bytes a picture where activations cross.

    A box's height goes with the root of the side of the maps, its width with the root of their number; the boxes of
    pictures and of fully-connected layers have one height.

    Raises:
        ValueError: the net has one tower.
    """
    settings = net.net if isinstance(net, Spec) else net
    if settings.towers != 2:
        raise ValueError(f"a figure of two towers, but the net has towers={settings.towers}")
    rows = [row for row in trace(settings) if row["stage"].startswith(("conv", "pool", "fc"))]
    crossings = {row["layer"]: row for row in ledger(net)}
    figure, axis = new_figure(12, 4.15)
    ends = {tower: _pictures(axis, settings, y, crossings["pictures"]) for tower, y in enumerate((UPPER, LOWER))}
    for i, row in enumerate(rows, 1):
        name, x = row["stage"], i * STEP + 0.35
        axis.text(x, UPPER + 0.86, name, ha="center", weight="bold" if row["parameters"] else "normal")
        if name == "fc8":
            _scores(axis, x, row["output"][0], ends, crossings[name])
            break
        new = {tower: _box(axis, x, y, row["output"], TOWERS[tower]) for tower, y in enumerate((UPPER, LOWER))}
        for tower, y in enumerate((UPPER, LOWER)):
            _arrow(axis, (ends[tower], y), (new[tower][0], y), "0.6")
            if name in crossings:
                _arrow(axis, (ends[tower], y), (new[1 - tower][0], -y), TOWERS[tower], 1.6)
        if name in crossings:
            middle = (ends[0] + new[0][0]) / 2
            _note(axis, middle, f"{_size(crossings[name]['forward'] / 2)}\neach way")
        ends = {tower: right for tower, (_, right) in new.items()}
    activations = [row for row in crossings.values() if row["layer"] != "pictures"]
    there, back = (_size(sum(row[way] for row in activations)) for way in ("forward", "backward"))
    where = ", ".join(row["layer"] for row in activations)
    axis.set_title(f"Activations cross at {where}: {there} a picture, and {back} of gradients back", loc="left")
    axis.set(xlim=(-0.75, len(rows) * STEP + 0.95), ylim=(-1.85, 2.1), aspect="equal")
    axis.axis("off")
    return figure


def colour_figure(found: list[dict]):
    """The colour of each tower's kernels, a line a run: rows as of `findings.colours`."""
    figure, axis = new_figure(8, 0.3 * len(found) + 1.4)
    for i, row in enumerate(reversed(found)):
        ends = [row["tower 1"], row["tower 2"]]
        axis.plot(ends, [i, i], color="0.7", lw=1.5, zorder=1)
        for end, colour, name in zip(ends, TOWERS, ("tower 1", "tower 2"), strict=True):
            axis.scatter(end, i, color=colour, zorder=2, label=None if i else name)
    differ = sum(row["p"] < 0.05 for row in found)
    most = max((row["updates"] or 0 for row in found), default=0)
    title = f"The towers' colours differ (p < .05) in {differ} of {len(found)} runs of at most {most:,} updates"
    axis.set_title(f"{title} (paper: 840,000)" if most else title.partition(" of at most")[0], loc="left", fontsize=9)
    axis.set_yticks(range(len(found)), [row["run"] for row in reversed(found)])
    axis.set(
        xlabel="share of a kernel's energy off the grey axis, mean",
        xlim=(0, 1.1 * max(row[f"tower {i}"] for row in found for i in (1, 2))),
    )
    axis.legend(frameon=False)
    return figure


def _pictures(axis, net: Net, y: float, crossing: dict) -> float:
    """The pictures that a tower reads; returns the right end of their box."""
    _, right = _box(axis, 0, y, (3, net.input, net.input), "0.45", halves=1)
    if y < 0:
        _arrow(axis, (0, UPPER - 0.62), (0, LOWER + 0.62), "0.45", 1.6)
        _note(axis, 0, f"{_size(crossing['forward'])}\none copy")
    else:
        axis.text(0, UPPER + 0.86, "pictures", ha="center")
    return right


def _scores(axis, x: float, classes: int, ends: dict, crossing: dict) -> None:
    """fc8: each tower's share of the scores, added on the first device."""
    _box(axis, x, UPPER, (classes,), TOWERS[0], halves=1)
    left, _ = _box(axis, x, LOWER, (classes,), TOWERS[1], halves=1)
    for tower, y in enumerate((UPPER, LOWER)):
        _arrow(axis, (ends[tower], y), (left, y), "0.6")
    _arrow(axis, (x, LOWER + 0.62), (x, UPPER - 0.62), TOWERS[1], 1.6)
    _note(axis, x, f"{_size(crossing['forward'])}\nadded")


def _box(axis, x: float, y: float, output: tuple, colour, halves: int = 2) -> tuple[float, float]:
    """A tower's output with its shape, outside of the two rows; returns where the box begins and ends."""
    maps, side = output[0] // halves, output[1] if len(output) == 3 else 0
    width, height = (0.035 * math.sqrt(maps), 0.155 * math.sqrt(side)) if side else (0.12, 1.16)
    height = min(height, 1.16)
    axis.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color=colour, alpha=0.85, lw=0))
    shape = f"{side}×{side}×{maps}" if side else str(maps)
    axis.text(x, y + math.copysign(0.7, y), shape, ha="center", va="center", size=8, color=colour)
    return x - width / 2, x + width / 2


def _arrow(axis, start: tuple, end: tuple, colour, width: float = 1.0) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 2, "shrinkB": 1}
    axis.add_patch(FancyArrowPatch(start, end, color=colour, lw=width, **style))


def _note(axis, x: float, text: str) -> None:
    """Words on an arrow's middle."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(x, 0, text, ha="center", va="center", size=8, bbox=box)


def _size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1000:,.1f} kB" if count >= 1000 else f"{count:.0f} B"
