"""Epochs to a target against a drawn line, the rule of the search, ratios against simulation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from alexold.config import FIGURE1, spec_at
from alexold.data import load
from alexold.race import (
    at_best_rates,
    best_rate,
    by_target,
    entries,
    in_seconds,
    pace,
    rates_tried,
    reached,
    search,
    sentence,
    sooner,
    summary,
    told,
)
from alexold.verdicts import bounds, welch

ON_RECORD = Path(__file__).parents[1] / "reports" / "results" / "02_relu_vs_tanh.jsonl"


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


@pytest.mark.parametrize("scatter", [(0.1, 0.1), (0.02, 0.03), (0.05, 0.1), (0.1, 0.3)])
def test_the_interval_of_three_and_three_runs_covers_the_truth(scatter):
    rng, hits, draws = np.random.default_rng(0), 0, 3000
    for _ in range(draws):
        slow, fast = (np.exp(rng.normal(mean, sd, 3)) for mean, sd in zip((math.log(6), 0), scatter, strict=True))
        low, high = welch(slow, fast).interval()
        hits += low <= math.log(6) <= high
    assert 0.93 < hits / draws < 0.98


def test_runs_without_scatter_and_single_runs():
    same = welch([4.0] * 3, [2.0] * 3)
    assert same.interval() == (same.value, same.value) and same.value == pytest.approx(math.log(2)) and same.p == 0
    assert welch([4.0] * 3, [4.0] * 3).p == 1
    one = bounds(welch([8.0], [2.0, 2.0]), "x")
    assert one == {"value": pytest.approx(4), "low": 0, "high": math.inf}


# ---- rows ----------------------------------------------------------------------------------------------------

SPEC = FIGURE1.replace(epochs=10)


def row(*errors, activation="relu", lr=0.001, seed=1, **changes):
    spec = SPEC.replace(activation=activation, lr=lr, **changes)
    return {"history": history(*errors), "config": spec.as_dict(), "seed": seed}


FAST, SLOW, NEVER = (0.5, 0.25), (0.7, 0.6, 0.5, 0.4, 0.3, 0.25), (0.8, 0.7)


@pytest.mark.parametrize(("slow", "fast", "value", "bound", "arrived"), [
    ((SLOW, SLOW), (FAST, FAST), 6 / 2, "", (2, 2)),
    ((SLOW, NEVER), (FAST, FAST), math.sqrt(6 * 10) / 2, "at least", (1, 2)),
    ((SLOW, SLOW), (FAST, NEVER), 6 / math.sqrt(2 * 10), "at most", (2, 1)),
    ((NEVER, NEVER), (NEVER, FAST), 10 / math.sqrt(10 * 2), "unknown", (0, 1)),
])  # fmt: skip
def test_runs_that_never_arrive_count_with_all_their_epochs(slow, fast, value, bound, arrived):
    found = sooner([row(*e) for e in slow], [row(*e) for e in fast], 0.25, 0.9)
    assert found["value"] == pytest.approx(value) and found["bound"] == bound and found["n"] == (2, 2)
    assert found["low"] <= found["value"] <= found["high"] and found["reached"] == arrived
    assert found["slow"] / found["fast"] == pytest.approx(value)


def test_a_target_that_the_runs_do_not_go_to_is_refused():
    rows = [row(*FAST)] * 2
    for target in (0.2, 0.9, 0.95):
        with pytest.raises(ValueError, match=r"expected an error from 0.25, where the runs end, to below 0.9"):
            sooner(rows, rows, target, 0.9)
    assert sooner([row(*FAST, target=0.0)], [row(*FAST)], 0.25, 0.9)["bound"] == ""


def test_the_ratio_by_target_is_that_of_each_target():
    slow, fast = [row(*SLOW), row(*SLOW[1:])], [row(*FAST)] * 2
    found = by_target(slow, fast, [0.6, 0.4, 0.25], 0.9)
    assert [one["target"] for one in found] == [0.6, 0.4, 0.25]
    assert found[2] == {"target": 0.25, **sooner(slow, fast, 0.25, 0.9)}
    crossed = [0.3 / 0.4, 1 + 0.1 / 0.25]  # epochs of `fast` to 0.6 and to 0.4
    assert found[0]["value"] == pytest.approx(math.sqrt(2 * 1) / crossed[0])
    assert found[1]["value"] == pytest.approx(math.sqrt(4 * 3) / crossed[1])


def test_the_runs_on_record_give_the_papers_ratio_at_its_own_target_alone():
    on_record = [json.loads(line) for line in ON_RECORD.read_text().splitlines()]
    best = at_best_rates(on_record, spec_at(FIGURE1, "cifar10"), 0.9)
    found = by_target(best["four-layer", "tanh"], best["four-layer", "relu"], [0.5, 0.4, 0.3, 0.25], 0.9)
    assert [round(one["value"], 1) for one in found] == [1.9, 3.7, 6.0, 6.2]
    assert {one["n"] for one in found} == {(3, 3)}
    assert (round(found[3]["low"], 1), round(found[3]["high"], 1)) == (6.0, 6.5)


def test_a_sentence_has_no_number_where_there_is_no_ratio():
    fast, slow, never = [row(*FAST)] * 2, [row(*SLOW)] * 2, [row(*NEVER)] * 2

    def say(slow, fast):
        return sentence(sooner(slow, fast, 0.25, 0.9), "tanh", "relu", 0.25)

    assert say(slow, fast) == (
        "To reach 25% training error, tanh takes **3.0 times** as many epochs as relu"
        " (95 % interval 3.0 to 3.0; 2 and 2 runs)."
    )
    assert say([*slow, *never], fast[:1]) == (
        "To reach 25% training error, tanh takes at least **3.9 times** as many epochs as relu"
        " (no interval; 4 and 1 runs; 2 of 4 runs with tanh did not reach it and count with all their epochs)."
    )
    assert say(never, never[:1]) == (
        "There is no ratio: 1 of 1 runs with relu and 2 of 2 runs with tanh did not reach 25% training error."
    )


def test_a_row_of_the_table_says_what_was_not_reached():
    fast, slow, never = [row(*FAST)] * 2, [row(*SLOW)] * 2, [row(*NEVER)] * 2

    def cells(slow, fast):
        return [*summary(sooner(slow, fast, 0.25, 0.9), "tanh", "relu").values()]

    assert cells(slow, fast) == ["6.0", "2.0", "3.0", "3.0 to 3.0", "2 and 2"]
    assert cells(never, fast) == ["not reached", "2.0", "at least 5.0", "from 5.0", "2 and 2"]
    assert cells(fast, never)[2:4] == ["at most 0.2", "up to 0.2"]
    assert cells([*slow, *never], never) == ["at least 7.7", "not reached", "-", "-", "4 and 2"]
    assert cells(slow[:1], fast)[3:] == ["-", "1 and 2"]
    assert (told(2.345), told(math.inf)) == ("2.3", "not reached")


def test_seconds_to_a_target_that_was_not_reached():
    epochs = {"relu": [2.0, 2.0], "tanh": [4.0, math.inf], "gelu": [math.inf, math.inf]}
    relu, tanh, gelu = in_seconds(epochs, 16, dict(relu=100.0, tanh=50.0, gelu=100.0), 1000)
    assert [*relu.values()] == ["relu", "100", "10.0", "20.0", "1.0"]
    assert [*tanh.values()] == ["tanh", "50", "20.0", "at least 160.0", "at least 8.0"]
    assert [*gelu.values()] == ["gelu", "100", "10.0", "not reached", "at least 8.0"]
    gelu, relu = in_seconds({"gelu": epochs["gelu"], "relu": epochs["relu"]}, 16, dict(relu=100.0, gelu=100.0), 1000)
    assert gelu["over gelu"] == "-" and relu["over gelu"] == "at most 0.1"


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


# ---- the command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "variant"), [
    ([], "source2012"),
    (["--epochs", "2", "--batch", "8", "--precision", "fp32", "--seed", "3"], "source2012"),
    (["--set", "epochs", "2"], "source2012"),
    (["--set", "activation", "leaky_relu"], "source2012+activation=leaky_relu"),
    (["--spec", "paper", "--set", "lr", "1e-3", "--set", "dropout", "0.25"], "paper+dropout=0.25+lr=0.001"),
    (["--set", "lrn", "()", "--set", "spatial_norm", "(1, 3)"], "source2012+lrn=none+spatial_norm=1,3"),
    (["--set", "init_std", str((0.02,) * 8), "--set", "init_bias", str((0.12345,) * 8), "--set", "flip", "False",
      "--set", "colour_end", "0.54321"], "source2012+4-changes"),
])  # fmt: skip
def test_train_names_a_variant_after_the_settings_that_differ(arguments, variant, monkeypatch, capsys):
    from alexold import __main__, findings, study

    seen = {}
    made = load("sample", 32)
    monkeypatch.setattr("alexold.data.load", lambda *_: made)

    def run(_study, variant, spec, *_args, **_kwargs):
        seen.update(variant=variant, spec=spec)
        return type("Run", (), {"folder": "folder"})

    monkeypatch.setattr(study, "run", run)
    monkeypatch.setattr(findings, "view_errors", lambda run: [])
    assert __main__.main(["train", *arguments]) == 0
    assert seen["variant"] == variant and not set(variant) & set('/\\ :*?"<>|()')
    name = study.run_name("04_train", variant, seen["spec"], "sample", 0, made[0])
    assert len(name) < 200
    assert "top-5" not in capsys.readouterr().out


def test_train_leaves_out_the_top5_error_of_few_classes(monkeypatch, capsys):
    from alexold import __main__, findings, study

    class Few:
        classes = ("ant", "bee", "cat")

    monkeypatch.setattr("alexold.data.load", lambda *_: (Few, Few))
    monkeypatch.setattr(study, "run", lambda *_args, **_kwargs: type("Run", (), {"folder": "folder"}))
    monkeypatch.setattr(findings, "view_errors", lambda run: [])
    assert __main__.main(["train"]) == 0
    assert capsys.readouterr().out == "top-5 error: -, fewer than six classes\nfolder\n"
