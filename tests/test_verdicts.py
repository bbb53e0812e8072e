"""The protocol's rules: uncertainty against scipy and simulations, verdicts against the table."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alexlib.paper import CLAIMS
from alexlib.study import verdicts as v
from alexlib.study.verdicts import Estimate, difference, image_variance, ratio, size, verdict


def known(low, high, n=(3, 3), **more):
    """An estimate whose 95 % interval is low .. high."""
    half = (high - low) / 2 / stats.t.ppf(0.975, 4)
    return Estimate((low + high) / 2, half**2, 0.0, 4, n, **more)


# ---- verdicts: the table of section 7 ------------------------------------------------------------


ends = st.floats(-5, 5).map(lambda x: round(x, 3))
sizes = st.floats(0.2, 4)
papers = st.none() | sizes.map(lambda x: (x - 0.05, x + 0.05)) | sizes.map(lambda x: (x, math.inf))


@given(ends, st.floats(0.01, 4), papers)
def test_each_interval_has_exactly_one_verdict(low, width, paper):
    estimate = known(low, low + width)
    low, high = estimate.interval()
    least, most = paper or (-math.inf, math.inf)
    rows = {  # the table of section 7, row by row
        v.AGREES: low > 0 and low <= most and high >= least,
        v.SMALLER: low > 0 and high < least,
        v.LARGER: low > most,
        v.OPPOSITE: high < 0,
        v.EXCLUDED: low <= 0 <= high < least and paper is not None,
        v.CANNOT_TELL: low <= 0 <= high and (paper is None or high >= least),
    }
    said = verdict(estimate, paper).split(";")[0]
    assert [name for name, applies in rows.items() if applies] == [said]


def test_sizes_count_with_their_rounding_but_for_those_to_be_exceeded():
    assert size(CLAIMS["lrn"]) == pytest.approx((1.35, 1.45))
    assert size(CLAIMS["relu-speed"]) == pytest.approx((math.log(5.5), math.log(6.5)))
    assert size(CLAIMS["dropout-overfit"]) is None
    assert size(CLAIMS["colour-pca"]) == (1.0, math.inf)


def test_a_single_run_cannot_tell():
    few = [known(2.0, 3.0, n) for n in ((1, 6), (3, 1), (1,))]
    assert {verdict(one, (1.4, 1.4)) for one in few} == {v.CANNOT_TELL}


@pytest.mark.parametrize(
    ("bound", "paper", "expected"),
    [
        ("", (2.0, 2.0), v.LARGER),
        ("at least", (2.0, 2.0), v.LARGER),
        ("at least", (3.0, 3.0), v.CANNOT_TELL),  # it may be more
        ("at least", (4.0, 4.0), v.CANNOT_TELL),
        ("at least", (2.0, math.inf), v.AGREES),
        ("at least", None, v.AGREES),
        ("at most", None, v.CANNOT_TELL),
        ("unknown", None, v.CANNOT_TELL),
    ],
)
def test_a_bound_shows_only_what_it_can(bound, paper, expected):
    assert verdict(known(2.9, 3.1, ratio=True, bound=bound), paper) == expected


def test_equivalence_is_two_one_sided_tests_and_not_said_of_ratios():
    for value, expected in ((0.2, True), (0.6, False)):
        p = max(stats.t.sf((value + 1) / 0.3, 10), stats.t.cdf((value - 1) / 0.3, 10))
        said = verdict(Estimate(value, 0.3**2, 0.0, 10, (6, 6)), None)
        assert ("equivalent" in said) == (p < 0.05) == expected
    for paper in ((1.35, 1.45), (1.4, math.inf)):
        said = verdict(known(-0.5, 0.5), paper)
        assert said == f"{v.EXCLUDED}; equivalent to zero within 0.7"
    assert verdict(known(-0.1, 0.1, ratio=True), None) == v.CANNOT_TELL


def test_facts_agree_to_the_last_digit_and_slips_are_the_papers():
    parameters, neurons = CLAIMS["parameters"], CLAIMS["neurons"]
    found = [v.fact(x, parameters) for x in (60_965_224, 70_000_000)]
    found += [v.fact(x, neurons) for x in (659_272, 660_000)]
    assert found == [v.AGREES, v.EXCLUDED] * 2
    slips = (("conv1-neurons", 290_400), ("one-percent", 1.45), ("crops-factor", 2178))
    assert all(v.fact(value, CLAIMS[id]) == v.SLIP for id, value in slips)
    assert v.fact(0.9, CLAIMS["one-percent"]) == v.AGREES
    assert [v.fact(x, CLAIMS["memory-limit"]) for x in (1.5, 3.1)] == [v.CANNOT_TELL, v.AGREES]


def test_holm_is_the_closed_test_with_bonferroni():
    p = [0.01, 0.04, 0.03, 0.005]
    sets = [s for k in range(1, 5) for s in itertools.combinations(p, k)]
    closed = [max(min(1.0, len(s) * min(s)) for s in sets if own in s) for own in p]
    assert v.holm(p) == pytest.approx(closed)


# ---- uncertainty ---------------------------------------------------------------------------------


def test_differences_and_ratios_are_the_t_tests_of_student_and_welch():
    rng = np.random.default_rng(0)
    a, b = rng.normal(2, 0.1, 3), rng.normal(0, 0.4, 4)
    student, welch = stats.ttest_ind(a, b), stats.ttest_ind(a, b, equal_var=False)
    for ours, theirs in (
        (difference([a, b], [a, b]), student),
        (difference([a], [a]), stats.ttest_1samp(a, 0)),
        (ratio(np.exp(a), np.exp(b)), welch),
    ):
        assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval()))
        assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.shown()["value"] == pytest.approx(stats.gmean(np.exp(a)) / stats.gmean(np.exp(b)))
    single = ratio([8.0], [2.0, 2.0]).shown()
    assert single["value"] == pytest.approx(4) and (single["low"], single["high"]) == (0, math.inf)
    same = ratio([4.0] * 3, [2.0] * 3)
    assert same.interval() == (same.value, same.value) and same.p == 0


def test_a_contrast_is_that_of_least_squares_and_its_image_part_that_of_its_arms():
    rng, sizes, c = np.random.default_rng(0), (3, 3, 4, 2), np.array([0.5, -0.5, 0.5, -0.5])
    arms = [rng.normal(i, 0.3, n) for i, n in enumerate(sizes)]
    X, y = np.repeat(np.eye(4), sizes, axis=0), np.concatenate(arms)
    means, squares = np.linalg.lstsq(X, y)[:2]
    se = np.sqrt(squares[0] / 8 * c @ np.linalg.inv(X.T @ X) @ c)
    expected = stats.t.interval(0.95, 8, c @ means, se)
    assert difference(arms, arms, weights=c).interval() == pytest.approx(expected)
    single = rng.integers(2, size=(4, 1, 50))  # one run in each arm: no scatter is subtracted
    expected = np.var(c @ single[:, 0], ddof=1) / 50
    assert image_variance(*single, weights=c) == pytest.approx(expected)


@pytest.mark.parametrize("scatter", [(0.1, 0.1), (0.1, 0.3)])
def test_intervals_of_ratios_cover_the_truth(scatter):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(800):
        slow, fast = (np.exp(rng.normal(m, sd, 3)) for m, sd in zip((1.8, 0), scatter, strict=True))
        low, high = ratio(slow, fast).interval()
        covered += low <= 1.8 <= high
    assert 0.925 < covered / 800 < 0.985


def test_the_detectable_effect_is_found_four_times_in_five():
    effect = Estimate(0, 2 / 3, 0.0, 4, (3, 3)).detectable  # three runs of variance 1 in each arm
    runs = np.random.default_rng(6).normal(0, 1, (4000, 2, 3))
    p = stats.ttest_ind(runs[:, 0] + effect, runs[:, 1], axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)


def test_runs_needed_make_an_effect_detectable_and_one_less_does_not():
    n = Estimate(0, 0.5**2 * 2 / 3, 0.01, 4, (3, 3)).runs_needed(0.8)
    enough = [Estimate(0, 0.5**2 * 2 / m, 0.01, 2 * (m - 1), (m, m)) for m in range(2, n + 1)]
    assert [one.detectable <= 0.8 for one in enough] == [False] * (n - 2) + [True] and n > 3
    assert Estimate(0, 0.1, 1.0, 4, (3, 3)).runs_needed(0.8) is None  # too few images
