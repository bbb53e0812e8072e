"""The golden file: shapes, gradients, five training steps, a pack, a scorecard."""

import json
import math

import golden
import pytest
import torch

KEPT = json.loads(golden.FILE.read_text())
TOLERANCE = {"gradients": 1e-9, "steps fp32": 1e-3, "steps bf16": 5e-2, "pack": 1e-6}
TOLERANCE |= {"shapes": 0, "scorecard": 1e-9}


@pytest.fixture(scope="module")
def now():
    threads = torch.get_num_threads()
    yield json.loads(json.dumps(golden.make()))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("part", ["shapes", "gradients", "steps", "pack", "scorecard"])
def test_nothing_has_changed(now, part):
    assert now[part].keys() == KEPT[part].keys()
    for key, kept in KEPT[part].items():
        precision = f"{part} {key.split()[1]}" if part == "steps" else part
        _same(now[part][key], kept, TOLERANCE[precision], f"{part} {key}")


def _same(found, kept, tolerance, where):
    if isinstance(kept, dict):
        assert found.keys() == kept.keys(), where
        for key in kept:
            _same(found[key], kept[key], tolerance, f"{where} {key}")
    elif isinstance(kept, list) and kept and all(isinstance(x, float) for x in kept):
        size = max(abs(x) for x in kept if math.isfinite(x))  # a projection may be near 0
        for a, b in zip(found, kept, strict=True):
            assert math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance * size), where
    elif isinstance(kept, list):
        for a, b in zip(found, kept, strict=True):
            _same(a, b, tolerance, where)
    elif isinstance(kept, float):
        assert math.isclose(found, kept, rel_tol=tolerance, abs_tol=tolerance), where
    else:
        assert found == kept, where
