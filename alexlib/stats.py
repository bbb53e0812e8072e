"""Intervals and verdicts. The rules are fixed here, before anything is measured."""

import itertools
import math

import numpy as np


def wilson(wrong: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of an error rate found on n pictures (Wilson 1927): (low, high) in 0..1."""
    centre, spread = wrong + z * z / (2 * n), z * math.sqrt(wrong * (1 - wrong) / n + z * z / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


def paired(a, b, seed: int = 0, draws: int = 10_000) -> tuple[float, float, float]:
    """Mean of a - b over the same items, with its 95 % bootstrap interval: (mean, low, high).

    Args:
        a, b: (n,) values of the same n items (pictures, seeds) under two conditions.
    """
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    values, counts = np.unique(d, return_counts=True)  # resampling n items = drawing their counts
    resampled = np.random.default_rng(seed).multinomial(len(d), counts / len(d), draws) @ values / len(d)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(d.mean()), float(low), float(high)


def median(values, seed: int = 0, draws: int = 1000) -> tuple[float, float, float]:
    """Median of all of (n, m) with its 95 % bootstrap interval over the n items: (value, low, high)."""
    x, rng = np.asarray(values, np.float64), np.random.default_rng(seed)
    low, high = np.quantile([np.median(x[rng.integers(len(x), size=len(x))]) for _ in range(draws)], (0.025, 0.975))
    return float(np.median(x)), float(low), float(high)


STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # 97.5 % point, 1 to 10 freedoms


def over_seeds(values) -> tuple[float, float, float]:
    """Mean of independent runs' values (n,) with its 95 % interval, Student's: (mean, low, high).

    For paired runs, the values are differences. A single run has no interval: its bounds are infinite.
    """
    x = np.asarray(values, np.float64)
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return mean, -math.inf, math.inf
    half = reach(n) * float(x.std(ddof=1))
    return mean, mean - half, mean + half


def reach(n: int) -> float:
    """Half the width of the 95 % interval over n runs, in standard deviations of a run."""
    wide = STUDENT[n - 2] if n < 12 else 1.96 + 2.372 / (n - 1) + 2.82 / (n - 1) ** 2  # Cornish-Fisher
    return wide / math.sqrt(n)


def runs_for(size: float, low: float, high: float, n: int) -> int:
    """Runs after which an interval over n of them would be no wider than `size` to either side, scatter as it is."""
    spread = (high - low) / 2 / reach(n)
    return next(m for m in itertools.count(2) if reach(m) * spread <= size)


def verdict(low: float, high: float, paper: float | None, scale: str) -> str:
    """What an effect's interval says about the paper's number, or about "more than 0" where the paper gives none.

    A sample run says nothing. reproduced: all of the interval has the paper's sign and reaches its size or more;
    direction only: the sign alone; not reproduced: the other sign; inconclusive: the interval spans zero.
    """
    if scale == "sample":
        return "sample run, no scientific claim"
    if low <= 0 <= high:
        return "inconclusive"
    if (low > 0) != (paper is None or paper > 0):
        return "not reproduced"
    return "reproduced" if max(abs(low), abs(high)) >= abs(paper or 0) else "direction only"


def at_most(low: float, paper: float) -> str:
    """What the interval of an error or a share says about the paper's: as low as that, or lower, is reproduced."""
    return "reproduced" if low <= paper else "not reproduced"


def in_every_run(value: float, low: float) -> str:
    """What a share of runs, per cent, says of a claim about every run: one without refutes it, some are no proof."""
    if value < 100:
        return "not reproduced"
    return "reproduced" if low > 50 else "inconclusive"


def count(value: float, paper: float) -> str:
    """Whether a count is the paper's to the digits that it gives: off by less than one in the last before the zeros."""
    digits = str(int(paper))
    unit = 10 ** (len(digits) - len(digits.rstrip("0")))
    return "reproduced" if abs(value - paper) < unit else "not reproduced"
