"""How soon runs reach a training error: epochs to a target, the best learning rate, a ratio of two groups of runs.

A run that ends above the target never reaches it: infinity, which is counted and never left out.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from alexold import verdicts
from alexold.config import ACTIVATIONS, Spec, spec_from
from alexold.data import Images
from alexold.nets import build
from alexold.progress import Progress
from alexold.train import fit


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


def sooner(slow: list[dict], fast: list[dict], target: float, chance: float) -> dict:
    """How many times as many epochs the rows of `slow` take to the target as those of `fast`.

    Returns value, low, high (Welch's 95 % interval on the logarithms of the epochs; 0 and infinite for a single run),
    estimate (`verdicts.welch`), slow and fast (geometric mean epochs), n (runs of each), reached (how many of each
    reach the target) and bound: what value is. A run that never reaches the target counts
    as one that does at the end of its last possible epoch, so that value is only "at least" (some slow ones did not
    reach it), "at most" (some fast ones), "unknown" (both); else "". The interval is of the epochs so counted.

    Raises:
        ValueError: the target is no error below chance, or lower than the one at which the runs end.
    """
    ends = max(row["config"]["train"]["target"] for row in (*slow, *fast))
    if not ends <= target < chance:
        raise ValueError(f"target {target:g}: expected an error from {ends:g}, where the runs end, to below {chance:g}")
    times, arrived = [], []
    for rows in (slow, fast):
        epochs = [reached(row["history"], target, chance) for row in rows]
        times.append(np.minimum(epochs, [row["config"]["train"]["epochs"] for row in rows]))
        arrived.append(int(np.isfinite(epochs).sum()))
    means = {name: _mean(group) for name, group in zip(("slow", "fast"), times, strict=True)}
    n, arrived = (len(slow), len(fast)), tuple(arrived)
    estimate = verdicts.welch(*times)
    found = {**verdicts.bounds(estimate, "x"), "estimate": estimate, **means, "n": n, "reached": arrived}
    return found | {"bound": _bound(arrived, n)}


def by_target(slow: list[dict], fast: list[dict], targets: list[float], chance: float) -> list[dict]:
    """How the ratio depends on the target: a row as of `sooner` for each target, with `target`."""
    return [{"target": target, **sooner(slow, fast, target, chance)} for target in targets]


def _mean(times) -> float:
    return float(np.exp(np.log(times).mean()))


def _bound(reached: tuple[int, int], n: tuple[int, int]) -> str:
    """What a ratio (slow over fast) is where `reached` of `n` runs of each reached the target."""
    complete = tuple(some == every for some, every in zip(reached, n, strict=True))
    return {(True, True): "", (False, True): "at least", (True, False): "at most"}.get(complete, "unknown")


# ---- as text ---------------------------------------------------------------------------------------------------


def sentence(found: dict, slow: str, fast: str, target: float) -> str:
    """What `sooner` found, as a sentence; no number is given where neither group of runs reached the target."""
    groups = [*zip((fast, slow), found["reached"][::-1], found["n"][::-1], strict=True)]
    missing = " and ".join(f"{n - some} of {n} runs with {name}" for name, some, n in groups if some < n)
    if found["bound"] == "unknown":
        return f"There is no ratio: {missing} did not reach {target:.0%} training error."
    span = f"95 % interval {_span(found)}" if min(found["n"]) > 1 else "no interval"
    late = f"; {missing} did not reach it and count with all their epochs" if missing else ""
    takes = " ".join(f"{slow} takes {found['bound']} **{found['value']:.1f} times**".split())
    runs = f"{found['n'][0]} and {found['n'][1]} runs"
    return f"To reach {target:.0%} training error, {takes} as many epochs as {fast} ({span}; {runs}{late})."


def summary(found: dict, slow: str, fast: str) -> dict[str, str]:
    """What `sooner` found, as a row of a table."""
    cells = {}
    for name, key, i in ((slow, "slow", 0), (fast, "fast", 1)):
        cells[f"epochs, {name}"] = _amount(found[key], found["reached"][i], found["n"][i])
    known = found["bound"] != "unknown"
    span = _span(found) if known and min(found["n"]) > 1 else "-"
    cells |= {"ratio": f"{found['bound']} {found['value']:.1f}".strip() if known else "-", "95 % interval": span}
    return cells | {"runs": f"{found['n'][0]} and {found['n'][1]}"}


def _span(found: dict) -> str:
    """The 95 % interval; of a bound it has one end."""
    ends = {"at least": "from {low:.1f}", "at most": "up to {high:.1f}"}
    return ends.get(found["bound"], "{low:.1f} to {high:.1f}").format(**found)


def in_seconds(
    epochs: dict[str, list[float]], limit: int, speed: dict[str, float], images: int
) -> list[dict[str, str]]:
    """Seconds to the target, a row for each name; the last column is a ratio to the first name.

    Args:
        epochs: of each run of each name, infinite where the target was not reached.
        limit: the last possible epoch of a run.
        speed: training images/s.
        images: how many an epoch has.
    """
    counts = {name: (int(np.isfinite(each).sum()), len(each)) for name, each in epochs.items()}
    means = {name: _mean(np.minimum(each, limit)) * images / speed[name] for name, each in epochs.items()}
    first, table = next(iter(epochs)), []
    for name in epochs:
        bound = _bound(*zip(counts[name], counts[first], strict=True))
        over = "-" if bound == "unknown" else f"{bound} {means[name] / means[first]:.1f}".strip()
        row = {"activation": name, "images/s": f"{speed[name]:.0f}", "seconds an epoch": f"{images / speed[name]:.1f}"}
        table.append(row | {"seconds to the target": _amount(means[name], *counts[name]), f"over {first}": over})
    return table


def told(epochs: float) -> str:
    """The epochs of a run to the target."""
    return f"{epochs:.1f}" if math.isfinite(epochs) else "not reached"


def _amount(mean: float, some: int, n: int) -> str:
    """A mean over n runs of which some reached the target, the others counted with all their epochs."""
    return "not reached" if not some else f"{mean:.1f}" if some == n else f"at least {mean:.1f}"


# ---- rows on record --------------------------------------------------------------------------------------------


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
    """Training images/s of some specs on this machine: the median of rounds of 20 batches, the specs taking turns.

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
