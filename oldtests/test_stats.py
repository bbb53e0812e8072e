"""Bootstrap intervals against scipy and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from alexold.stats import median, paired


def test_paired_interval_is_scipys_bootstrap():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.4, rng.random(400) < 0.3
    mean, low, high = paired(a, b)
    theirs = scipy_stats.bootstrap((a.astype(float) - b,), np.mean, method="percentile", rng=rng, n_resamples=9999)
    assert mean == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)


def test_paired_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for i in range(300):
        _, low, high = paired(rng.normal(0.3, 1, 80), np.zeros(80), seed=i, draws=400)
        hits += low <= 0.3 <= high
    assert 0.90 < hits / 300 < 0.98


def test_interval_of_a_median_resamples_items_with_all_their_values():
    rng = np.random.default_rng(3)
    x = rng.exponential(1, (150, 1)) + rng.normal(0, 0.01, (150, 4))  # the four values of an item are alike
    value, low, high = median(x)
    items = scipy_stats.bootstrap((x.mean(1),), np.median, method="percentile", rng=rng, n_resamples=4999)
    assert value == np.median(x)
    assert (low, high) == pytest.approx(tuple(items.confidence_interval), abs=0.05)
    assert high - low > 1.5 * np.ptp(median(x.reshape(-1, 1))[1:]), "600 separate values would claim too much"
