"""How soon runs learn: epochs to a training error or loss, ratios of them, the best learning rate.

A run that ends above the target never reaches it. It counts with all the epochs that it could have
had, and the ratio is then only a bound.
"""

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from alexlib.config import Config, config_from
from alexlib.study.variants import PROTOCOL
from alexlib.study.verdicts import Estimate, ratio


def reached(history: list[dict], target: float, start: float, key: str = "train_top1") -> float:
    """Epochs until a value falls to `target`, interpolated linearly between epochs; inf if never.

    Args:
        history: one dict for each epoch; `key` is an error (0..1) or a loss in it.
        start: the value before the first epoch.
    """
    before = start
    if before <= target:
        return 0.0
    for epoch, row in enumerate(history):
        if row[key] <= target:
            return epoch + (before - target) / (before - row[key])
        before = row[key]
    return math.inf


def sooner(slow: list[dict], fast: list[dict], target: float) -> Estimate:
    """The epochs that the runs of `slow` take to a training error, divided by those of `fast`.

    Raises ValueError if the target (0..1) is below the error at which the runs end.
    """
    end = max(row["config"]["train"]["target"] for row in (*slow, *fast))
    if target < end:
        raise ValueError(f"target {target:g}: expected {end:g}, where the runs end, or more")

    def time(row):
        return reached(row["history"], target, chance(row)), row["config"]["train"]["epochs"]

    return _ratio(slow, fast, time)


def sooner_to_loss(slow: list[dict], fast: list[dict], early: bool, loss=0.0) -> Estimate | None:
    """The same for a training loss (eval mode), the protocol's or `loss`, at the first rate.

    The protocol's is that of convergence or, if `early`, of early learning; at scales that the
    protocol does not name, it is a share of the loss at chance. None if a row has no such losses.
    """
    if any(row["history"][0].get("plain_loss") is None for row in (*slow, *fast)):
        return None

    def time(row):
        guess = math.log(row["config"]["net"]["classes"])  # the loss of equal probabilities
        target = loss or PROTOCOL["loss"].get(row["scale"], [0.55 * guess, 0.87 * guess])[early]
        same_rate = [e for e in row["history"] if e["lr"] == row["history"][0]["lr"]]
        return reached(same_rate, target, guess, "plain_loss"), len(same_rate)

    return _ratio(slow, fast, time)


def _ratio(slow: list[dict], fast: list[dict], time: Callable) -> Estimate:
    """The ratio of times; `time` of a row gives the epochs to the target and the limit on them."""
    times, complete = [], []
    for runs in (slow, fast):
        epochs, limits = np.transpose([time(row) for row in runs])
        times.append(np.minimum(epochs, limits))
        complete.append(bool(np.isfinite(epochs).all()))
    return ratio(*times, tuple(complete))


def chance(row: dict) -> float:
    """The error (0..1) of a random guess."""
    return 1 - 1 / row["config"]["net"]["classes"]


# ---- the learning rate of each net: section 3.1 --------------------------------------------------


def soonest(found: dict[float, list[dict]], target: float, start: float) -> float:
    """The learning rate out of {rate: history} that reaches the target in the fewest epochs.

    If none does, the one with the lowest training error at the end.
    """

    def order(rate):
        last = found[rate][-1]["train_top1"] if found[rate] else 1.0
        return reached(found[rate], target, start), last, rate

    return min(found, key=order)


def search(run: Callable, rates: list[float], target: float, start: float) -> tuple[float, dict]:
    """The soonest rate of a grid, which is extended by its own step while the best is at an edge.

    At most three rates are added. `run` returns {rate: history} for a list of rates. Returns the
    rate and the histories of all rates.
    """
    found = run(sorted(rates))
    for _ in range(3):
        best, tried = soonest(found, target, start), sorted(found)
        if best not in (tried[0], tried[-1]):
            break
        inner = tried[1] if best == tried[0] else tried[-2]
        found |= run([float(f"{best**2 / inner:.2g}")])
    return soonest(found, target, start), found


def at_best_rates(rows: list[dict], config: Config) -> dict[tuple[str, str], list[dict]]:
    """The runs that count, by (stack, activation), trained as `config` except for the rate.

    A config with precision "auto" stands for both precisions. Seed 0 chooses the rate; the other
    seeds at that rate count, or seed 0 if there are none.
    """
    nets = defaultdict(list)
    for row in rows:
        own = config_from(row["config"])
        free = ("lr", "precision") if config.train.precision == "auto" else ("lr",)
        same = config.replace(**{field: getattr(own.train, field) for field in free})
        if (own.train, own.augment) == (same.train, same.augment):
            nets[own.net.stack, own.net.activation].append((own.train.lr, row))
    counted = {}
    for net, runs in nets.items():
        searched = {lr: row["history"] for lr, row in runs if row["seed"] == 0}
        if searched:
            best = soonest(searched, config.train.target, chance(rows[0]))
            at_best = [row for lr, row in runs if lr == best]
            counted[net] = [row for row in at_best if row["seed"]] or at_best
    return counted
