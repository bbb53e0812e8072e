"""Jobs in several processes: results in order, errors and ends that reach everybody, a grid that can be killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from alexold import data, rows, study, workers
from alexold.config import FIGURE1, spec_at
from alexold.paths import ROOT
from alexold.progress import Progress


def slow_square(x, folder):
    """Runs in a worker; leaves a file that says so."""
    (folder / f"{x}-{os.getpid()}-{torch.get_num_threads()}").touch()
    if x < 0:
        raise ValueError(f"{x} is negative")
    time.sleep(0.2 * (4 - x) if x < 5 else 60)
    return x * x


def test_results_come_in_the_order_of_the_jobs(tmp_path, capfd):
    jobs = [(x, tmp_path) for x in (0, 3, 2)]
    assert list(workers.each(slow_square, jobs, workers=2, threads=1)) == [0, 9, 4]
    ran = [path.name.split("-") for path in tmp_path.iterdir()]
    assert {threads for _, _, threads in ran} == {"1"} and len({pid for _, pid, _ in ran}) == 2
    assert capfd.readouterr().err.startswith("3 runs, 2 at a time, in ")


def talk(x):
    """Runs in a worker: a line of progress, and time for it to arrive."""
    line = Progress(f"job {x}: ")
    while not line.due():
        time.sleep(0.05)
    line.show("half of it")
    time.sleep(2.5)


def test_what_workers_say_is_shown_with_what_is_left(monkeypatch):
    shown = []
    monkeypatch.setattr(workers.Progress, "due", lambda _: True)
    monkeypatch.setattr(workers.Progress, "show", lambda _, text: shown.append(text))
    list(workers.each(talk, [(1,), (2,)], workers=1, threads=1))
    assert "0 of 2 runs, 1 at a time; job 1: half of it" in shown
    assert any(re.fullmatch("1 of 2 runs, 1 at a time, [0-9]+ s left; job 2: half of it", line) for line in shown)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def ended(pids):
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(alive, pids))


def started(folder, count):
    """The processes of the jobs that have begun, when there are so many."""
    until = time.monotonic() + 60
    while len(names := [path.name for path in folder.iterdir()]) < count and time.monotonic() < until:
        time.sleep(0.1)
    return [int(name.rsplit("-", 2)[1]) for name in names]


def test_an_error_ends_all_jobs_and_arrives(tmp_path):
    with pytest.raises(ValueError, match="-1 is negative"):
        list(workers.each(slow_square, [(9, tmp_path), (-1, tmp_path), (9, tmp_path)], workers=2, threads=1))
    assert ended(started(tmp_path, 2)), "the long jobs must not go on"


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from alexold import workers
import test_workers
if __name__ == "__main__":
    list(workers.each(test_workers.slow_square, [(9, Path(sys.argv[1])), (8, Path(sys.argv[1]))], 2, 1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(tmp_path, how):
    script, folder = tmp_path / "parent.py", tmp_path / "ran"
    folder.mkdir()
    script.write_text(PARENT.format(tests=str(ROOT / "tests")))
    parent = subprocess.Popen([sys.executable, script, folder], cwd=ROOT, stderr=subprocess.DEVNULL)
    pids = started(folder, 2)
    parent.send_signal(how)
    parent.wait(30)
    assert len(pids) == 2 and ended(pids)


def test_room_is_at_least_one_and_at_most_the_jobs(monkeypatch):
    assert workers.room("cpu", 1) == 1 <= workers.room("cpu", 1000) <= os.cpu_count()
    assert workers.room("cuda", 1000) == 1
    monkeypatch.setattr(workers, "MEMORY", 2**60)
    assert workers.room("cpu", 1000) == 1


# ---- a grid of small nets ------------------------------------------------------------------------------------

GRID = """
import sys
import torch
from alexold import data, study
from alexold.config import FIGURE1, spec_at
if __name__ == "__main__":
    torch.set_num_threads(1)
    train, test = data.load("sample", 32)
    spec = spec_at(FIGURE1, "sample", epochs=3, width=0.125, target=0.0, precision="fp32")
    variants = {"relu": spec, "tanh": spec.replace(activation="tanh")}
    study.grid("99_killed", variants, (0, 1), "sample", train.subset(range(640)), test, workers=int(sys.argv[1]))
"""


def grid_process(tmp_path, name, count=2):
    script = tmp_path / "grid.py"
    script.write_text(GRID)
    place = {"ALEXLIB_RUNS": str(tmp_path / name), "ALEXLIB_REPORTS": str(tmp_path / name)}
    (tmp_path / name).mkdir(exist_ok=True)
    packs = tmp_path / name / "packs"
    if not packs.exists():
        packs.symlink_to(study.runs_root() / "packs")
    command = [sys.executable, script, str(count)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **place}, stderr=subprocess.PIPE, text=True)


def lasting(tmp_path, name):
    """The rows of a grid without what differs from time to time."""
    file = tmp_path / name / "sample" / "results" / "99_killed.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()]
    for row in found:
        for key in ("started", "seconds", "pictures_per_second", "device"):
            del row[key]
        for epoch in row["history"]:
            del epoch["seconds"], epoch["pictures_per_second"]
    return sorted(found, key=lambda row: (row["variant"], row["seed"]))


def test_a_grid_that_was_killed_three_times_ends_in_the_same_rows(tmp_path):
    data.load("sample", 32)  # packed before the clock runs
    whole = grid_process(tmp_path, "whole")
    assert whole.wait(200) == 0, whole.stderr.read()
    for sign, many in (("provenance.json", 1), ("checkpoint.pt", 2), ("row.json", 1)):
        killed = grid_process(tmp_path, "killed")
        until = time.monotonic() + 100
        while len(list((tmp_path / "killed").glob(f"99_*/{sign}"))) < many and time.monotonic() < until:
            time.sleep(0.02)
        killed.kill()
        killed.communicate()
    rest = grid_process(tmp_path, "killed", count=1)  # the rest without workers
    assert rest.wait(200) == 0, rest.stderr.read()
    assert lasting(tmp_path, "killed") == lasting(tmp_path, "whole") and len(lasting(tmp_path, "whole")) == 4


def test_images_are_sent_to_workers_by_reference():
    import pickle

    train, _ = data.load("sample", 32)
    for images in (train, train.subset([5, 3, 9]), train.subset([5, 3, 9]).subset([2], "holdout")):
        sent = pickle.dumps(images)
        again = pickle.loads(sent)
        assert len(sent) < images.mean.nbytes + 16 * len(images) + 5000
        assert (again.gather(range(len(again))) == images.gather(range(len(images)))).all()
        assert (again.fingerprint, again.split, again.classes) == (images.fingerprint, images.split, images.classes)
        assert again.labels.tolist() == images.labels.tolist()


def test_a_spec_of_a_small_net_leaves_a_row_that_is_found_again():
    spec = spec_at(FIGURE1, "sample", epochs=1, width=0.125)
    train, test = data.load("sample", 32)
    few = train.subset(range(64))
    (row,) = study.grid("99_small", {"relu": spec}, (0,), "sample", few, test)
    assert row["config"]["net"]["stack"] == "four-layer"
    assert study.grid("99_small", {"relu": spec}, (0,), "sample", few, test) == [row]
    assert rows.read("99_small", "sample") == [row]


def test_a_grid_shows_which_run_it_is_at_and_the_time_left(monkeypatch):
    train, test = data.load("sample", 32)
    shown = []
    monkeypatch.setattr(study.Progress, "due", lambda _: True)
    monkeypatch.setattr(study.Progress, "show", lambda self, text: shown.append(self.before + text))
    spec = spec_at(FIGURE1, "sample", epochs=1, width=0.125, precision="fp32")
    study.grid("99_shown", {"relu": spec, "slow": spec.replace(lr=1e-5)}, (0,), "sample", train.subset(range(64)), test)
    first, second = shown[:2], shown[2:]
    assert all(line.startswith("run 1 of 2: relu, seed 0: epoch 1/1, step ") for line in first) and len(second) == 2
    assert all(re.match("run 2 of 2, [0-9]+ s left: slow, seed 0: epoch 1/1, step ", line) for line in second)
