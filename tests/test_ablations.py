"""Variants differ as named and in nothing else; effects and verdicts from rows whose truth is known."""

import math

import numpy as np
import pytest
import torch

from alexlib import diagnostics, findings, stats, study
from alexlib.ablations import VARIANTS, baseline, evidence, proof, variants
from alexlib.claims import CLAIMS
from alexlib.config import CIFAR13, SCALES, spec_at
from alexlib.data import load
from alexlib.layers import LocalResponseNorm
from alexlib.nets import build, trace
from alexlib.optim import learning_rates, make_optimizer

SMALL = {"width": 0.125, "input": 128}


@pytest.mark.parametrize(("scale", "fields"), [("sample", SMALL), ("cifar10", {})])
def test_every_variant_differs_as_it_says_and_in_nothing_else(scale, fields):
    base = baseline(scale, **fields)
    specs = variants(base)
    expected = [v for v in VARIANTS if (v.small if scale == "cifar10" else v.changes) is not None]
    assert list(specs) == ["baseline", *(v.name for v in expected)]
    for variant in expected:
        assert set(proof(base, specs[variant.name])) == set(variant.differs), variant.name


def test_a_variant_that_changes_nothing_is_seen():
    base = baseline("sample", **SMALL)
    assert proof(base, base.replace(colour_std=base.augment.colour_std)) == {}
    assert proof(base, base.replace(dropout=0.4)).keys() == {"dropout"}


@pytest.mark.parametrize(("changes", "windows", "colours"), [
    ({}, True, True), ({"crop": "centre"}, True, True), ({"flip": False}, True, True),
    ({"colour": "none"}, True, False),
    ({"crop": "centre", "flip": False}, False, True), ({"colour_std": 0.0}, True, False),
])  # fmt: skip
def test_evidence_of_pictures(changes, windows, colours):
    seen = evidence(baseline("sample", **SMALL, **changes))
    assert (seen["windows"], seen["colours"]) == (windows, colours)


def test_groups():
    base = baseline("sample", **SMALL)
    assert list(variants(base, "dropout")) == ["baseline", "no-dropout", "dropout-quarter"]
    assert list(variants(base, "dropout, decay")) == ["baseline", "no-dropout", "dropout-quarter", "no-decay"]
    with pytest.raises(ValueError, match="group 'lnr': expected all, or some out of lrn, dropout, augmentation"):
        variants(base, "lnr")
    with pytest.raises(
        ValueError, match=r"'depth' has no variant of this net: .* lrn, augmentation, decay, activation"
    ):
        variants(baseline("cifar10"), "depth")


def test_every_claim_of_a_variant_is_in_the_register_and_one_of_this_notebook():
    notebook = {claim.id: claim.notebook for claim in CLAIMS}
    named = {claim for v in VARIANTS for claim, _ in (*v.claims, *v.small_claims)}
    assert {notebook[claim] for claim in named - {"crops-overfit"}} == {"03_ablations"}


def test_the_baseline_of_a_scale():
    assert baseline("cifar10").net.lrn and baseline("cifar10").net.stack == "local"
    assert baseline("sample", "paper", epochs=3) == spec_at("paper", "sample", epochs=3)
    assert baseline("imagenette128").net.input == 128 and SCALES["imagenette128"].side == 144


def test_the_side_follows_the_input():
    for scale in ("sample", "imagenette", "imagenette128"):
        assert SCALES[scale].side_for(baseline(scale)) == SCALES[scale].side
    assert SCALES["sample"].side_for(baseline("sample", input=128)) == 146


def test_the_layers_of_128_pixels_end_in_3x3_maps_with_and_without_overlap():
    for overlapping in (True, False):
        stages = {row["stage"]: row["output"] for row in trace(baseline("imagenette128", overlapping=overlapping))}
        assert stages["pool5"] == (256, 3, 3)


def test_without_conv5_its_pool_stays():
    stages = {row["stage"]: row["output"] for row in trace(baseline("imagenette", omit=(5,)))}
    assert stages["pool5"] == (384, 6, 6) and "conv5" not in stages and "relu5" not in stages


# ---- the 13 % net ---------------------------------------------------------------------------------------------


def test_lrn_of_the_cifar_net_stands_as_in_the_11_percent_file():
    names = [row["stage"] for row in trace(CIFAR13.replace(lrn=True))]
    order = ["conv1", "relu1", "pool1", "lrn1", "conv2", "relu2", "lrn2", "pool2", "local3"]
    assert names[: len(order)] == order
    norms = [stage for stage in build(CIFAR13.replace(lrn=True)) if isinstance(stage, LocalResponseNorm)]
    assert {(n.n, n.k, n.alpha, n.beta) for n in norms} == {(9, 1.0, 1e-3 / 9, 0.75)} and len(norms) == 2
    torchs = torch.nn.LocalResponseNorm(9, alpha=1e-3, beta=0.75, k=1.0)
    x = 100 * torch.randn(2, 64, 5, 5)
    torch.testing.assert_close(norms[0](x), torchs(x))


def test_decay_spares_convolutions_where_it_is_told_to():
    model = build(CIFAR13.replace(width=0.25))
    groups = make_optimizer(model, CIFAR13.train).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in model.named_parameters()}
    weights = {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc5": 0.004}
    assert found == {
        f"{n}.{what}": d if what == "weight" else 0 for n, d in weights.items() for what in ("weight", "bias")
    }
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rate[id(p)] for name, p in model.named_parameters() if name.endswith("weight")} == {0.001}


def test_the_late_schedule_keeps_the_biases():
    t = CIFAR13.train
    found = [learning_rates(t, [{}] * epoch) for epoch in (0, 139, 140, 149, 150, 159)]
    assert [w for w, _ in found] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert {b for _, b in found} == {2e-3}


# ---- effects from rows ----------------------------------------------------------------------------------------


def row(variant, seed, test, train=0.2, centre=None, held_out=(0.9, 0.5, 0.4), scale="imagenette"):
    curves = [{"train_top1": train, "val_top1": v} for v in held_out]
    metrics = {"ten": {"top1": test}, "centre": {"top1": test + 0.02 if centre is None else centre}}
    return {"variant": variant, "seed": seed, "scale": scale, "metrics": metrics, "history": curves,
            "config": {"net": {}}}  # fmt: skip


def by_name(found):
    return {r["name"]: r for r in findings.effects(found)}


def test_known_effects_no_effect_and_a_missing_seed():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.001, (5, 6))
    found = [row("baseline", s, 0.30 + noise[0, s]) for s in range(6)]
    found += [row("no-lrn", s, 0.315 + noise[1, s]) for s in range(6)]
    found += [row("one-tower", s, 0.305 + noise[2, s]) for s in range(6)]
    found += [row("no-colour-noise", s, 0.30 + noise[0, s] + (-1) ** s * 0.002) for s in range(6)]
    found += [row("non-overlapping", s, 0.295 + noise[3, s]) for s in (0, 1, 2, 4, 5)]
    found += [row("lrn-conv1-only", 3, 0.31)]
    seen = by_name(found)
    verdicts = {name.split(":")[0]: r["verdict"] for name, r in seen.items() if r["measure"] == "test error"}
    assert verdicts == {
        "no-lrn": "reproduced",  # 1.5 points, the paper 1.4
        "one-tower": "direction only",  # 0.5 points, the paper 1.7
        "no-colour-noise": "inconclusive",
        "non-overlapping": "not reproduced",  # -0.5, the paper 0.4
        "lrn-conv1-only": "inconclusive",  # one seed alone
    }
    assert seen["non-overlapping: test error"]["n"] == 5 and seen["lrn-conv1-only: test error"]["n"] == 1
    effect = seen["no-lrn: test error"]
    by_hand = stats.over_seeds([100 * (0.015 + noise[1, s] - noise[0, s]) for s in range(6)])
    assert (effect["value"], effect["low"], effect["high"]) == pytest.approx(by_hand)
    assert effect["log"] == 1.37 and ("Mishkin 2017", -0.1) in effect["later"]


def test_measures_of_the_claims_about_overfitting_and_training_error():
    found = [row("baseline", s, 0.30, train=0.25, centre=0.32) for s in (0, 1)]
    found += [row("no-dropout", s, 0.31, train=0.10 - 0.01 * s, centre=0.33) for s in (0, 1)]
    found += [row("no-decay", s, 0.30, train=0.27 + 0.01 * s) for s in (0, 1)]
    seen = by_name(found)
    assert seen["no-dropout: overfitting"]["value"] == pytest.approx((23 + 24) / 2 - 7)
    assert seen["no-decay: training error"]["value"] == pytest.approx(2.5)
    assert seen["no-decay: training error"]["claim"] == "weight-decay"
    assert seen["no-decay: test error"]["verdict"] == "no claim of the paper"


def test_epochs_to_an_error_are_a_ratio_paired_by_seed():
    slow, fast = (0.9, 0.8, 0.7, 0.6, 0.5), (0.8, 0.6, 0.45, 0.5, 0.5)
    found = [row("baseline", s, 0.3, held_out=slow) for s in (0, 1)]
    found += [row("no-dropout", 0, 0.3, held_out=fast), row("no-dropout", 1, 0.3, held_out=slow)]
    seen = by_name(found)["no-dropout: epochs to an error"]
    ratios = [5 / (2 + 0.1 / 0.15), 1.0]  # both reach .5: after 5 epochs, and between the second and the third
    assert seen["value"] == pytest.approx(math.sqrt(ratios[0] * ratios[1])) and seen["n"] == 2
    assert seen["verdict"] == "inconclusive" and seen["unit"] == "x"
    no_held_out = [row(v, 0, 0.3, held_out=(None,)) for v in ("baseline", "no-dropout")]
    assert "no-dropout: epochs to an error" not in by_name(no_held_out)


def test_a_sample_run_claims_nothing():
    found = [row(v, s, 0.3, scale="sample") for v in ("baseline", "no-lrn", "no-dropout") for s in (0, 1)]
    assert {r["verdict"] for r in findings.effects(found)} == {
        "sample run, no scientific claim",
        "no claim of the paper",
    }


def test_runs_that_diverged_are_counted_and_have_no_part_in_effects():
    lost = [row(v, s, 0.3) | {"metrics": {}, "history": []} for v, s in (("no-lrn", 2), ("tanh", 0), ("baseline", 3))]
    found = [row("baseline", s, 0.30) for s in range(3)] + [row("no-lrn", s, 0.31 + 0.001 * s) for s in (0, 1, 3)]
    found += [row("no-dropout", 0, 0.32)]
    seen = by_name(lost + found)
    effect = seen["no-lrn: test error"]
    assert effect["value"] == pytest.approx(1.05) and effect["n"] == 2  # seeds 0 and 1
    assert effect["verdict"] == "reproduced; 2 diverged"  # seed 2 itself, the baseline in seed 3
    assert seen["no-dropout: test error"]["verdict"] == "no claim of the paper; 1 diverged"
    assert not any(name.startswith("tanh") for name in seen)
    assert [r["verdict"] for r in findings.effects(found) if r["variant"] == "no-lrn"] == ["reproduced"]
    assert findings.ended(lost + found) == found


def test_the_intervals_of_effects_cover_the_truth():
    rng, hits, runs = np.random.default_rng(1), 0, 400
    for _ in range(runs):
        shared = rng.normal(0, 0.01, 3)  # what a seed does to both
        found = [row("baseline", s, 0.3 + shared[s] + rng.normal(0, 0.003)) for s in range(3)]
        found += [row("no-lrn", s, 0.314 + shared[s] + rng.normal(0, 0.003)) for s in range(3)]
        effect = findings.effect(found, "no-lrn", findings.test_error)
        hits += effect["low"] <= 1.4 <= effect["high"]
    assert 0.92 < hits / runs < 0.98


def test_two_claims_without_training(monkeypatch):
    labels = np.arange(40) % 4
    rng = np.random.default_rng(2)
    nets_ = [{"ten": rng.dirichlet(np.ones(4), 40).astype(np.float16)} for _ in range(3)]
    found = [row("baseline", s, 0.5, centre=0.52 + 0.01 * s) for s in range(3)] + [row("no-lrn", 0, 0.5)]
    found += [row("baseline", 3, 0.5) | {"metrics": {}}]
    monkeypatch.setattr(findings, "probabilities", lambda r, images: nets_[r["seed"]])
    views, average = findings.without_training(found, None, labels)
    assert views["value"] == pytest.approx(3.0) and (views["n"], views["paper"]) == (3, 1.5)
    single = np.mean([(p["ten"].argmax(1) != labels).mean() for p in nets_])
    together = (sum(p["ten"].astype(np.float64) for p in nets_).argmax(1) != labels).mean()
    assert average["value"] == pytest.approx(100 * (single - together)) and average["n"] == 3
    assert average["low"] <= average["value"] <= average["high"] and average["paper"] == 2.6
    monkeypatch.setattr(findings, "probabilities", lambda r, images: None)
    assert len(findings.without_training(found, None, labels)) == 1


def test_rows_and_probabilities_on_record_are_found_again():
    base = baseline("sample", **SMALL, epochs=1)
    training, test = load("sample", 146)
    few, less = training.subset(range(64)), test.subset(range(20))
    specs = variants(base, "decay")
    assert study.recorded("99_abl", specs, "sample", few) == []
    made = study.grid("99_abl", specs, (0,), "sample", few, less)
    assert study.recorded("99_abl", specs, "sample", few) == made and len(made) == 2
    assert study.recorded("99_abl", {"baseline": base.replace(lr=0.1)}, "sample", few) == []
    kept = study.probabilities(made[0], few)
    assert kept["ten"].shape == (20, 10) and study.probabilities(made[0] | {"seed": 9}, few) is None
    opened = study.opened("99_abl", "baseline", base, "sample", few, less)
    assert opened.row == made[0] and not opened.trained_now
    assert study.opened("99_abl", "baseline", base, "sample", few, less, seed=5) is None


def test_what_goes_through_a_stage():
    model = build(baseline("sample", **SMALL))
    x = torch.randn(2, 3, 128, 128)
    before, after = diagnostics.through(model, "lrn1", x)
    torch.testing.assert_close(before, model.conv1(x))
    torch.testing.assert_close(after, model.lrn1(before))
    assert model.training
