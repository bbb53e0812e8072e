"""Variants change exactly what they name; blocks list exactly the runs of the protocol."""

import json
from itertools import product

import pytest

from alexlib.config import CONFIGS, SCALES
from alexlib.study import variants
from alexlib.study.variants import BLOCKS, VARIANTS, baseline, block_of, chosen_rate, proof

SMALL = {"width": 0.125, "input": 64}
BASELINES = next(block for block in BLOCKS if block.id == "baseline")
DEPTH = next(block for block in BLOCKS if block.id == "depth")


@pytest.mark.parametrize(("scale", "fields"), [("sample", SMALL), ("cifar10", {})])
def test_every_variant_differs_in_what_it_names_and_in_nothing_else(scale, fields):
    base = baseline(scale, **fields)
    made = variants.variants(base)
    exists = {n: (v.changes if scale == "sample" else v.small) for n, v in VARIANTS.items()}
    assert list(made) == ["baseline", *(n for n, changes in exists.items() if changes is not None)]
    found = {name: set(proof(base, config)) for name, config in made.items()}
    assert found == {"baseline": set()} | {
        name: set(VARIANTS[name].differs) for name in made if name != "baseline"
    }


def test_a_change_of_one_value_is_seen_and_no_change_is_not():
    base = baseline("sample", **SMALL)
    assert proof(base, base.replace(colour_std=base.augment.colour_std)) == {}
    changed = proof(base, base.replace(dropout=0.4))
    assert list(changed) == ["dropout"] and changed["dropout"][0] != changed["dropout"][1]


def test_augmentation_as_it_is_seen():
    """Windows differ if they are cropped or mirrored at random, tints if there is colour noise."""
    for crop, flip, colour in product(("random", "centre"), (True, False), ("root", "none")):
        config = baseline("cifar10", crop=crop, flip=flip, colour=colour)
        seen = variants.differences(config)
        assert seen["windows"] == (crop == "random" or flip)
        assert seen["colours"] == (colour != "none")


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
    return row | {"config": config, "history": [], "metrics": {}} | about


OTHERS = [
    *({"data": {"train": train, "test": "other"}} for train in ("other", BASELINES.data[0])),
    *({"seed": 6}, {"variant": "mine"}, {"study": "04_train"}, {"scale": "imagenette128"}),
    *({"epochs": 25}, {"width": 0.25}, {"lr": 0.02}, {"precision": "fp32"}),
]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_a_block_lists_no_row_that_differs_in_anything(changes):
    fields = {key: value for key, value in changes.items() if key in BASELINES.base.fields}
    about = {key: value for key, value in changes.items() if key not in fields}
    config = json.loads(json.dumps(BASELINES.base.replace(**fields).as_dict()))
    assert block_of(row_of(BASELINES)) is BASELINES
    assert block_of(row_of(BASELINES) | {"config": config} | about) is None


def check_of(block, variant, lr, **about):
    return row_of(block, variant, lr, study="rates", of=block.study, epochs=block.check) | about


def test_rate_checks_are_listed_at_three_rates_with_seed_0():
    for lr, listed in ((0.005, True), (0.01, True), (0.02, True), (0.03, False)):
        assert (block_of(check_of(DEPTH, "no-conv3", lr)) is DEPTH) == listed
    assert block_of(check_of(DEPTH, "no-conv3", 0.01, seed=1)) is None
    also = check_of(DEPTH, "baseline", 0.02)  # the check belongs to DEPTH, the run does not
    assert block_of(also) is DEPTH and block_of(also | {"study": DEPTH.study}) is None


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
        check_of(DEPTH, "no-conv3", lr)
        | ({"history": [{"val_top1": 1.0}, {"val_top1": e}]} if e else {"diverged": "NaN"})
        for lr, e in errors.items()
    ]
    assert chosen_rate(DEPTH, "no-conv3", rows) == chosen
    assert chosen_rate(DEPTH, "no-conv4", rows) == 0.01  # it has no checks
    assert chosen_rate(DEPTH, "no-conv3", [row | {"epochs": 1} for row in rows]) == 0.01


def test_loss_targets_of_the_protocol_and_of_other_scales():
    targets = [variants.loss_target("miniimagenet", 4.6, early) for early in (False, True)]
    targets += [variants.loss_target("sample", 2.0, early) for early in (False, True)]
    assert targets == pytest.approx([2.5, 4.0, 1.1, 1.74])
