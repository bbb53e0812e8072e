"""Effects from rows whose truth is known: measures, ratios, the regime, diverged runs; views, averages, halving."""

import math

import numpy as np
import pytest
import torch
from test_verdicts import bits, synthetic

from alexold import effects, findings, measures, train
from alexold.config import SOURCE2012
from alexold.data import load
from alexold.layers import Dropout
from alexold.nets import build
from alexold.verdicts import AGREES, CANNOT_TELL, LARGER, NO_EVIDENCE, REGIME, Estimate, judged


def row(variant, seed, error=0.5, training=0.2, **more):
    """A row with this test error exactly, on 1,000 images."""
    wrong = np.arange(1000) < round(1000 * error)
    return synthetic(variant, seed, np.random.default_rng(7).permutation(wrong), training) | more


def by_name(found):
    return {r["name"]: r for r in effects.variant_effects(found)}


def test_the_effect_is_the_difference_of_means_whatever_the_seeds():
    found = [row("baseline", s, 0.30 + 0.01 * s) for s in range(4)]
    found += [row("no-lrn", s, 0.32 + 0.01 * s) for s in (5, 7)]
    seen = by_name(found)["no-lrn: test error"]
    assert seen["value"] == pytest.approx(38.0 - 31.5) and seen["n"] == (2, 4)
    assert seen["claim"] == "lrn" and seen["log"] == 1.37 and ("Mishkin 2017", -0.1) in seen["later"]


def test_scatter_is_pooled_over_all_arms():
    base = [row("baseline", s, e) for s, e in enumerate((0.30, 0.30))] + [row("no-lrn", s, 0.31) for s in (0, 1)]
    wild = [row("one-tower", s, e) for s, e in enumerate((0.2, 0.4, 0.6))]
    alone, beside = (by_name(found)["no-lrn: test error"] for found in (base, base + wild))
    assert alone["estimate"].seeds == 0 and beside["estimate"].seeds > 0 and beside["estimate"].df == 1 + 1 + 2
    assert beside["high"] - beside["low"] > alone["high"] - alone["low"]


def test_overfitting_is_measured_in_eval_mode_on_both_sides():
    found = [row("baseline", s, 0.32, 0.25) for s in (0, 1)] + [row("no-dropout", s, 0.33, 0.1) for s in (0, 1)]
    for one in found:
        one["history"][-1]["train_top1"] = 0.9  # the running error has no part in it
    seen = by_name(found)["no-dropout: overfitting"]
    assert seen["value"] == pytest.approx(23 - 7) and seen["claim"] == "dropout-overfit" and seen["verdict"] == AGREES
    found[0].pop("training")
    assert "no-dropout: overfitting" not in by_name(found)


def test_below_the_gate_no_claim_about_regularisation_is_judged():
    found = [row("baseline", s, 0.30, 0.26) for s in (0, 1)]
    found += [row("no-lrn", s, 0.4) for s in (0, 1)] + [row("one-tower", s, 0.4) for s in (0, 1)]
    seen = by_name(found)
    assert effects.regime(found[:2]) == pytest.approx(4.0)
    assert seen["no-lrn: test error"]["verdict"] == REGIME and seen["one-tower: test error"]["verdict"] != REGIME


def test_rows_without_a_training_error_in_eval_mode_have_no_known_regime():
    found = [row("baseline", s, 0.5, 0.1) for s in (0, 1)] + [row("no-lrn", s, 0.6) for s in (0, 1)]
    found[1].pop("training")
    assert effects.regime(found[:2]) is None and by_name(found)["no-lrn: test error"]["verdict"] == REGIME


def test_rows_without_hits_count_images_as_if_arms_had_different_ones():
    found = [row(v, s, e) for v, e in (("baseline", 0.3), ("no-lrn", 0.4)) for s in (0, 1)]
    same = by_name(found)["no-lrn: test error"]["estimate"]
    for one in found:
        one.pop("hits")
    other = by_name(found)["no-lrn: test error"]["estimate"]
    assert other.images == pytest.approx(1e4 * (0.3 * 0.7 + 0.4 * 0.6) / 1000) and other.images > same.images


def timed(variant, seed, losses, lrs=None):
    rates = lrs or [0.01] * len(losses)
    history = [{"plain_loss": loss, "lr": lr, "train_top1": 0.5} for loss, lr in zip(losses, rates, strict=True)]
    return row(variant, seed) | {"history": history}


def test_epochs_to_a_loss_at_a_constant_rate_are_a_ratio_of_the_baseline_to_the_variant():
    slow, fast = (4.0, 3.5, 3.0, 2.75, 2.25), (3.5, 2.0)  # to 2.5: after 4.5 epochs, and after 1 + 1/1.5
    found = [timed("baseline", s, slow) for s in (0, 1)] + [timed("no-dropout", s, fast) for s in (0, 1)]
    seen = by_name(found)["no-dropout: epochs to a training loss"]
    assert seen["value"] == pytest.approx(4.5 / (1 + 1 / 1.5)) and seen["unit"] == "x" and seen["bound"] == ""
    late = [timed("baseline", s, slow, [0.01] * 4 + [0.001]) for s in (0, 1)]  # reached after the rate had fallen
    seen = by_name(late + found[2:])["no-dropout: epochs to a training loss"]
    assert seen["value"] == pytest.approx(4 / (1 + 1 / 1.5)) and seen["bound"] == "at least"


def test_early_learning_is_the_other_way_round():
    found = [timed("baseline", s, (3.5, 3.0)) for s in (0, 1)] + [timed("bias-zero", s, (4.5, 3.5)) for s in (0, 1)]
    seen = by_name(found)["bias-zero: epochs to an early training loss"]
    guess = math.log(100)
    assert seen["value"] == pytest.approx(1.5 / ((guess - 4.0) / (guess - 3.5))) and seen["claim"] == "bias-one"


def test_a_variant_is_compared_with_the_one_it_names():
    found = [row("baseline", s, 0.5) for s in (0, 1)] + [row("wide-fc", s, 0.4, 0.2) for s in (0, 1)]
    found += [row("wide-fc-no-dropout", s, 0.45, 0.1) for s in (0, 1)]
    assert by_name(found)["wide-fc-no-dropout: test error"]["value"] == pytest.approx(5.0)


def test_the_claim_about_every_layer_needs_all_five_and_takes_the_least():
    found = [row("baseline", s, 0.3) for s in (0, 1)]
    for i in range(1, 6):
        assert not any(r["claim"] == "remove-conv" for r in effects.variant_effects(found))
        found += [row(f"no-conv{i}", s, 0.3 + 0.01 * i) for s in (0, 1)]
    (least,) = [r for r in effects.variant_effects(found) if r["claim"] == "remove-conv"]
    assert least["value"] == pytest.approx(1.0) and "no-conv1" in least["name"]


def test_runs_that_diverged_are_counted_and_have_no_part_in_effects():
    lost = [row(v, s) | {"metrics": {}, "history": []} for v, s in (("no-lrn", 2), ("tanh", 0), ("baseline", 3))]
    found = [row("baseline", s, 0.30) for s in range(3)] + [row("no-lrn", s, 0.31) for s in (0, 1)]
    seen = by_name(lost + found)["no-lrn: test error"]
    assert seen["n"] == (2, 3) and seen["verdict"].endswith("; 2 diverged")
    assert not any(name.startswith("tanh") for name in by_name(lost + found))
    assert effects.ended(lost + found) == found


def test_ten_views_against_a_paired_computation():
    rng, found, gains = np.random.default_rng(0), [], []
    for seed in range(3):
        centre = rng.random(1000) < 0.4
        ten = centre & (rng.random(1000) < 0.9)
        one = synthetic("baseline", seed, ten)
        hits = {"top1": bits(~centre), "top5": bits(~centre)}
        rate = {"top1": float(centre.mean()), "top5": float(centre.mean()), "n": 1000}
        found.append(one | {"metrics": one["metrics"] | {"centre": rate}, "hits": one["hits"] | {"centre": hits}})
        gains.append(100.0 * (centre * 1 - ten))
    seen = findings.ten_views(found)[0]
    runs = np.mean(gains, axis=1)
    assert seen["value"] == pytest.approx(np.mean(runs)) and seen["n"] == (3,)
    pairs = [np.cov(gains[i], gains[j])[0, 1] / 1000 for i in range(3) for j in range(i)]  # what the images share
    expected = runs.var(ddof=1) / 3 + max(0, np.mean(pairs))
    assert seen["estimate"].se == pytest.approx(math.sqrt(expected), rel=0.02)


def test_averages_of_fewer_than_five_nets_cannot_tell():
    rng = np.random.default_rng(1)
    nets = [row("baseline", s, 0.5) | {"started": str(s)} for s in range(5)]
    together = rng.random(1000) < 0.3
    for count, expected in ((4, CANNOT_TELL), (5, AGREES)):
        run = [{"variant": "baseline", "seed": s, "started": str(s)} for s in range(count)]
        values = {"ten": {"hits": {"top1": bits(~together), "top5": bits(~together)}}}
        about = {"study": "measures", "kind": "ensemble", "scale": "miniimagenet", "runs": run, "n": 1000}
        about["nets"] = count
        top1 = findings.ensembles([about | {"values": values}], nets)[0]
        assert top1["value"] == pytest.approx(100 * (0.5 - together.mean()))
        assert (top1["verdict"] == CANNOT_TELL) == (expected == CANNOT_TELL)


def test_of_several_averages_that_of_the_most_nets_counts():
    nets = [row("baseline", s, 0.5) | {"started": str(s)} for s in range(6)]
    made = []
    for count in (3, 6):
        run = [{"variant": "baseline", "seed": s, "started": str(s)} for s in range(count)]
        hits = {"top1": bits(np.arange(1000) % 10 < 7), "top5": bits(np.ones(1000, bool))}
        made.append({"study": "measures", "kind": "ensemble", "scale": "miniimagenet", "runs": run, "n": 1000,
                     "nets": count, "values": {"ten": {"hits": hits}}})  # fmt: skip
    for order in (made, made[::-1]):
        assert {r["n"] for r in findings.ensembles(order, nets)} == {(6,)}
        assert {r["n"] for r in findings.ensembles(order, nets[:5])} == {(3,)}  # not all of the six are looked at
        assert findings.ensembles(order, nets[:2]) == []


@pytest.mark.parametrize(
    ("bound", "claim", "value", "expected"),
    [
        ("", "relu-speed", 9.0, LARGER),
        ("at least", "relu-speed", 9.0, LARGER),
        ("at least", "relu-speed", 6.0, CANNOT_TELL),  # it may be more
        ("at least", "relu-speed", 3.0, CANNOT_TELL),
        ("at least", "bias-one", 3.0, AGREES),
        ("at most", "bias-one", 3.0, CANNOT_TELL),
        ("unknown", "relu-speed", 6.0, CANNOT_TELL),
    ],
)
def test_a_bound_shows_only_what_a_bound_can_show(bound, claim, value, expected):
    estimate = Estimate(math.log(value), 0.01**2, 0.0, 4, (3, 3))
    found = {"value": value, "low": value, "high": value, "unit": "x", "bound": bound}
    assert judged(found, claim, "cifar10", estimate)["verdict"] == expected


def test_rows_that_the_protocol_does_not_list_get_no_verdict():
    found = [row("baseline", s, 0.5) for s in (0, 1)] + [row("no-lrn", s, 0.6) for s in (0, 1)]
    assert {r["verdict"] for r in effects.variant_effects(found, evidence=False)} == {NO_EVIDENCE}
    assert {r["verdict"] for r in findings.ten_views(found[:2], evidence=False)} == {NO_EVIDENCE}


def test_the_regime_is_that_of_the_arm_that_a_variant_is_compared_with():
    found = [row("baseline", s, 0.5, 0.2) for s in (0, 1)] + [row("wide-fc", s, 0.4, 0.39) for s in (0, 1)]
    found += [row("wide-fc-no-dropout", s, 0.45, 0.1) for s in (0, 1)]
    assert by_name(found)["wide-fc-no-dropout: overfitting"]["verdict"] == REGIME


# ---- halving ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return build(SOURCE2012.replace(input=128, width=0.0625, classes=10, units=(64, 32))).eval()


def test_the_halved_net_of_one_hidden_layer_is_the_geometric_mean_exactly(small):
    """For a single layer of dropout before a softmax the paper's statement is no approximation: all 2^n masks."""
    head = torch.nn.Sequential(Dropout(0.5), torch.nn.Linear(6, 4)).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    masks = torch.tensor([[(i >> k) & 1 for k in range(6)] for i in range(64)], dtype=torch.float64)
    logs = torch.stack([head[1](x * mask).log_softmax(1) for mask in masks])
    torch.testing.assert_close(logs.mean(0).softmax(1), head.eval()(x).softmax(1))
    drawn = measures._dropout_nets(list(head), x, 20_000)
    assert (drawn.mean(0).softmax(1) - head.eval()(x).softmax(1)).abs().max() < 0.01


def test_distances_of_halving_against_a_loop(small):
    _, test = load("sample", 146)
    images = test.subset(range(6))
    ours = measures.halved(small, images, nets=8)
    x = train.predict(small, images, SOURCE2012.replace(input=128, precision="fp32", classes=10))
    assert ours["top1"]["halved"] == pytest.approx((x.argmax(1) != images.labels).mean())
    assert ours["distance"]["single"] > 0 and set(ours["distance"]) == {"halved", "arithmetic", "single", "sampling"}
    value, low, high = ours["gain"]
    assert low <= value <= high and value == pytest.approx(ours["distance"]["single"] - ours["distance"]["halved"])
    assert not any(stage.training for stage in small if isinstance(stage, Dropout))
