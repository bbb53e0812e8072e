"""Variants change exactly what they name; blocks list exactly the runs of the protocol."""

import json

import pytest

from alexlib.config import CONFIGS, SCALES
from alexlib.study import variants
from alexlib.study.variants import BLOCKS, VARIANTS, baseline, block_of, chosen_rate, proof

SMALL = {"width": 0.125, "input": 64}
BASELINES = next(block for block in BLOCKS if block.id == "baseline")
PARTS = next(block for block in BLOCKS if block.id == "parts")
GRID = next(block for block in BLOCKS if block.id == "grid")


@pytest.mark.parametrize(("scale", "fields"), [("sample", SMALL), ("cifar10", {})])
def test_every_variant_differs_in_what_it_names_and_in_nothing_else(scale, fields):
    base = baseline(scale, **fields)
    made = variants.variants(base)
    found = {name: set(proof(base, config)) for name, config in made.items()}
    named = {name: set(VARIANTS[name].differs) for name in made if name != "baseline"}
    assert found == {"baseline": set()} | named and len(named) == (4 if scale == "cifar10" else 27)


def test_groups_of_variants():
    base = baseline("sample", **SMALL)
    dropout = ["baseline", "no-dropout", "dropout-quarter"]
    assert list(variants.variants(base, "dropout")) == dropout
    assert list(variants.variants(base, "dropout, decay")) == [*dropout, "no-decay"]
    for net, group in ((base, "lnr"), (baseline("cifar10"), "depth")):
        with pytest.raises(ValueError, match="expected all, or some of"):
            variants.variants(net, group)


# ---- the protocol --------------------------------------------------------------------------------


def test_blocks_are_consistent():
    assert len({block.id for block in BLOCKS}) == len(BLOCKS)
    for block in BLOCKS:
        assert block.scale in SCALES and block.config in CONFIGS
        assert block.variants or (block.free and block.seeds)
        configs = [block.config_of(name) for name in block.variants]
        assert len(set(configs)) == len(configs), f"{block.id}: two variants are the same"


def row_of(block, variant="baseline", lr=None, **about):
    """A row that a block lists, unless `about` changes it."""
    data = dict(zip(("train", "test"), block.data, strict=True))
    row = {"study": block.study, "scale": block.scale, "variant": variant, "seed": 0, "data": data}
    config = json.loads(json.dumps(block.config_of(variant, lr).as_dict()))
    row["device"] = "a GPU" if block.gpu else "a processor, 1 threads"
    return row | {"config": config, "history": [], "metrics": {}} | about


def test_a_block_lists_no_row_that_differs_in_anything():
    row, (train, test) = row_of(BASELINES), BASELINES.data
    assert block_of(row) is BASELINES
    others = [{"data": {"train": a, "test": b}} for a, b in (("other", test), (train, "other"))]
    others += [{"seed": 6}, {"variant": "mine"}, {"study": "04_train"}, {"scale": "imagenette128"}]
    others += [{"weights": "alexnet.pth sha256:0"}]
    assert block_of(row | {"device": "a GPU"}) is GRID
    for fields in ({"epochs": 25}, {"width": 0.25}, {"lr": 0.02}, {"precision": "fp32"}):
        config = BASELINES.base.replace(**fields)
        others.append({"config": json.loads(json.dumps(config.as_dict()))})
    assert [other for other in others if block_of(row | other)] == []


def check_of(block, variant, lr, **about):
    return row_of(block, variant, lr, study="rates", of=block.study, epochs=block.check) | about


def test_rate_checks_are_listed_at_three_rates_with_seed_0():
    for lr, listed in ((0.005, True), (0.01, True), (0.02, True), (0.03, False)):
        assert (block_of(check_of(PARTS, "no-conv3", lr)) is PARTS) == listed
    assert block_of(check_of(PARTS, "no-conv3", 0.01, seed=1)) is None


def test_a_search_may_choose_its_free_settings_and_no_others():
    block = next(block for block in BLOCKS if block.free)
    free = block.base.replace(activation="tanh", lr=0.3)
    for config, listed in ((free, True), (free.replace(momentum=0.5), False)):
        row = row_of(block, "any") | {"config": json.loads(json.dumps(config.as_dict()))}
        assert (block_of(row) is block) == listed
    assert block_of(row_of(block, "any", seed=block.seeds)) is None


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({0.005: 0.50, 0.01: 0.51, 0.02: 0.60}, 0.01),  # better by less than two points
        ({0.005: 0.48, 0.01: 0.51, 0.02: 0.60}, 0.005),
        ({0.005: 0.48, 0.01: 0.51, 0.02: 0.47}, 0.02),
        ({0.005: 0.48, 0.01: None, 0.02: 0.47}, 0.02),  # the scale's own rate diverged
        ({0.005: None, 0.01: 0.9, 0.02: None}, 0.01),
    ],
)
def test_another_rate_must_be_better_by_two_points(errors, chosen):
    rows = [
        check_of(PARTS, "no-conv3", lr)
        | ({"history": [{"val_top1": 1.0}, {"val_top1": e}]} if e else {"diverged": "NaN"})
        for lr, e in errors.items()
    ]
    assert chosen_rate(PARTS, "no-conv3", rows) == chosen
    assert chosen_rate(PARTS, "no-conv4", rows) == 0.01  # it has no checks
    assert chosen_rate(PARTS, "no-conv3", [row | {"epochs": 1} for row in rows]) == 0.01
