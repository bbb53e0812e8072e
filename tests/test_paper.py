"""The paper's data against arithmetic, the 2012 logs and the configs."""

import math
import pydoc
import tomllib
from itertools import pairwise

import numpy as np
import pytest

from alexlib import paper
from alexlib.config import PAPER, ROOT, SOURCE2012
from alexlib.paper import CLAIMS, LAYERS

LOGS = paper.LOGS.set_index(["run", "views"])
OPTIONS = {
    "variant": {"variants", "measure"},
    "ensemble": {"measure", "nets"},
    "ten-views": {"measure"},
    "error": {"measure"},
    "race": {"consistent"},
    "features": {"quantity"},
    "fact": {"quantity"},
}
WITHOUT_OPTIONS = {"halving", "colour", "none"}


def test_layers_follow_from_their_shapes():
    weights = LAYERS.weight_shape.map(math.prod)
    channels, height, width = (LAYERS.output.str[i] for i in range(3))
    assert (LAYERS.neurons == channels * height * width).all()
    assert (LAYERS.parameters == weights + channels).all()
    assert (LAYERS.macs == weights * height * width).all()
    assert (LAYERS.weight_shape.str[0] == channels).all()
    totals = LAYERS[["parameters", "macs", "neurons"]].sum()
    assert tuple(totals) == (60_965_224, 724_406_816, 659_272)
    for below, layer in pairwise(LAYERS.index[:5]):
        share = 2 if LAYERS.reads[layer] == "own" else 1
        assert LAYERS.weight_shape[layer][1] * share == channels[below]


def test_224_pixels_give_these_sizes_only_if_they_are_rounded_up():
    def sizes(rounding):
        size, found = paper.CONSTANTS["crop"].value, []
        for name, layer in LAYERS[:5].iterrows():
            size = 1 + rounding((size + 2 * layer.pad - layer.kernel) / layer.stride)
            found.append(size)
            if name in ("conv1", "conv2", "conv5"):
                size = 1 + rounding((size - 3) / 2)
        return [*found, size]

    assert sizes(math.ceil) == [*LAYERS.output[:5].str[1], 6]
    assert sizes(math.floor) != sizes(math.ceil)


@pytest.mark.parametrize(
    ("claim", "without", "with_it"),
    [
        ("two-gpus", ("145-half", "ten"), ("145-2010", "ten")),
        ("lrn", ("148", "ten"), ("145", "ten")),
        ("overlap", ("147", "ten"), ("145", "ten")),
        ("pre-training", ("145", "ten"), ("146-2012-2011", "ten")),
        ("ten-views", ("145-2010", "centre"), ("145-2010", "ten")),
    ],
)
def test_printed_gains_are_differences_of_logs(claim, without, with_it):
    for id, error in ((claim, "top1"), (f"{claim}-top5", "top5")):
        gain = 100 * (LOGS[error][without] - LOGS[error][with_it])
        assert CLAIMS[id].log == pytest.approx(gain, abs=1e-3)
        assert CLAIMS[id].paper == pytest.approx(gain, abs=0.06)


def test_results_are_logs_rounded():
    printed = paper.RESULTS.set_index("model")
    keys = [("145-2010", "ten"), ("145-2010", "centre"), ("145", "ten"), ("146-2012-2011", "ten")]
    for error in ("top1", "top5"):
        test, val = printed[f"test_{error}"], printed[f"val_{error}"]
        found = [test["CNN"], test["CNN, centre view"], val["1 CNN"], val["1 CNN*"]]
        assert found == [round(100 * LOGS[error][key], 1) for key in keys]


def test_logs_are_unique_and_plausible():
    assert LOGS.index.is_unique
    assert (LOGS.top5 < LOGS.top1).all() and (LOGS.top1 < 1).all() and (LOGS.log_loss > 1).all()
    by_views = LOGS.top1.unstack().dropna()
    assert len(by_views) > 5 and (by_views.ten < by_views.centre).all()


def test_slips_are_contradicted_by_the_paper_s_own_numbers():
    share = round(100 * LAYERS.parameters[:5].max() / 60_965_224, 2)
    places = paper.CONSTANTS["side"].value - paper.CONSTANTS["crop"].value + 1
    counted = {"conv1-neurons": 290_400, "crops-factor": 2 * places**2, "one-percent": share}
    assert {id: claim.log for id, claim in CLAIMS.items() if claim.slip} == counted
    assert all(CLAIMS[id].paper < value for id, value in counted.items())
    assert list(LAYERS.index[LAYERS.caption != LAYERS.neurons]) == ["conv1"]


def test_colour_axes_are_orthonormal_and_give_the_channel_stds():
    for vectors in (paper.COLOUR_VECTORS, paper.COPIED_VECTORS):
        assert np.array(vectors) @ np.array(vectors).T == pytest.approx(np.eye(3), abs=0.002)
    scaled = np.array(paper.COLOUR_VECTORS) * np.array(paper.COLOUR_STDS)[:, None]
    assert np.sqrt((scaled**2).sum(0)) == pytest.approx(np.array(paper.CHANNEL_STDS), abs=0.5)


def test_claims_are_complete():
    variants = tomllib.loads((ROOT / "alexlib/tables/variants.toml").read_text())
    for id, claim in CLAIMS.items():
        assert claim.id == id and claim.kind in {"effect", "level", "fact"}, id
        assert (claim.kind == "effect") == (claim.unit in {"pp", "x"}), id
        assert (claim.kind == "fact") == (claim.rule == "fact"), id
        assert claim.log is not None or claim.log_note, f"{id}: why is there no log?"
        assert claim.rule != "none" or claim.needs, f"{id}: what does a test take?"
        assert claim.unit != "pp" or claim.paper is None or claim.paper > 0, id
        assert all(value is not None or note for _, value, note in claim.later), id
        assert set(claim.options) - {"net", "least"} == OPTIONS.get(claim.rule, set()), id
        assert claim.rule in OPTIONS.keys() | WITHOUT_OPTIONS, id
        assert set(claim.options.get("variants", ())) <= set(variants), id


def test_readings_are_the_configs_and_what_implements_them_exists():
    assert len({row.id for row in paper.AMBIGUITIES}) == len(paper.AMBIGUITIES)
    for row in paper.AMBIGUITIES:
        if not row.field:
            assert pydoc.locate(f"alexlib.{row.where}") is not None, row.id
            continue
        for config, reading in ((PAPER, row.reading_paper), (SOURCE2012, row.reading_source)):
            part, _ = config.fields[row.field]
            value = getattr(getattr(config, part), row.field)
            assert value == (tuple(reading) if isinstance(reading, list) else reading), row.id
