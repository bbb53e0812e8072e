"""Intervals against scipy and simulation, and the rule of the verdicts."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from alexlib.stats import at_most, count, median, over_seeds, paired, reach, runs_for, verdict, wilson


@pytest.mark.parametrize(("wrong", "n"), [(0, 20), (3, 20), (200, 1000), (50, 50)])
def test_wilson_is_scipys(wrong, n):
    theirs = scipy_stats.binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert wilson(wrong / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


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


@pytest.mark.parametrize("n", [2, 3, 5, 11, 12, 13, 20, 100])
def test_interval_over_seeds_is_students(n):
    x = np.random.default_rng(n).normal(1.0, 2.0, n)
    theirs = scipy_stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert over_seeds(x) == pytest.approx((x.mean(), theirs.low, theirs.high), rel=2e-3, abs=2e-3)


def test_a_single_seed_has_no_interval():
    assert over_seeds([1.5]) == (1.5, -np.inf, np.inf)
    assert verdict(*over_seeds([1.5])[1:], 1.0, "imagenet") == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "paper", "expected"),
    [
        (0.5, 2.0, 1.4, "reproduced"),
        (2.0, 3.0, 1.4, "reproduced"),
        (0.2, 0.9, 1.4, "direction only"),
        (-0.2, 0.9, 1.4, "inconclusive"),
        (-0.9, -0.2, 1.4, "not reproduced"),
        (-3.0, -1.0, -2.0, "reproduced"),
        (0.1, 0.2, None, "reproduced"),
        (-0.2, -0.1, None, "not reproduced"),
    ],
)
def test_verdicts(low, high, paper, expected):
    assert verdict(low, high, paper, "imagenet") == expected
    assert verdict(low, high, paper, "sample") == "sample run, no scientific claim"


@pytest.mark.parametrize("n", [2, 3, 11, 12, 40])
def test_reach_is_students(n):
    assert reach(n) == pytest.approx(scipy_stats.t.ppf(0.975, n - 1) / np.sqrt(n), rel=2e-3)


@pytest.mark.parametrize(("size", "spread"), [(1.0, 0.1), (1.0, 1.0), (0.3, 2.0)])
def test_runs_needed_narrow_the_interval_to_the_size_and_one_run_less_does_not(size, spread):
    low, high = 5 - spread * reach(4), 5 + spread * reach(4)  # what four runs with that scatter gave
    n = runs_for(size, low, high, 4)
    half = [scipy_stats.t.ppf(0.975, m - 1) * spread / np.sqrt(m) for m in (n, max(2, n - 1))]
    assert half[0] <= size * 1.002 and (n == 2 or half[1] > size * 0.998)


@pytest.mark.parametrize(
    ("value", "paper", "expected"),
    [
        (60_965_224, 60_000_000, "reproduced"),  # "60 million": the last digit given is of ten millions
        (70_000_000, 60_000_000, "not reproduced"),
        (659_272, 650_000, "reproduced"),
        (660_001, 650_000, "not reproduced"),
        (290_400, 253_440, "not reproduced"),
        (2048, 2048, "reproduced"),
        (2049, 2048, "not reproduced"),
    ],
)
def test_counts_agree_to_the_digits_that_are_given(value, paper, expected):
    assert count(value, paper) == expected


def test_an_error_is_reproduced_if_its_interval_reaches_as_low_as_the_papers():
    assert [at_most(low, 40.7) for low in (39.0, 40.7, 40.8)] == ["reproduced", "reproduced", "not reproduced"]
