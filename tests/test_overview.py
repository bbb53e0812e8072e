"""The table of runs, and two runs side by side."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_runs import TEST, TINY, TRAIN, folders  # noqa: F401 (a fixture)

from alexlib import study
from alexlib.config import runs_root
from alexlib.study import overview, runs
from alexlib.study.runs import Job
from alexlib.training.loop import hits


def test_finished_begun_and_recorded_runs_are_listed_and_compared(folders):  # noqa: F811
    jobs = [Job("99_list", v, TINY.replace(lr=lr), "cifar10") for v, lr in (("a", 0.1), ("b", 0.2))]
    first, second = (runs.run(job, TRAIN, TEST) for job in jobs)
    begun = Job("99_begun", "c", TINY, "cifar10", seed=1)
    runs.check_rate(begun, TRAIN, TEST, epochs=1)
    shutil.rmtree(second.folder)
    (runs_root() / "damaged").mkdir()
    (runs_root() / "damaged" / "config.json").write_text("{")

    assert list(study.rows().row) == [first.row, second.row]
    table = study.listing().set_index("variant")
    assert list(table.index) == ["c", "a", "b"]
    assert list(table.folder) == [runs.run_name(begun, TRAIN.fingerprint), first.folder.name, ""]
    assert list(table.name)[2] == second.folder.name
    assert list(table.epochs) == [1, 2, 2] and list(table.of) == [2, 2, 2]
    assert list(study.listing(study="99_begun").variant) == ["c"]
    text = overview.as_text(study.listing())
    assert " 1/2" in text and " 2/2" in text and max(map(len, text.splitlines())) < 100

    settings, errors = study.compare("99_list-cifar10-a", str(second.folder))
    assert list(settings.index) == ["variant", "lr"] and list(settings.loc["lr"]) == [0.1, 0.2]
    errors = errors.loc["top-1, ten"]
    expected = [100 * row["metrics"]["ten"]["top1"] for row in (first.row, second.row)]
    assert [errors.a, errors.b] == pytest.approx(expected) and errors.images == 16
    assert errors.low <= errors.difference == errors.b - errors.a <= errors.high
    assert study.compare("99_begun", "cifar10-a")[1].empty
    for name, count in (("99_list", 2), ("nothing", 0)):
        with pytest.raises(ValueError, match=f"{count} runs are called"):
            study.compare(name, "99_begun")


def row(wrong, test="same"):
    """The part of a row that says which images a run got wrong."""
    p = np.eye(2)[np.asarray(wrong, int)]
    metrics = {"centre": {"top1": float(np.mean(wrong)), "n": len(wrong)}}
    found = {"centre": hits(p, np.zeros(len(wrong), int))}
    return {"metrics": metrics, "hits": found, "data": {"test": test}}


def test_the_interval_is_mcnemars_on_the_same_images_and_there_is_none_on_others():
    a = np.arange(2000) % 4 == 0
    b = a ^ (np.arange(2000) % 40 == 1)  # wrong on 50 more
    there = [row(b, test) for test in ("same", "other")]
    same, other = (overview._difference(row(a), x, "top1", "centre") for x in there)
    d = 100 * (b * 1.0 - a)
    wald = stats.norm.interval(0.95, d.mean(), d.std() / 2000**0.5)
    assert same[:3] == pytest.approx((25, 27.5, 2.5))
    assert same[3:5] == pytest.approx(wald, abs=0.15)
    assert same[5] == 2000 and other[:3] == same[:3] and np.isnan(other[3:5]).all()
    few = overview._difference(row([0, 1, 0]), row([0, 1, 0]), "top1", "centre")
    assert few[3] < -5 and few[4] > 5  # equal on three images says little
    old = {k: v for k, v in row(a).items() if k != "hits"}
    assert np.isnan(overview._difference(old, row(b), "top1", "centre")[3])


def test_a_row_that_was_marked_is_not_added_again_when_its_run_is_opened(folders):  # noqa: F811
    job = Job("99_mark", "v", TINY, "cifar10")
    found = runs.run(job, TRAIN, TEST).row
    file = folders / "runs" / "results" / "99_mark.jsonl"
    for mark in ("superseded", "withdrawn"):
        marked = json.dumps(found | {mark: "why"}) + "\n"
        file.write_text(marked)
        runs.run(job, TRAIN, TEST)
        assert file.read_text() == marked
    assert runs.run(replace(job, seed=1), TRAIN, TEST).row in runs.read("99_mark")
    file.write_text(json.dumps(found | {"superseded": "why"}) + "\n")
    with pytest.raises(OSError, match="no row of 99_mark, cifar10, v, seed 0: it is marked"):
        runs.grid([job], TRAIN, TEST)
    assert study.rows().empty and list(study.listing(study="99_mark").note) == ["superseded", ""]
