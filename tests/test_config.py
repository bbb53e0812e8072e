"""Configs against the paper's data, scales against their table, invalid values, rows on record."""

import json
import math
import tomllib

import numpy as np
import pytest

from alexlib import config, paper
from alexlib.config import CIFAR13, FIGURE1, PAPER, ROOT, SCALES, SOURCE2012, config_at, config_from


def values(some: config.Config) -> dict:
    return {row["field"]: row["value"] for row in some.table()}


def test_paper_has_the_numbers_of_the_text():
    found, constants = values(PAPER), paper.CONSTANTS
    shared = set(found) & set(constants) - {"init_bias", "crop"}
    assert {"lrn_k", "lrn_n", "lrn_alpha", "lrn_beta", "dropout", "decay", "lr"} <= shared
    stated = {name: constants[name].value for name in shared}
    assert stated | {"init_std": (stated["init_std"],) * 8} == {
        name: found[name] for name in shared
    }
    assert found["input"] == constants["crop"].value
    assert found["kernels"] + found["units"] == tuple(s[0] for s in paper.LAYERS.output[:7])
    assert found["init_bias"] == tuple(paper.LAYERS.bias_init)


def test_source2012_has_the_numbers_of_the_source():
    ends = {setting: epoch for epoch, setting, value in paper.RUN_145 if value == 0}
    rates = {kind: schedule["start"] for kind, schedule in paper.FOUR_STEP.items()}
    found = values(SOURCE2012)
    assert found["colour_end"] == ends["colour noise"] / ends["stop"]
    assert found["conv1_freeze"] == ends["conv1 lr"] / ends["stop"]
    assert found["init_std"] == tuple(paper.LAYERS.init_std_source)
    assert rates == {"weights": found["lr"], "biases": found["lr"] * found["bias_lr_factor"]}


@pytest.mark.parametrize("name", SCALES)
def test_config_at_has_the_fields_of_the_scale(name):
    entry = tomllib.loads((config.TABLES / "scales.toml").read_text())[name]
    for base, key in ((PAPER, "changes"), (SOURCE2012, "changes"), (FIGURE1, "small")):
        if key not in entry:
            with pytest.raises(ValueError, match="sample"):
                config_at(base, name)
            continue
        at = config_at(base, name, batch=None)
        assert values(at) == values(base) | entry[key]
        assert config_at(base, SCALES[name], epochs=7) == at.replace(epochs=7)
        assert SCALES[name].side_for(at) == (entry["side"] if key == "changes" else 32)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="paper, source2012"):
        config_at("papr", "sample")
    with pytest.raises(ValueError, match=", ".join(SCALES)):
        config_at("paper", "cifar100")
    with pytest.raises(ValueError, match=r"'dropout'.*momentum"):
        PAPER.replace(dropot=0.2)


WRONG = [
    ("activation", "rel"),
    ("dropout", 1.5),
    ("dropout", "half"),
    ("lr", math.nan),
    ("batch", 2.5),
    ("batch", True),
    ("epochs", -1),
    ("flip", 1),
    ("kernels", (96, 256)),
    ("units", (4096, True)),
    ("omit", (8,)),
    ("omit", 3),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_invalid_values_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        PAPER.replace(**{name: value})


def test_round_trip_through_json():
    assert PAPER.replace(lr=np.float32(0.5), batch=np.int64(7)) == PAPER.replace(lr=0.5, batch=7)
    for base in (PAPER.replace(omit=[3, 4]), SOURCE2012, CIFAR13):
        changed = base.replace("new", lr=1, width=0.3)
        assert type(changed.train.lr) is float
        settings = json.loads(json.dumps(changed.as_dict()))
        assert config_from(settings) == changed
        del settings["train"]["patience"]  # as in a row that is older than the field
        assert config_from(settings) == changed


@pytest.mark.parametrize("kind", ["data", "runs", "reports"])
def test_folders_do_not_depend_on_the_working_directory(kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(f"ALEXLIB_{kind.upper()}", raising=False)
    folder = getattr(config, f"{kind}_root")
    assert folder() == ROOT / kind and (ROOT / "pyproject.toml").exists()
    monkeypatch.setenv(f"ALEXLIB_{kind.upper()}", str(tmp_path))
    assert folder() == tmp_path
