"""Variants differ as named and in nothing else; their rows are found again."""

import pytest
import torch

from alexold import diagnostics, study
from alexold.ablations import VARIANTS, baseline, evidence, proof, variants
from alexold.claims import CLAIMS
from alexold.config import CIFAR13, SCALES, spec_at
from alexold.data import load
from alexold.layers import LocalResponseNorm
from alexold.nets import build, trace
from alexold.optim import learning_rates, make_optimizer

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
    with pytest.raises(ValueError, match="group 'lnr': expected all, or some out of lrn, dropout, init"):
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


def test_rows_and_probabilities_on_record_are_found_again():
    base = baseline("sample", **SMALL, epochs=1)
    training, test = load("sample", 146)
    few, less = training.subset(range(64)), test.subset(range(20))
    specs = variants(base, "decay")
    assert study.recorded("99_abl", specs, "sample", few) == []
    made = study.grid("99_abl", specs, (0,), "sample", few, less)
    assert study.recorded("99_abl", specs, "sample", few) == made and len(made) == 2
    assert study.recorded("99_abl", {"baseline": base.replace(lr=0.1)}, "sample", few) == made[:1]  # whatever its rate
    assert study.recorded("99_abl", {"baseline": base.replace(momentum=0.1)}, "sample", few) == []
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
