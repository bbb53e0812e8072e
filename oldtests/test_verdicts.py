"""The protocol's rules: intervals and power against simulations and scipy, verdicts against the protocol's table."""

import base64
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from alexold import effects, verdicts
from alexold.config import SOURCE2012, spec_at
from alexold.verdicts import (
    AGREES,
    CANNOT_TELL,
    EXCLUDED,
    LARGER,
    OPPOSITE,
    REGISTER,
    SLIP,
    SMALLER,
    Estimate,
    equivalent_to_zero,
    fact,
    holm,
    image_variance,
    in_every_run,
    level,
    pooled,
    size,
    verdict,
    welch,
)

EXACT = math.inf


def known(low, high, n=(3, 3)):
    """An estimate whose 95 % interval is low .. high."""
    half = (high - low) / 2 / stats.t.ppf(0.975, 4)
    return Estimate((low + high) / 2, half**2, 0.0, 4, n)


# ---- the table of section 7 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "paper", "expected"),
    [
        (0.5, 2.0, 1.4, AGREES),
        (0.1, 0.2, None, AGREES),
        (0.2, 0.9, 1.4, SMALLER),
        (2.0, 3.0, 1.4, LARGER),
        (-0.9, -0.2, 1.4, OPPOSITE),
        (-0.2, -0.1, None, OPPOSITE),
        (-1.3, 0.9, 1.4, EXCLUDED),
        (-0.5, 0.5, 1.4, f"{EXCLUDED}; equivalent to zero within 0.7"),
        (-0.2, 1.5, 1.4, CANNOT_TELL),
        (-0.2, 0.3, 0.3, CANNOT_TELL),
        (-2.0, 1.9, None, CANNOT_TELL),
        (-0.5, 0.5, None, f"{CANNOT_TELL}; equivalent to zero within 1"),
    ],
)
def test_the_verdict_of_an_interval(low, high, paper, expected):
    assert verdict(known(low, high), paper) == expected


def test_the_papers_sizes_count_with_their_rounding():
    assert size(REGISTER["lrn"], "points") == pytest.approx((1.35, 1.45))
    assert size(REGISTER["relu-speed"], "x") == pytest.approx((math.log(5.5), math.log(6.5)))
    assert size(REGISTER["dropout-overfit"], "points") is None
    ends = {high: verdict(known(0.2, high), (1.35, 1.45)) for high in (1.34, 1.36)}
    assert ends == {1.34: SMALLER, 1.36: AGREES}
    assert [verdict(known(low, 3), (1.35, 1.45)) for low in (1.44, 1.46)] == [AGREES, LARGER]
    assert [verdict(known(-0.5, high), (1.35, 1.45)) for high in (1.34, 1.36)] == [EXCLUDED, CANNOT_TELL]


def test_over_a_size_has_no_rounding_below_it():
    assert size(REGISTER["colour-pca"], "points") == (1.0, 1.0)
    row = {"value": 0.75, "low": 0.6, "high": 0.9, "unit": "points"}
    assert verdicts.judged(row, "colour-pca", "miniimagenet", known(0.6, 0.9), 9)["verdict"] == SMALLER


def test_of_ratios_no_equivalence_is_said():
    assert verdict(known(-0.1, 0.1), None, points=False) == CANNOT_TELL
    row = {"value": 1.0, "low": 0.9, "high": 1.1, "unit": "x"}
    assert verdicts.judged(row, "bias-one", "miniimagenet", known(-0.1, 0.1))["verdict"] == CANNOT_TELL


def test_over_a_size_is_reached_from_above_too():
    assert verdict(known(2.0, 3.0), 1.0, over=True) == AGREES
    assert verdict(known(0.1, 0.9), 1.0, over=True) == SMALLER


@pytest.mark.parametrize("n", [(1, 6), (3, 1), (1,)])
def test_a_single_run_cannot_tell(n):
    assert verdict(known(2.0, 3.0, n), 1.4) == CANNOT_TELL
    assert verdict(Estimate(2.0, math.nan, 0.1, 0, n), 1.4) == CANNOT_TELL


def test_facts_agree_to_the_last_digit_that_is_given_and_slips_are_the_papers():
    assert fact(60_965_224, REGISTER["parameters"]) == AGREES and fact(70_000_000, REGISTER["parameters"]) == EXCLUDED
    assert fact(659_272, REGISTER["neurons"]) == AGREES and fact(660_000, REGISTER["neurons"]) == EXCLUDED
    for id, value in (("conv1-neurons", 290_400), ("one-percent", 1.45), ("crops-factor", 2178)):
        assert REGISTER[id].slip and fact(value, REGISTER[id]) == SLIP
    assert fact(0.9, REGISTER["one-percent"]) == AGREES


def test_levels_and_shares():
    assert [level(*ends, 40.7) for ends in ((40, 41), (41, 42), (39, 40))] == [AGREES, EXCLUDED, EXCLUDED]
    assert [in_every_run(*x) for x in ((100, 60), (100, 40), (90, 60))] == [AGREES, CANNOT_TELL, OPPOSITE]


def test_a_gated_claim_needs_its_regime_and_no_gap_is_no_regime():
    row = {"value": 1.0, "low": 0.5, "high": 1.5, "unit": "points"}
    said = {gap: verdicts.judged(row, "lrn", "miniimagenet", known(0.5, 1.5), gap)["verdict"] for gap in (None, 4.9, 5)}
    assert said == {None: verdicts.REGIME, 4.9: verdicts.REGIME, 5: AGREES}
    assert verdicts.judged(row, "two-gpus", "miniimagenet", known(0.5, 1.8), 0.0)["verdict"] == AGREES
    assert verdicts.judged(row, "lrn", "sample", known(0.5, 1.5), 9)["verdict"] == verdicts.SAMPLE


def test_holm_against_its_definition():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    for chosen in itertools.permutations(p.items()):  # closed testing: every set with it is rejected by Bonferroni
        for name, _ in chosen:
            sets = [s for k in range(1, 5) for s in itertools.combinations(p, k) if name in s]
            closed = max(min(1.0, len(s) * min(p[x] for x in s)) for s in sets)
            assert holm(dict(chosen))[name] == pytest.approx(closed)


# ---- intervals ------------------------------------------------------------------------------------------------


def test_without_images_and_with_two_arms_it_is_students_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 5), rng.normal(0, 1, 4)
    scatter, df = pooled([a, b])
    ours = Estimate(a.mean() - b.mean(), scatter * (1 / 5 + 1 / 4), 0.0, df, (5, 4))
    theirs = stats.ttest_ind(a, b)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval()))


def test_welch_is_scipys():
    rng = np.random.default_rng(1)
    slow, fast = np.exp(rng.normal(2, 0.1, 3)), np.exp(rng.normal(0, 0.4, 4))
    theirs = stats.ttest_ind(np.log(slow), np.log(fast), equal_var=False)
    assert welch(slow, fast).interval() == pytest.approx(tuple(theirs.confidence_interval()))
    assert welch(slow, fast).p == pytest.approx(theirs.pvalue)
    assert welch([2.0], fast).interval() == (-math.inf, math.inf)


def test_image_variance_is_that_of_the_images_alone():
    """Over many draws of images and seeds it estimates the variance that the choice of images adds, without bias."""
    rng, found = np.random.default_rng(2), []
    for _ in range(400):
        rate, more = rng.uniform(0.2, 0.6, 1000), rng.uniform(-0.2, 0.3, 1000)
        wrong = [rng.random((3, 1000)) < rate + more * arm for arm in (1, 0)]
        found.append(image_variance(*wrong))
    assert np.mean(found) == pytest.approx(0.5**2 / 12 / 1000, rel=0.05)


def bits(right):
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def synthetic(variant, seed, wrong, training=0.1):
    """A row as `study` leaves it, from the test images that a run got wrong."""
    spec = spec_at(SOURCE2012, "miniimagenet")
    hits, top1 = {"top1": bits(~wrong), "top5": bits(~wrong)}, float(wrong.mean())
    metrics = {"top1": top1, "top5": top1, "n": len(wrong), "loss": 1.0}
    return {
        "study": "03_ablations", "scale": "miniimagenet", "variant": variant, "seed": seed,
        "config": {"net": {"classes": 100}, "train": {"lr": spec.train.lr}},
        "metrics": {"ten": metrics, "centre": metrics}, "hits": {"ten": hits, "centre": hits},
        "training": {"top1": training}, "history": [{"train_top1": training, "plain_loss": None, "lr": 0.01}],
    }  # fmt: skip


def runs(rng, effect, seeds, images=1000, spread=0.006):
    """Rows of a baseline and of no-lrn: images differ in difficulty and in what the variant does to them."""
    rate, more = rng.uniform(0.25, 0.55, images), effect + rng.uniform(-0.15, 0.15, images)
    made = []
    for arm, variant in enumerate(("baseline", "no-lrn")):
        for seed in range(seeds[arm]):
            wrong = rng.random(images) < rate + more * arm + rng.normal(0, spread)
            made.append(synthetic(variant, seed, wrong))
    return made


def top1(found):
    return next(r for r in effects.variant_effects(found) if r["measure"] == "test error")


@pytest.mark.parametrize(("effect", "seeds"), [(0.05, (6, 3)), (0.0, (3, 3)), (0.1, (2, 2))])
def test_intervals_cover_the_truth_about_95_times_in_100(effect, seeds):
    rng, draws, covered = np.random.default_rng(3), 1200, 0
    for _ in range(draws):
        row = top1(runs(rng, effect, seeds))
        covered += row["low"] <= 100 * effect <= row["high"]
    assert 0.93 <= covered / draws <= 0.97


def test_seeds_alone_would_not_cover_the_choice_of_images():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(300):
        row = top1(runs(rng, 0.05, (6, 6)))
        e = row["estimate"]
        low, high = Estimate(e.value, e.seeds, 0.0, e.df, e.n).interval()
        covered += low <= 5 <= high
    assert covered / 300 < 0.93


def test_verdicts_of_rows_with_a_known_effect():
    rng = np.random.default_rng(5)
    kinds = {"papers": (0.014, (6, 6)), "none": (0.0, (6, 6)), "one": (0.05, (1, 1))}
    said = {
        kind: [top1(runs(rng, *known, images=20_000))["verdict"] for _ in range(20)] for kind, known in kinds.items()
    }
    assert said["papers"].count(AGREES) >= 14
    assert sum(x.startswith(EXCLUDED) for x in said["none"]) >= 14
    assert set(said["one"]) == {CANNOT_TELL}


def test_the_detectable_effect_is_found_four_times_in_five():
    rng = np.random.default_rng(6)
    size = Estimate(0, 2 / 3, 0.0, 4, (3, 3)).detectable  # three runs a side of unit variance
    found = [Estimate((a := rng.normal(size, 1, 3)).mean() - (b := rng.normal(0, 1, 3)).mean(),
                      pooled([a, b])[0] * 2 / 3, 0.0, 4, (3, 3)).p < 0.05 for _ in range(4000)]  # fmt: skip
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_runs_needed_make_the_size_detectable_and_one_run_less_does_not():
    one = Estimate(0, 0.5**2 * 2 / 3, 0.01, 4, (3, 3), 10_000)
    n = one.runs_needed(0.8)
    ends = [Estimate(0, 0.5**2 * 2 / m, 0.01, 2 * (m - 1), (m, m), 10_000).detectable for m in (n - 1, n)]
    assert ends[0] > 0.8 >= ends[1]
    assert Estimate(0, 0.1, 1.0, 4, (3, 3)).runs_needed(0.8) is None


def test_two_one_sided_tests_are_the_interval_of_90_percent():
    e = Estimate(0.2, 0.3**2, 0.0, 10, (6, 6))
    p = max(stats.t.sf((0.2 + 0.8) / 0.3, 10), stats.t.cdf((0.2 - 0.8) / 0.3, 10))
    assert equivalent_to_zero(e, 0.8) == (p < 0.05)
    assert not equivalent_to_zero(e, 0.5)
