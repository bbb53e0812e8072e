"""A grid on a Dask cluster: a scheduler and workers in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from test_runs import TEST, TINY, folders, images, lines  # noqa: F401 (a fixture)

from alexlib.study import runs, workers
from alexlib.study.runs import Job
from alexlib.training import checkpoint

TRAIN = images(400, "train")


@contextmanager
def dask(*words, **options):
    """A command of dask in a session of its own; killed at the end."""
    command = [sys.executable, "-m", "dask", *words]
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        kill(process)


def kill(process):
    """A Dask worker is two processes: it and its nanny."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def cluster(folder, count: int, threads: int = 1):
    """The address of a scheduler, and its workers."""
    client_of = pytest.importorskip("distributed").Client
    file = folder / "scheduler.json"
    where = "--scheduler-file", str(file)
    elsewhere = os.environ | {"ALEXLIB_RUNS": str(folder / "elsewhere")}
    with ExitStack() as stack:
        options = "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"
        stack.enter_context(dask("scheduler", *where, *options))
        options = "--nthreads", str(threads), "--memory-limit", "0", "--no-dashboard"
        found = [
            stack.enter_context(dask("worker", *where, *options, env=elsewhere, cwd=folder))
            for _ in range(count)
        ]
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with client_of(address) as client:
            client.wait_for_workers(count)
        yield address, found


@pytest.mark.slow
def test_a_worker_is_killed_and_all_rows_are_there_once(folders):  # noqa: F811
    jobs = [Job("99_dask", "v", TINY.replace(epochs=60), "cifar10", seed) for seed in range(4)]
    before = {}

    def kill_one(worker):
        while len(list(folders.glob("runs/*/checkpoint.before.pt"))) < 2:
            time.sleep(0.05)
        kill(worker)
        for folder in folders.glob("runs/99_dask-*"):
            before[folder.name] = checkpoint.history(folder)

    with cluster(folders, 2) as (address, both):
        killer = threading.Thread(target=kill_one, args=both[:1])
        killer.start()
        table = runs.grid(jobs, TRAIN, TEST, scheduler=address)
        killer.join()
    assert sorted(table.seed) == [0, 1, 2, 3] and not table.diverged.any()
    assert len(lines(folders / "runs" / "results" / "99_dask.jsonl")) == 4
    assert len(before) == 2 and not (folders / "elsewhere").exists()
    for row in table.row:  # runs that had begun were resumed: the same epochs, times included
        known = before.get(runs.run_name(Job.of(row), TRAIN.fingerprint), [])
        assert row["history"][: len(known)] == known and len(row["history"]) == 60


@pytest.mark.slow
def test_two_threads_are_refused_and_errors_are_reported(folders):  # noqa: F811
    config = {"broken": TINY.replace(input=96), "baseline": TINY}
    jobs = [Job("99_dask", v, config[v], "cifar10") for v in config]
    with cluster(folders, 1, threads=2) as (address, _), pytest.raises(ValueError, match="threads"):
        runs.grid(jobs, TRAIN, TEST, scheduler=address)
    (folders / "scheduler.json").unlink()
    with cluster(folders, 1) as (address, _):
        with pytest.raises(ExceptionGroup, match="1 of 2 failed"):
            runs.grid(jobs, TRAIN, TEST, scheduler=address)
        with pytest.raises(ExceptionGroup, match="KilledWorker"):
            workers.make_all([partial(os._exit, 9)], scheduler=address)
    assert len(runs.read("99_dask")) == 1


def test_dask_is_needed_only_for_a_scheduler(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'alexlib\[cluster\]'"):
        workers.make_all([int], scheduler="tcp://127.0.0.1:1")
    workers.make_all([], scheduler="tcp://127.0.0.1:1")  # nothing to do
