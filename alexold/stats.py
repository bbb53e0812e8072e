"""Bootstrap intervals over items: images, queries, kernels."""

import numpy as np


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
