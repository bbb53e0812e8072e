"""The settings: two readings, every difference alone, clear errors."""

import dataclasses
import json

import pytest

from alexold import config
from alexold.config import FIGURE1, PAPER, SOURCE2012, spec_at


def test_field_names_are_unique_across_the_parts():
    for spec in (PAPER, FIGURE1):
        names = [f.name for part in config.PARTS for f in dataclasses.fields(getattr(spec, part))]
        assert len(names) == len(set(names)) == len(spec.fields)


def test_paper_is_the_text():
    net, train = PAPER.net, PAPER.train
    assert (net.lrn_k, net.lrn_n, net.lrn_alpha, net.lrn_beta) == (2, 5, 1e-4, 0.75)
    assert net.init_std == (0.01,) * 8
    assert (train.batch, train.momentum, train.decay, train.lr) == (128, 0.9, 0.0005, 0.01)
    assert (train.bias_lr_factor, train.bias_decay, train.schedule) == (1, True, "plateau")


def test_each_difference_between_the_readings_can_be_set_alone():
    changes = PAPER.changes(SOURCE2012)
    assert {"lrn_before_relu", "lrn_alpha", "spatial_norm", "init_std", "bias_lr_factor", "bias_decay"} <= set(changes)
    assert {"conv1_freeze", "colour_end", "colour", "divide", "chunk", "schedule"} <= set(changes)
    for field, (_, theirs) in changes.items():
        assert set(PAPER.replace(**{field: theirs}).changes(PAPER)) == {field}
    everything = {field: theirs for field, (_, theirs) in changes.items()}
    assert PAPER.replace(**everything).changes(SOURCE2012) == {}


def test_specs_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.net.width = 0.5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dropot": 0.2}, ["dropot", "did you mean 'dropout'", "momentum"]),
        ({"activation": "rel"}, ["activation", "'relu'", "'scaled_tanh'"]),
        ({"dropout": 1.5}, ["dropout", "0 to 0.99"]),
        ({"dropout": "half"}, ["dropout", "float"]),
        ({"batch": 2.5}, ["batch", "int"]),
        ({"batch": True}, ["batch", "int"]),
        ({"towers": 3}, ["towers", "1, 2"]),
        ({"kernels": (96, 256)}, ["kernels", "5 values"]),
        ({"omit": (8,)}, ["omit", "1, 2, 3, 4, 5, 6, 7"]),
        ({"schedule": "plato"}, ["schedule", "'four-step'"]),
        ({"epochs": -1}, ["epochs", "from 0"]),
    ],
)
def test_wrong_fields_and_values_list_the_valid_ones(fields, words):
    with pytest.raises(ValueError) as error:
        PAPER.replace(**fields)
    assert all(word in str(error.value) for word in words), error.value


def test_unknown_spec_and_scale_list_the_valid_ones():
    with pytest.raises(ValueError, match="paper, source2012"):
        spec_at("papr", "sample")
    with pytest.raises(ValueError, match="sample, cifar10, imagenette"):
        spec_at("paper", "cifar100")


def test_a_scale_without_alexnet_says_which_ones_have_it():
    with pytest.raises(ValueError, match="AlexNet does not fit the 32-pixel pictures of scale 'cifar10'; they fit: sa"):
        spec_at("paper", "cifar10")
    with pytest.raises(ValueError, match=r"CIFAR nets do not fit .*'imagenette'; they fit: sample, cifar10$"):
        spec_at(FIGURE1, "imagenette")


def test_a_spec_survives_its_row():
    spec = spec_at("source2012", "sample", omit=(3,), dropout=0.25)
    settings = json.loads(json.dumps(spec.as_dict()))
    assert config.spec_from(settings) == spec
    del settings["net"]["lrn_k"], settings["train"]["patience"]
    small = spec_at(FIGURE1, "sample", stack="local", target=0.5)
    assert config.spec_from(json.loads(json.dumps(small.as_dict()))) == small
    assert config.spec_from(settings) == spec, "a field that an old row does not know has its default"


def test_scale_changes_come_before_the_callers():
    assert spec_at("paper", "imagenette").net.classes == 10
    assert spec_at("paper", "imagenette", epochs=7).train.epochs == 7
    assert spec_at("paper", "imagenet").net == PAPER.net


def test_rows_name_every_field_with_its_meaning():
    rows = SOURCE2012.rows()
    assert [r["field"] for r in rows] == list(SOURCE2012.fields)
    assert all(len(r["meaning"]) > 7 for r in rows)
