"""How soon runs reach a training error: epochs and seconds to a target, the best learning rate, a ratio of two groups.

A run that ends above the target never reaches it: infinity, which is counted and never left out.
"""

import math
from collections.abc import Callable

import numpy as np


def reached(history: list[dict], target: float, chance: float, clock: str = "epoch") -> float:
    """Epochs, or training seconds, until the training error falls to `target`, between epochs on a straight line.

    Args:
        history: rows of an epoch each, with train_top1 (0..1), pictures_per_second and seconds.
        chance: the error before the first epoch.
        clock: "epoch" or "seconds".
    """
    if clock not in ("epoch", "seconds"):
        raise ValueError(f"clock {clock!r}: expected 'epoch' or 'seconds'")
    before, time = chance, 0.0
    if before <= target:
        return 0.0
    for row in history:
        error, length = row["train_top1"], 1.0 if clock == "epoch" else row["seconds"]
        if error <= target:
            return time + length * (before - target) / (before - error)
        before, time = error, time + length
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
        extensions: how often, at most.

    Returns the rate and all histories. Raises ValueError for fewer than two rates, or rates that are not positive.
    """
    rates = sorted(set(rates))
    if len(rates) < 2 or rates[0] <= 0:
        raise ValueError(f"learning rates {rates}: expected two or more different ones above 0")
    found = run(rates)
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

    Infinite where runs that never reached the target are among the slow ones.
    """
    slow, fast = np.asarray(slow, np.float64), np.asarray(fast, np.float64)
    if not len(slow) or not len(fast) or not np.isfinite(fast).all():
        raise ValueError("the fast runs must all have reached the target, and there must be some of both")
    rng = np.random.default_rng(seed)
    means = [group[rng.integers(len(group), size=(draws, len(group)))].mean(1) for group in (slow, fast)]
    drawn = np.sort(means[0] / means[1])
    low, high = drawn[int(0.025 * draws)], drawn[int(0.975 * draws)]
    return float(slow.mean() / fast.mean()), float(low), float(high)
