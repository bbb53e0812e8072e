"""Runs leave rows that are found again; grids can be stopped; only listed rows are evidence."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest
import torch
from test_variants import BASELINES, PARTS, check_of, row_of

from alexlib.config import FIGURE1, ROOT, SOURCE2012
from alexlib.data.images import Images
from alexlib.study import records, runs, workers
from alexlib.study import variants as protocol
from alexlib.study.runs import Job
from alexlib.study.variants import Block
from alexlib.training import loop

TINY = FIGURE1.replace(width=1 / 16, classes=4, input=24, epochs=2, batch=8, target=0)
TINY = TINY.replace(validation=0.25, crop="random", precision="fp32")
WILD = TINY.replace(lr=100, decay=1)


def images(n: int, split: str, side: int = 28) -> Images:
    labels = np.arange(n) % 4
    noise = np.random.default_rng(n).integers(0, 180, (n, side, side, 3))
    pixels = (noise + 25 * labels[:, None, None, None]).astype(np.uint8)
    mean = np.full((side, side, 3), 120, np.float32)
    about = ("toys", split, f"{split}-{n}-{side}")
    return Images(pixels, labels, tuple("abcd"), mean, np.ones(3), np.eye(3), *about)


TRAIN, TEST = images(48, "train"), images(16, "test")


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    return tmp_path


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# ---- one run -------------------------------------------------------------------------------------


def test_a_run_leaves_a_row_and_is_opened_again(folders, monkeypatch):
    job = Job("99_try", "baseline", TINY, "cifar10", seed=3)
    first = runs.run(job, TRAIN, TEST)
    row = first.row
    assert first.trained_now and [h["epoch"] for h in row["history"]] == [1, 2]
    assert Job.of(row) == job and row["spec"] == "figure1" and row["seconds"] > 0
    assert row["data"]["train"] == TRAIN.fingerprint and row["data"]["pictures"] == [48, 16]
    assert {"device", "versions", "commit", "started", "pictures_per_second"} <= row.keys()
    for views, p in first.probabilities.items():
        loss = -np.log(p.astype(float)[range(16), TEST.labels]).mean()
        assert row["metrics"][views]["loss"] == pytest.approx(loss, abs=1e-3)
        packed = np.frombuffer(base64.b64decode(row["hits"][views]["top1"]), np.uint8)
        assert row["metrics"][views]["top1"] == 1 - np.unpackbits(packed).mean()
    assert set(row["metrics"]) == {"centre", "ten"} and row["training"]["n"] == 36

    again = runs.opened(job, TRAIN, TEST)
    assert again.row == row and not again.trained_now
    assert lines(folders / "runs" / "results" / "99_try.jsonl") == [row]
    assert runs.opened(replace(job, seed=4), TRAIN, TEST) is None
    for file in first.folder.glob("checkpoint*"):
        file.unlink()  # to save space: the row and the weights are enough
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fit", pytest.fail)
        again = runs.opened(job, TRAIN, TEST)
    weights = zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights) and again.row == row
    assert (again.probabilities["ten"] == first.probabilities["ten"]).all()


def test_the_same_run_started_twice_is_made_once(capfd):
    job = Job("99_try", "baseline", TINY, "cifar10")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: runs.run(job, TRAIN, TEST), range(2)))
    assert {run.trained_now for run in both} == {True, False} and both[0].row == both[1].row
    assert runs.read() == [both[0].row] and "in progress in another" in capfd.readouterr().err


def test_names_depend_on_settings_and_images_and_stay_as_they_are():
    kept = Job("03_ablations", "baseline", BASELINES.base, "miniimagenet")
    name = runs.run_name(kept, BASELINES.data[0])
    assert name == "03_ablations-miniimagenet-baseline-seed0-920bfaf6"
    jobs = [Job("s", "v", config, "cifar10") for config in (TINY, TINY.replace(decay=0.1))]
    assert len({runs.run_name(job, images) for job in jobs for images in ("a", "b")}) == 4
    with pytest.raises(ValueError, match="seed -1"):
        Job("s", "v", TINY, "cifar10", seed=-1)


def test_a_rate_check_is_the_beginning_of_its_run():
    train, test, two_towers = images(48, "train", 64), images(16, "test", 64), SOURCE2012.net
    config = replace(TINY, net=two_towers).replace(width=1 / 32, input=48, classes=4)
    job = Job("99_try", "baseline", config, "cifar10")
    runs.check_rate(job, train, test, epochs=1)
    (check,) = runs.read("rates")
    assert (check["of"], check["epochs"], check["metrics"]) == ("99_try", 1, {})

    assert runs.read("99_try") == [] and check["history"][-1]["colour"]
    assert runs.run(job, train, test).row["history"][:1] == check["history"]


# ---- grids ---------------------------------------------------------------------------------------


def test_a_grid_has_the_order_of_its_jobs_and_runs_nothing_twice(monkeypatch):
    configs = {"tanh": TINY.replace(activation="tanh"), "wild": WILD, "base": TINY}
    jobs = [Job("99_grid", v, configs[v], "cifar10", seed) for seed in (1, 0) for v in configs]
    runs.grid(jobs[-1:], TRAIN, TEST)
    table = runs.grid([*jobs, jobs[0]], TRAIN, TEST)
    assert [Job.of(row) for row in table.row] == [*jobs, jobs[0]]
    assert (table.diverged == (table.variant == "wild")).all()
    assert (table.top1.isna() == table.diverged).all() and (table.lr[table.diverged] == 100).all()
    sound = table[~table.diverged]
    assert (sound.top1 == [100 * row["metrics"]["ten"]["top1"] for row in sound.row]).all()
    gaps = [r["metrics"]["centre"]["top1"] - r["training"]["top1"] for r in sound.row]
    np.testing.assert_allclose(sound.overfitting, 100 * np.array(gaps))

    monkeypatch.setattr(runs, "run_or_row", None)
    assert list(runs.grid(jobs, TRAIN, TEST).row) == list(table.row[:-1])
    with pytest.raises(ValueError, match="no jobs"):
        runs.grid([], TRAIN, TEST)


SCRIPT = """# a script without the guard `if __name__ == "__main__"`
import sys
sys.path.insert(0, "tests")
from test_runs import TEST, TINY, Job, images, runs
jobs = [Job("99_stop", "v", TINY.replace(epochs=1000), "cifar10", seed) for seed in (0, 1)]
runs.grid(jobs, images(400, "train"), TEST, workers=2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pgrep")
def test_workers_of_a_stopped_grid_save_and_end(folders):
    script = folders / "own.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script], cwd=ROOT, start_new_session=True)
    session, saved = str(parent.pid), []
    while len(saved) < 2 and parent.poll() is None:
        time.sleep(0.1)
        saved = list(folders.glob("runs/*/checkpoint.before.pt"))
    sent = time.time()
    parent.terminate()
    assert parent.wait(300) == 143
    assert subprocess.run(["pgrep", "-f", "-s", session, "workers.work"]).returncode == 1
    assert all(file.with_name("checkpoint.pt").stat().st_mtime >= sent for file in saved)
    assert not list(folders.glob("runs/*/row.json"))


@pytest.mark.parametrize(("cores", "torchs", "share"), [(5, 64, 2), (1, 64, 1), (64, 3, 3)])
def test_each_worker_has_its_share_of_the_cores(monkeypatch, cores, torchs, share):
    def start(command, env, **pipes):
        raise KeyError(env["OMP_NUM_THREADS"])

    monkeypatch.setattr(workers, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torchs)
    monkeypatch.setattr(workers.subprocess, "Popen", start)
    with pytest.raises(KeyError, match=f"^'{share}'$"):
        workers.make_all([int, int], 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_one_run_does_not_stop_the_others_and_is_named(workers):
    config = {"broken": TINY.replace(input=96), "baseline": TINY}  # larger than the images
    jobs = [Job("99_grid", v, config[v], "cifar10", seed) for seed in (0, 1) for v in config]
    with pytest.raises(ExceptionGroup, match="2 of 4 failed") as failed:
        runs.grid(jobs, TRAIN, TEST, workers=workers)
    assert "99_grid, cifar10, broken, seed 1: ValueError: " in failed.value.message
    assert sorted(row["seed"] for row in runs.read("99_grid")) == [0, 1]
    assert workers == 1 or "in run_or_row" in failed.value.exceptions[0].__notes__[-1]


@pytest.mark.slow
def test_a_killed_worker_is_said_and_another_makes_the_other_calls(tmp_path):
    calls = [partial(os._exit, 9), *(partial((tmp_path / name).touch) for name in "abc")]
    said = r"1 of 4 failed:\n  9: OSError: the worker was killed"
    with pytest.raises(ExceptionGroup, match=said):
        workers.make_all(calls, 2)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(Exception, match="pickle"):
        workers.make_all([lambda: 0, int], 2)
    assert "alexlib.study" not in str([p.cmdline() for p in psutil.Process().children()])


# ---- rows and evidence ---------------------------------------------------------------------------

ROW = {"study": "99_rows", "scale": "sample", "variant": "v", "seed": 0}
OTHER = ROW | {"seed": 1}


def test_rows_that_are_added_at_the_same_time_are_whole_and_none_is_there_twice(folders):
    added = [ROW | {"seed": i // 2, "betas": (0, 1)} for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(runs.append, added))
    found = lines(folders / "reports" / "sample" / "results" / "99_rows.jsonl")
    assert sorted(row["seed"] for row in found) == list(range(30))


def test_rows_are_added_to_a_file_and_a_line_that_is_no_row_is_named():
    runs.append(ROW)
    file = records.path("99_rows", "sample", False)
    file.write_bytes(file.read_bytes()[:-1])  # an editor took the newline away
    runs.append(OTHER)
    assert runs.read("99_rows") == [ROW, OTHER] and runs.read("99_rows", seed=1) == [OTHER]
    file.write_bytes(b"{broken\n" + file.read_bytes())
    with pytest.raises(ValueError, match="line 1"):
        runs.read("99_rows")


def test_only_listed_rows_are_evidence(folders):
    run = {"study": BASELINES.study, "variant": "baseline", "seed": 0}
    about = {"study": "measures", "scale": BASELINES.scale}
    good = [row_of(BASELINES), about | {"runs": [run]}, about | {"run": run, "kind": "features"}]
    bad = [
        row_of(BASELINES, data={"train": "toys", "test": "toys"}),
        row_of(BASELINES) | {"variant": "mine"},
        row_of(BASELINES) | {"metrics": {"again": 1}},  # the same run a second time
        about | {"runs": [run, run | {"seed": 1}]},
    ]
    for row in good + bad:
        runs.append(row)
    files = sorted((folders / "reports").rglob("*.jsonl"))
    assert [row for file in files for row in lines(file)] == runs.everything() == good
    assert len(runs.read()) == len(good + bad)
    assert runs.are_evidence(good) and not any(runs.are_evidence([row]) for row in bad)
    marked = [row | {"superseded": "why"} for row in good]
    assert records.evidence([marked[0], *good[1:]]) == []
    assert records.evidence([good[0], *marked[1:]]) == good[:1]


def test_a_closed_block_takes_no_new_rows(monkeypatch):
    monkeypatch.setattr(protocol, "BLOCKS", (replace(BASELINES, closed=True),))
    runs.append(row_of(BASELINES))
    assert runs.everything() == [] and runs.read(seed=0) == [row_of(BASELINES)]
    assert records.evidence([row_of(BASELINES)]) == [row_of(BASELINES)]


def test_runs_count_only_at_the_chosen_rate():
    errors = {0.005: 0.9, 0.01: 0.9, 0.02: 0.8}
    about = {lr: {"history": [{"val_top1": error}]} for lr, error in errors.items()}
    checks = [check_of(PARTS, "no-conv3", lr) | about[lr] for lr in errors]
    slow, fast = (row_of(PARTS, "no-conv3", lr) for lr in (0.01, 0.02))
    assert records.evidence([slow, fast, *checks]) == [fast, *checks]
    marked = [check | {"superseded": "why"} for check in checks]
    assert records.evidence([slow, fast]) == records.evidence([slow, fast, *marked]) == [slow]


def test_every_row_on_record_is_evidence_unless_it_is_superseded(monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(ROOT / "reports"))
    files = sorted((ROOT / "reports" / "results").glob("*.jsonl"))
    found = [row for file in files for row in lines(file)]
    assert runs.everything() == [row for row in found if "superseded" not in row]


# ---- the protocol --------------------------------------------------------------------------------


def test_the_protocol_is_carried_out_and_nothing_is_done_twice(monkeypatch, folders, capsys):
    train, test = images(48, "train", side=72), images(16, "test", side=72)
    fields = {"input": 64, "width": 1 / 16, "classes": 4, "epochs": 2, "batch": 8}
    about = {"fields": fields, "variants": {"baseline": 2, "no-lrn": 1}, "check": 1}
    about["data"] = [train.fingerprint, test.fingerprint]
    block = Block("try", "99_try", "sample", "source2012", **about)
    monkeypatch.setattr(protocol, "BLOCKS", (block,))
    monkeypatch.setattr(runs, "BLOCKS", (block,))
    monkeypatch.setattr(runs.prepare, "load", lambda *_: (train, test))
    runs.carry_out(jobs=1)
    checks = {(row["variant"], row["config"]["train"]["lr"]) for row in runs.read("rates")}
    assert checks == {(v, lr) for v in ("baseline", "no-lrn") for lr in (0.0025, 0.005, 0.01)}
    found = [(row["variant"], row["seed"]) for row in runs.read("99_try")]
    assert found == [("baseline", 0), ("baseline", 1), ("no-lrn", 0)]
    kinds = [row["kind"] for row in runs.read("measures")]
    assert kinds == ["halving", "halving", "ensemble"]

    for folder in folders.glob("runs/99_try-*"):
        shutil.rmtree(folder)  # rows are enough
    rows = runs.read()
    runs.carry_out(["try"], jobs=1)
    assert runs.read() == rows
    with pytest.raises(ValueError, match="expected one of try"):
        runs.carry_out(["nothing"])
    monkeypatch.setattr(runs.prepare, "load", lambda *_: (train, train))
    monkeypatch.setattr(runs, "make_all", None)
    runs.carry_out()
    assert "skipped" in capsys.readouterr().err
