"""A run can be looked at while it is trained elsewhere, and nothing of it is touched."""

import json
import shutil

import numpy as np
import pytest
import torch

from alexold import study
from alexold.config import spec_at, spec_from
from alexold.data import load
from alexold.glimpse import glimpse, settings
from alexold.train import fit, score

SPEC = spec_at("source2012", "sample", epochs=3, input=64, width=0.125, precision="fp32")


@pytest.fixture(scope="module")
def sets():
    train, test = load("sample", 72)
    return train.subset(range(200)), test.subset(range(50))


@pytest.fixture(scope="module")
def name(sets):
    """A run of two epochs out of three, still going on."""
    folder = study.runs_root() / "99_glimpse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "fit", lambda *a, **k: fit(*a, **k, finish=2))
        patch.setattr(study, "tested", lambda *a: (_ for _ in ()).throw(InterruptedError))
        with pytest.raises(InterruptedError):
            study.run("99_glimpse", "try", SPEC, "sample", *sets, seed=5, name=folder.name)
    yield folder.name
    shutil.rmtree(folder)


def contents(name):
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in (study.runs_root() / name).iterdir()}


def test_an_unfinished_run_is_shown_as_it_stands(name, sets):
    part = study.runs_root() / name / ".checkpoint.pt.1.part"  # of the process that trains it
    part.write_bytes(b"half of it")
    before, rows = contents(name), study.rows.read("99_glimpse", "sample")
    seen = glimpse(name, *sets)
    assert contents(name) == before
    part.unlink()
    assert [h["epoch"] for h in seen.row["history"]] == [1, 2] and not seen.trained_now
    assert (seen.row["seed"], seen.row["scale"], spec_from(seen.row["config"])) == (5, "sample", SPEC)
    weights = torch.load(study.runs_root() / name / "checkpoint.pt", weights_only=True)["model"]
    assert all(torch.equal(value, weights[key]) for key, value in seen.model.state_dict().items())
    for views, p in seen.probabilities.items():
        top1 = score(p.astype(np.float32), sets[1].labels)["top1"]
        assert seen.row["metrics"][views]["top1"] == pytest.approx(top1, abs=0.021)
    assert study.rows.read("99_glimpse", "sample") == rows


def test_on_two_devices(name, sets):
    one, two = glimpse(name, *sets), glimpse(name, *sets, "cpu,cpu")
    np.testing.assert_allclose(one.probabilities["ten"], two.probabilities["ten"], atol=2e-3)


def test_a_finished_run_is_opened(name, sets):
    copy = study.runs_root() / "99_glimpse_whole"
    shutil.copytree(study.runs_root() / name, copy)
    run = study.run("99_glimpse", "try", SPEC, "sample", *sets, seed=5, name=copy.name)
    seen = glimpse(copy.name, *sets)
    assert seen.row == run.row and len(seen.row["history"]) == 3 and not seen.trained_now
    assert all(np.array_equal(p, run.probabilities[views]) for views, p in seen.probabilities.items())
    (copy / "config.json").unlink()  # as runs of earlier versions are
    assert spec_from(settings(copy.name)["config"]) == SPEC
    shutil.rmtree(copy)


def test_what_cannot_be_shown_is_said(name, sets):
    with pytest.raises(ValueError, match=r"no run 'nowhere'.*99_glimpse"):
        glimpse("nowhere", *sets)
    with pytest.raises(ValueError, match="holds another run: pictures"):
        glimpse(name, sets[0].subset(range(100)), sets[1])
    empty = study.runs_root() / "99_glimpse_empty"
    empty.mkdir()
    shutil.copy(study.runs_root() / name / "config.json", empty)
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        glimpse(empty.name, *sets)
    shutil.rmtree(empty)
    assert json.loads((study.runs_root() / name / "config.json").read_text())["variant"] == "try"
