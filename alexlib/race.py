"""How soon runs reach a training error: epochs to a target, the best learning rate, a ratio of two groups of runs.

A run that ends above the target never reaches it: infinity, which is counted and never left out.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from alexlib.config import ACTIVATIONS, Spec, spec_from
from alexlib.data import Images
from alexlib.nets import build
from alexlib.progress import Progress
from alexlib.train import fit


def entries(activations: str, learning_rates: str, seeds: int) -> tuple[list[str], list[float], range]:
    """Who takes part, from a notebook's parameters: "relu,tanh", "0.001,0.01" and a number of runs.

    Returns names, rates and the seeds of the runs that count: 1, 2, ... Raises ValueError with what is expected.
    """
    names = [name.strip() for name in activations.split(",")]
    if len(set(names)) < max(2, len(names)) or not set(names) <= set(ACTIVATIONS):
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"activations {activations!r}: expected two or more different ones out of {known}")
    try:
        rates = sorted({float(rate) for rate in learning_rates.split(",")})
    except ValueError:
        rates = []
    if len(rates) < 2 or not 0 < rates[0] <= rates[-1] < math.inf:
        raise ValueError(f"learning_rates {learning_rates!r}: expected two or more numbers above 0, as in '0.001,0.01'")
    if type(seeds) is not int or seeds < 1:
        raise ValueError(f"seeds {seeds!r}: expected a whole number from 1")
    return names, rates, range(1, seeds + 1)


def reached(history: list[dict], target: float, chance: float, error: str = "train_top1") -> float:
    """Epochs until an error falls to `target`, between two epochs on a straight line.

    Args:
        history: rows of an epoch each, with the error (0..1).
        chance: the error before the first epoch.
        error: "train_top1" or "val_top1".
    """
    before = chance
    if before <= target:
        return 0.0
    for epoch, row in enumerate(history):
        if row[error] <= target:
            return epoch + (before - target) / (before - row[error])
        before = row[error]
    return math.inf


def best_rate(found: dict[float, list[dict]], target: float, chance: float) -> float:
    """The learning rate, out of {rate: history}, that reaches the target in the fewest epochs.

    If none reaches it, the one with the lowest training error at its end. The rule of notebook 02's search.
    """
    return min(found, key=lambda rate: (reached(found[rate], target, chance), _last(found[rate]), rate))


def _last(history: list[dict]) -> float:
    errors = [row["train_top1"] for row in history]
    return errors[-1] if errors else math.inf


def search(
    run: Callable[[list[float]], dict[float, list[dict]]],
    rates: list[float],
    target: float,
    chance: float,
    extensions: int = 3,
) -> tuple[float, dict[float, list[dict]]]:
    """The best rate of a grid, which is extended beyond an edge by its own step while the best one lies there.

    Args:
        run: gives {rate: history} for some rates.
        rates: two or more different ones above 0.
        extensions: how often, at most.

    Returns the rate and all histories.
    """
    found = run(sorted(rates))
    for _ in range(extensions):
        best, known = best_rate(found, target, chance), sorted(found)
        if best == known[0]:
            beyond = known[0] ** 2 / known[1]
        elif best == known[-1]:
            beyond = known[-1] ** 2 / known[-2]
        else:
            break
        found |= run([float(f"{beyond:.2g}")])
    return best_rate(found, target, chance), found


def ratio(slow: list[float], fast: list[float], seed: int = 0, draws: int = 10_000) -> tuple[float, float, float]:
    """Mean of `slow` over mean of `fast`, with its 95 % bootstrap interval over the runs of both: (ratio, low, high).

    A single run of either has no interval: its bounds are 0 and infinite.
    """
    slow, fast = np.asarray(slow, np.float64), np.asarray(fast, np.float64)
    if min(len(slow), len(fast)) < 2:
        return float(slow.mean() / fast.mean()), 0.0, math.inf
    rng = np.random.default_rng(seed)
    means = [group[rng.integers(len(group), size=(draws, len(group)))].mean(1) for group in (slow, fast)]
    drawn = np.sort(means[0] / means[1])
    low, high = drawn[int(0.025 * draws)], drawn[int(0.975 * draws)]
    return float(slow.mean() / fast.mean()), float(low), float(high)


def sooner(slow: list[dict], fast: list[dict], target: float, chance: float) -> dict:
    """How many times sooner the rows of `fast` reach the target than those of `slow`.

    Returns value, low, high (95 %), slow and fast (mean epochs), n (runs of each) and bound: what value is. A run that
    never reaches the target counts as one that does at the end of its last possible epoch, so that value is only
    "at least" (some slow ones did not reach it), "at most" (some fast ones), "unknown" (both); else "".
    """
    times, complete = [], []
    for rows in (slow, fast):
        epochs = [reached(row["history"], target, chance) for row in rows]
        limits = [row["config"]["train"]["epochs"] for row in rows]
        times.append(np.minimum(epochs, limits))
        complete.append(bool(np.isfinite(epochs).all()))
    value, low, high = ratio(*times)
    bound = {(True, True): "", (False, True): "at least", (True, False): "at most"}.get(tuple(complete), "unknown")
    means = {name: float(group.mean()) for name, group in zip(("slow", "fast"), times, strict=True)}
    return {"value": value, "low": low, "high": high, **means, "n": (len(slow), len(fast)), "bound": bound}


def at_best_rates(rows: list[dict], spec: Spec, chance: float) -> dict[tuple[str, str], list[dict]]:
    """Rows by (stack, activation): the runs at the best rate of seed 0, those of the other seeds where there are any.

    Only runs trained as `spec` is, but for the rate, count.
    """
    found = {}
    for name, group in _by_rate(rows, spec).items():
        searched = {rate: row["history"] for rate, runs in group.items() for row in runs if row["seed"] == 0}
        if searched:
            runs = group[best_rate(searched, spec.train.target, chance)]
            found[name] = [row for row in runs if row["seed"]] or runs
    return found


def rates_tried(rows: list[dict], spec: Spec) -> dict[tuple[str, str], list[float]]:
    """The rates of the search by (stack, activation), as `at_best_rates` finds them."""
    groups = _by_rate(rows, spec)
    return {
        name: sorted(rate for rate, runs in g.items() if any(not r["seed"] for r in runs)) for name, g in groups.items()
    }


def _by_rate(rows: list[dict], spec: Spec) -> dict[tuple[str, str], dict[float, list[dict]]]:
    groups = {}
    for row in rows:
        theirs = spec_from(row["config"])
        if dataclasses.replace(theirs.train, lr=spec.train.lr) == spec.train and theirs.augment == spec.augment:
            group = groups.setdefault((theirs.net.stack, theirs.net.activation), {})
            group.setdefault(theirs.train.lr, []).append(row)
    return groups


def pace(
    specs: dict[str, Spec], images: Images, device: str | dict[str, str] = "cpu", rounds: int = 3
) -> dict[str, float]:
    """Training pictures/s of some specs on this machine: the median of rounds of 20 batches, the specs taking turns.

    `device` may differ by name, and be two with a comma between.
    """
    places = {name: (device if isinstance(device, str) else device[name]).split(",") for name in specs}
    models = {name: build(spec, places[name] if places[name][1:] else None) for name, spec in specs.items()}
    speeds, line, nothing = {name: [] for name in specs}, Progress("timing in turns: "), images.subset([])
    for turn in range(rounds + 1):  # the first warms up
        for name, spec in specs.items():
            part = images.subset(range(min(len(images), 20 * spec.train.batch)))
            once = spec.replace(epochs=1, target=0.0)
            (epoch,) = fit(models[name], part, nothing, once, seed=turn, device=places[name][0], progress=line)
            speeds[name].append(epoch["pictures_per_second"])
    return {name: float(np.median(found[1:])) for name, found in speeds.items()}
