"""Many runs: a grid of jobs, or all that the protocol lists, in several processes.

    table = runs.grid(jobs, train, test, workers=2)  # a DataFrame with one line for each job

What notebooks use of single runs (`jobs.py`) and of rows (`records.py`) is found here, too.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import active_children

import pandas as pd
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor

from alexlib.config import SCALES
from alexlib.data import prepare
from alexlib.data.images import Images
from alexlib.progress import bar
from alexlib.study import measures
from alexlib.study.jobs import (
    Job,
    Run,
    check_rate,
    opened,
    probabilities,
    run,
    run_name,
    run_or_row,
    weights_so_far,
)
from alexlib.study.records import append, are_evidence, everything, provenance, read, rows
from alexlib.study.variants import BLOCKS, Block, chosen_rate
from alexlib.training import Stop

__all__ = ["Job", "Run", "carry_out", "check_rate", "grid", "opened", "probabilities", "run"]
__all__ += ["append", "are_evidence", "everything", "provenance", "read", "rows"]
__all__ += ["run_name", "weights_so_far"]


def grid(
    jobs: Iterable[Job], train: Images, test: Images, *, device: str = "cpu", workers: int = 1
) -> pd.DataFrame:
    """The rows of jobs, in their order (`records.rows`); jobs without a row on record are run.

    A row is on record if its study, variant, seed, scale, settings and training images are those of
    the job. A run that diverges has a row that says so. A stopped grid resumes when it is called
    again.

    Args:
        workers: runs at a time, each in a process with its share of the cores; -1: one per core.
    """
    jobs = list(jobs)
    if not jobs:
        raise ValueError("no jobs: give at least one variant and one seed")
    parallel(
        [partial(run_or_row, job, train, test, device) for job in _missing(jobs, train)], workers
    )
    return rows([_on_record(job, train) for job in jobs])


def _missing(jobs: list[Job], train: Images) -> list[Job]:
    return [job for job in dict.fromkeys(jobs) if _on_record(job, train) is None]


def _on_record(job: Job, train: Images) -> dict | None:
    for row in read(job.study, job.scale, variant=job.variant, seed=job.seed):
        if Job.of(row) == job and row["data"]["train"] == train.fingerprint:
            return row
    return None


# ---- the protocol --------------------------------------------------------------------------------


def carry_out(blocks: list[str] | None = None, jobs: int = 2) -> None:
    """Run what the protocol lists and has no row yet: rate checks, runs, measures of the runs.

    It can be stopped at any time; the same call resumes. Each run has one thread.

    Args:
        blocks: ids in tables/protocol.toml; None: all that are not closed, in their order.
        jobs: runs at a time.
    """
    torch.set_num_threads(1)
    known = {block.id: block for block in BLOCKS if not block.closed}
    if unknown := set(blocks or ()) - set(known):
        raise ValueError(f"unknown block {min(unknown)!r}: valid ones: {', '.join(known)}")
    for block in [known[name] for name in blocks or known]:
        scale = SCALES[block.scale]
        train, test = prepare.load(scale.source, scale.side_for(block.base))
        if [train.fingerprint, test.fingerprint] != block.data:
            print(f"{block.id}: skipped, other images than the protocol's", file=sys.stderr)
            continue
        for what, find in (("rate checks", _checks), ("runs", _runs), ("halvings", _halvings)):
            calls = find(block, train, test)
            print(f"{block.id}: {len(calls)} {what} to do", file=sys.stderr)
            parallel(calls, jobs, threads=1)
        _average(block, train, test)


def _checks(block: Block, train: Images, test: Images) -> list[Callable]:
    """The rate checks of a block that have no row."""
    known = [row for row in read("rates", block.scale) if block.lists(row)]
    done = {(row["variant"], row["config"]["train"]["lr"]) for row in known}
    names = (*block.variants, *block.also_check) if block.check else ()
    return [
        partial(check_rate, _job(block, name, lr), train, test, block.check)
        for name in names
        for lr in block.rates()
        if (name, lr) not in done
    ]


def _runs(block: Block, train: Images, test: Images) -> list[Callable]:
    """The runs of a block that have no row, seed by seed, at the chosen rates."""
    rates = read("rates", block.scale)
    jobs = [
        _job(block, name, chosen_rate(block, name, rates), seed)
        for seed in range(max(block.variants.values()))
        for name, seeds in block.variants.items()
        if seed < seeds
    ]
    return [partial(run_or_row, job, train, test) for job in _missing(jobs, train)]


def _job(block: Block, variant: str, lr: float, seed: int = 0) -> Job:
    return Job(block.study, variant, block.config_of(variant, lr), block.scale, seed)


def _baselines(block: Block) -> list[dict]:
    """The rows of a block's finished baselines, by seed."""
    found = [row for row in read(block.study, block.scale, variant="baseline") if row["metrics"]]
    return sorted(filter(block.lists, found), key=lambda row: row["seed"])


def _halvings(block: Block, train: Images, test: Images) -> list[Callable]:
    """The measurements of halving (section 4.2) that are missing for a block's baselines."""
    done = [row["runs"] for row in read("measures", block.scale, kind="halving")]
    return [
        partial(_halve, row, train, test)
        for row in _baselines(block)
        if row["config"]["net"].get("dropout") and [measures.key(row)] not in done
    ]


def _halve(row: dict, train: Images, test: Images) -> None:
    if run := opened(Job.of(row), train, test):  # else it was run on another machine
        append(measures.halving(run.model, row, test) | provenance("cpu"))


def _average(block: Block, train: Images, test: Images) -> None:
    """The average of a block's first five baselines, unless it is on record."""
    nets = [(row, p) for row in _baselines(block)[:5] if (p := probabilities(row, train))]
    if len(nets) > 1 and nets[0][0]["config"]["net"].get("kernels"):
        found = measures.ensemble(*zip(*nets, strict=True), test.labels)
        if not read("measures", block.scale, kind="ensemble", runs=found["runs"]):
            append(found | provenance("cpu"))


# ---- processes -----------------------------------------------------------------------------------


def parallel(calls: list[Callable], workers: int, threads: int | None = None) -> None:
    """Make all calls, `workers` at a time, each in a process with `threads` threads.

    SIGINT or SIGTERM stops the calls in progress (training saves a checkpoint after the step) and
    then raises KeyboardInterrupt or SystemExit here; a second signal ends everything at once. If
    this process dies, the workers finish their calls. After an error in one call the others are
    still made; then it is raised. One worker, or one call, needs no process and is made here.

    Args:
        threads: of each process; None: an equal share of the cores.
    """
    errors = []
    if workers == 1 or len(calls) < 2:
        for call in calls:
            try:
                call()
            except Exception as error:
                errors.append(error)
    else:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # workers inherit it
        options = {"inner_max_num_threads": threads, "initializer": _start_worker}
        with _StopWorkers() as stop, parallel_config("loky", **options):
            tasks = (delayed(_in_worker)(call) for call in calls if not stop.asked)
            lazily = {"pre_dispatch": "n_jobs", "return_as": "generator_unordered"}
            done = Parallel(workers, batch_size=1, **lazily)(tasks)
            shown = bar(iterable=done, desc="runs", total=len(calls), unit="run")
            errors = [error for error in shown if error]
    if errors:
        raise errors[0]


class _StopWorkers(Stop):
    """Passes the first SIGINT or SIGTERM on to the workers as SIGTERM; at the end they are gone."""

    def _ask(self, *signal_and_frame) -> None:
        super()._ask(*signal_and_frame)
        for worker in active_children():
            worker.terminate()

    def __exit__(self, *_) -> None:
        get_reusable_executor(reuse=True).shutdown()  # waits for the workers to exit
        super().__exit__(None)


stopped = threading.Event()  # in a worker: SIGTERM has come between two calls


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())


def _in_worker(call: Callable) -> Exception | None:
    """Make a call, which SIGTERM ends; returns its error with the traceback as a note.

    An exception, SystemExit too, would make joblib kill the other workers.
    """
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if not stopped.is_set():
            call()
    except SystemExit:
        pass
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error
    finally:
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    return None
