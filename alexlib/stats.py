"""Intervals and verdicts. The rules are fixed here, before anything is measured."""

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


def verdict(low: float, high: float, paper: float, scale: str) -> str:
    """What an effect's interval says about the paper's number; a sample run says nothing.

    reproduced: all of the interval has the paper's sign and reaches its size or more; direction only: the sign alone;
    not reproduced: the other sign; inconclusive: the interval spans zero.
    """
    if scale == "sample":
        return "sample run, no scientific claim"
    if low <= 0 <= high:
        return "inconclusive"
    if (low > 0) != (paper > 0):
        return "not reproduced"
    return "reproduced" if max(abs(low), abs(high)) >= abs(paper) else "direction only"
