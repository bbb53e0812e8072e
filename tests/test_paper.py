"""The paper's data against arithmetic, the 2012 logs and the configs."""

import pydoc

import numpy as np
import pytest

from alexlib import paper
from alexlib.config import PAPER, SOURCE2012
from alexlib.paper import CLAIMS, LAYERS
from alexlib.study.scorecard import RULES
from alexlib.study.variants import VARIANTS

LOGS = paper.LOGS.set_index(["run", "views"])


def test_printed_numbers_are_logs_and_their_differences():
    """A number is printed to 0.1 points, so the difference of two may be off by that."""
    for id in ("two-gpus", "lrn", "overlap", "pre-training", "ten-views"):
        for claim in (CLAIMS[id], CLAIMS[f"{id}-top5"]):
            assert claim.paper == pytest.approx(claim.log, abs=0.06), claim.id
    for id, run in (("error-2010", "145-2010"), ("error-2012", "145")):
        for claim, error in ((CLAIMS[id], "top1"), (CLAIMS[f"{id}-top5"], "top5")):
            assert claim.paper == round(100 * LOGS[error][run, "ten"], 1) == round(claim.log, 1)
    gain = LOGS.top5["148", "ten"] - LOGS.top5["145", "ten"]
    assert CLAIMS["lrn-top5"].log == pytest.approx(100 * gain, abs=1e-3)
    assert LOGS.index.is_unique
    assert (LOGS.top5 < LOGS.top1).all() and (LOGS.top1 < 1).all() and (LOGS.log_loss > 1).all()


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
    for id, claim in CLAIMS.items():
        assert claim.rule in {"none", *RULES}, id
        assert set(claim.options.get("variants", ())) <= set(VARIANTS), id
        assert claim.log is not None or claim.log_note, f"{id}: why is there no log?"
        assert claim.rule != "none" or claim.needs, f"{id}: what does a test take?"
        assert claim.unit != "pp" or claim.paper is None or claim.paper > 0, id
        assert all(value is not None or note for _, value, note in claim.later), id


def test_readings_are_the_configs_and_what_implements_them_exists():
    for row in paper.AMBIGUITIES:
        if not row.field:
            assert pydoc.locate(f"alexlib.{row.where}") is not None, row.id
            continue
        for config, reading in ((PAPER, row.reading_paper), (SOURCE2012, row.reading_source)):
            (value,) = (kept["value"] for kept in config.table() if kept["field"] == row.field)
            assert value == (tuple(reading) if isinstance(reading, list) else reading), row.id
