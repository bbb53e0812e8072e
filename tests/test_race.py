"""Epochs to a target against a drawn line, the rule of the search, ratios against simulation."""

import math

import numpy as np
import pytest

from alexlib.config import FIGURE1, spec_at
from alexlib.data import load
from alexlib.race import at_best_rates, best_rate, entries, pace, rates_tried, ratio, reached, search, sooner


def history(*errors, seconds=10.0):
    return [{"train_top1": error, "seconds": seconds} for error in errors]


def test_the_target_is_met_on_the_line_between_epochs():
    curve = history(0.6, 0.4, 0.2, 0.3, 0.1)
    ends = np.array([0.9, 0.6, 0.4, 0.2])
    for target in (0.89, 0.75, 0.6, 0.5, 0.41, 0.25, 0.2):
        expected = np.interp(-target, -ends, np.arange(4))  # the line falls, so both are turned round
        assert reached(curve, target, 0.9) == pytest.approx(expected)
    assert reached(curve, 0.15, 0.9) == pytest.approx(4.75), "the first time it holds, after a rise too"
    assert reached(curve, 0.05, 0.9) == math.inf and reached([], 0.5, 0.9) == math.inf
    assert reached(curve, 0.95, 0.9) == 0


def test_best_rate_is_the_fewest_epochs_or_else_the_lowest_error():
    found = {0.1: history(0.5, 0.24), 0.01: history(0.3, 0.2), 0.001: history(0.8, 0.26)}
    assert best_rate(found, 0.25, 0.9) == 0.01
    assert best_rate(found, 0.15, 0.9) == 0.01 and best_rate({0.1: history(0.5), 1.0: []}, 0.1, 0.9) == 0.1


@pytest.mark.parametrize(("best", "asked"), [
    (0.003, [0.001, 0.003, 0.01]),
    (0.03, [0.001, 0.003, 0.01, 0.033, 0.11]),
    (0.0003, [0.001, 0.003, 0.01, 0.00033, 0.00011]),
])  # fmt: skip
def test_the_search_leaves_the_edges_of_its_grid(best, asked):
    seen = []

    def run(rates):
        seen.extend(rates)
        return {rate: history(0.2 + abs(math.log(rate / best)) / 10) for rate in rates}

    found, histories = search(run, [0.01, 0.001, 0.003], 0.25, 0.9)
    assert seen == pytest.approx(asked) and sorted(histories) == pytest.approx(sorted(asked))
    assert abs(math.log(found / best)) < 0.2


def test_the_search_stops_after_its_extensions():
    found, histories = search(lambda rates: {r: history(1 - r / 100) for r in rates}, [0.1, 1.0], 0.1, 0.9)
    assert len(histories) == 5 and found == pytest.approx(1000)


def test_entries_say_what_is_expected():
    assert entries("relu, tanh", "0.01,0.001", 2) == (["relu", "tanh"], [0.001, 0.01], range(1, 3))
    for wrong in ("relu", "relu,relu", "relu,tan", ""):
        with pytest.raises(ValueError, match=r"two or more different ones out of relu, tanh, scaled_tanh"):
            entries(wrong, "0.1,0.2", 1)
    for wrong in ("0.1", "0.1,0.1", "0,0.1", "-1,0.1", "0.1,fast", "", "nan,1", "0.1,inf"):
        with pytest.raises(ValueError, match=r"learning_rates '.*': expected two or more numbers above 0"):
            entries("relu,tanh", wrong, 1)
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match=r"seeds .*: expected a whole number from 1"):
            entries("relu,tanh", "0.1,0.2", wrong)


def test_ratio_covers_the_truth():
    rng, hits = np.random.default_rng(0), 0
    for i in range(200):
        _, low, high = ratio(rng.normal(12, 2, 12), rng.normal(4, 1, 12), seed=i, draws=500)
        hits += low <= 3 <= high
    assert 0.86 < hits / 200 < 0.99  # the percentile interval is a little narrow at n = 12
    assert ratio([6, 12], [3, 3])[0] == 3 and ratio([4.0] * 3, [2.0] * 3) == (2, 2, 2)


def test_a_single_run_has_no_interval():
    assert ratio([8.0], [2.0, 2.0]) == (4, 0, math.inf)


# ---- rows ----------------------------------------------------------------------------------------------------

SPEC = FIGURE1.replace(epochs=10)


def row(*errors, activation="relu", lr=0.001, seed=1, **changes):
    spec = SPEC.replace(activation=activation, lr=lr, **changes)
    return {"history": history(*errors), "config": spec.as_dict(), "seed": seed}


FAST, SLOW, NEVER = (0.5, 0.25), (0.7, 0.6, 0.5, 0.4, 0.3, 0.25), (0.8, 0.7)


@pytest.mark.parametrize(("slow", "fast", "value", "bound"), [
    ((SLOW, SLOW), (FAST, FAST), 6 / 2, ""),
    ((SLOW, NEVER), (FAST, FAST), (6 + 10) / 2 / 2, "at least"),
    ((SLOW, SLOW), (FAST, NEVER), 6 / ((2 + 10) / 2), "at most"),
    ((NEVER, NEVER), (NEVER, FAST), 10 / 6, "unknown"),
])  # fmt: skip
def test_runs_that_never_arrive_count_with_all_their_epochs(slow, fast, value, bound):
    found = sooner([row(*e) for e in slow], [row(*e) for e in fast], 0.25, 0.9)
    assert found["value"] == pytest.approx(value) and found["bound"] == bound and found["n"] == (2, 2)
    assert found["low"] <= found["value"] <= found["high"]
    assert found["slow"] / found["fast"] == pytest.approx(value)


def test_best_rates_are_chosen_by_seed_0_and_measured_by_the_others():
    search_ = [row(*SLOW, seed=0), row(*FAST, lr=0.003, seed=0), row(*SLOW, activation="tanh", seed=0)]
    others = [row(*SLOW, lr=0.003, seed=seed) for seed in (1, 2)]
    elsewhere = [row(*FAST, lr=0.01, seed=0, epochs=5), row(*FAST, lr=0.01, seed=0, flip=True), row(*FAST, lr=0.1)]
    local = row(*SLOW, lr=0.01, seed=0, stack="local", input=24)
    found = at_best_rates([*search_, *others, *elsewhere, local], SPEC, 0.9)
    assert found == {
        ("four-layer", "relu"): others,
        ("four-layer", "tanh"): [search_[2]],
        ("local", "relu"): [local],
    }
    tried = rates_tried([*search_, *others, *elsewhere, local], SPEC)
    assert tried == {("four-layer", "relu"): [0.001, 0.003], ("four-layer", "tanh"): [0.001], ("local", "relu"): [0.01]}


def test_pace_takes_turns_and_gives_a_speed_each():
    train, _ = load("sample", 32)
    spec = spec_at(FIGURE1, "sample", width=0.125)
    wide = spec.replace(width=2.0, stack="local")
    speed = pace({"narrow": spec, "wide": wide}, train.subset(range(96)), rounds=2)
    assert speed["narrow"] > 2 * speed["wide"] > 0
