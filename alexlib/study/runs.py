"""Many runs: a grid of jobs, or all that the protocol lists, in several processes.

    table = runs.grid(jobs, train, test, workers=2)  # a DataFrame with one line for each job

What notebooks use from `jobs.py` (single runs) and `records.py` (rows) can be imported from here.
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd
import torch

from alexlib.config import SCALES, lookup
from alexlib.data import prepare
from alexlib.data.images import Images
from alexlib.study import measures
from alexlib.study.jobs import Job, Run, check_rate, opened, run, run_name, run_or_row
from alexlib.study.records import append, are_evidence, everything, read, rows
from alexlib.study.variants import BLOCKS, Block, chosen_rate
from alexlib.study.workers import make_all
from alexlib.training.machine import provenance

__all__ = ["Job", "Run", "carry_out", "check_rate", "grid", "opened", "run", "run_name"]
__all__ += ["append", "are_evidence", "everything", "provenance", "read", "rows"]


def grid(
    jobs: Iterable[Job],
    train: Images,
    test: Images,
    *,
    device: str = "cpu",
    workers: int = 1,
    scheduler: str = "",
) -> pd.DataFrame:
    """The rows of jobs, in their order (`records.rows`); jobs without a row on record are run.

    A row is on record if its study, variant, seed, scale, settings and training images are those of
    the job. A run that diverges has a row that says so. A stopped grid resumes when it is called
    again.

    Args:
        workers: runs at a time, each in a process with its share of the cores; -1: one per core.
        scheduler: address of a Dask scheduler, e.g. "tcp://host:8786", whose workers make the runs.

    Raises: as `workers.make_all`, after making all runs that can be made.
    """
    jobs = [job.on(device) for job in jobs]
    if not jobs:
        raise ValueError("no jobs: give at least one variant and one seed")
    calls = [partial(run_or_row, job, train, test, device) for job in _missing(jobs, train)]
    make_all(calls, workers, scheduler)
    found = [_on_record(job, train) for job in jobs]
    if None in found:
        text = "it is marked as superseded, or workers write to a disk that is not shared"
        raise OSError(f"no row of {jobs[found.index(None)]}: {text}")
    return rows(found)


def _missing(jobs: list[Job], train: Images, counts: Callable = bool) -> list[Job]:
    return [job for job in dict.fromkeys(jobs) if _on_record(job, train, counts) is None]


def _on_record(job: Job, train: Images, counts: Callable = bool) -> dict | None:
    """The first row of a job for which `counts(row)` is true."""
    for row in read(job.study, job.scale, variant=job.variant, seed=job.seed):
        if Job.of(row) == job and row["data"]["train"] == train.fingerprint and counts(row):
            return row
    return None


# ---- the protocol --------------------------------------------------------------------------------


def carry_out(blocks: list[str] | None = None, jobs: int = 2, device: str = "cpu") -> None:
    """Run all that is in the protocol and has no row yet: rate checks, runs, measures of the runs.

    It can be stopped at any time; the same call resumes. Each run has one thread.

    Args:
        blocks: ids in tables/protocol.toml; None: all that are not closed, name their variants and
            are for this kind of device, in their order.
        jobs: runs at a time.
    """
    torch.set_num_threads(1)
    open_ones = [block for block in BLOCKS if block.variants and not block.closed]
    known = {block.id: block for block in open_ones if block.gpu == (device != "cpu")}
    for block in [lookup(known, name, f"{device} block") for name in blocks or known]:
        scale = SCALES[block.scale]
        train, test = prepare.load(scale.source, scale.side_for(block.base))
        if [train.fingerprint, test.fingerprint] != block.data:
            print(f"{block.id}: skipped, other images than the protocol's", file=sys.stderr)
            continue
        for what, find in (("rate checks", _checks), ("runs", _runs), ("halvings", _halvings)):
            calls = find(block, train, test, device)
            print(f"{block.id}: {len(calls)} {what} to do", file=sys.stderr)
            make_all(calls, jobs)
        _average(block, train, test)


def _checks(block: Block, train: Images, test: Images, device: str) -> list[Callable]:
    """The rate checks of a block that have no row."""
    known = [row for row in read("rates", block.scale) if block.lists(row)]
    done = {(row["variant"], row["config"]["train"]["lr"]) for row in known}
    names = block.variants if block.check else ()
    return [
        partial(check_rate, _job(block, name, lr), train, test, block.check, device)
        for name in names
        for lr in block.rates()
        if (name, lr) not in done
    ]


def _runs(block: Block, train: Images, test: Images, device: str) -> list[Callable]:
    """The runs of a block that have no row, at the chosen rates.

    In the order of the variants; on a GPU, which is lent for a limited time, seed by seed.
    """
    names = [(name, seed) for name, seeds in block.variants.items() for seed in range(seeds)]
    if block.gpu:
        names.sort(key=lambda run: run[1])
    rates = read("rates", block.scale)
    jobs = [_job(block, name, chosen_rate(block, name, rates), seed) for name, seed in names]
    wanted = _missing(jobs, train, block.lists)
    return [partial(run_or_row, job, train, test, device) for job in wanted]


def _job(block: Block, variant: str, lr: float, seed: int = 0) -> Job:
    return Job(block.study, variant, block.config_of(variant, lr), block.scale, seed)


def _baselines(block: Block) -> list[dict]:
    """The rows of a block's finished baselines, by seed."""
    found = [row for row in read(block.study, block.scale, variant="baseline") if row["metrics"]]
    return sorted(filter(block.lists, found), key=lambda row: row["seed"])


def _halvings(block: Block, train: Images, test: Images, device: str) -> list[Callable]:
    """The measurements of halving (section 4.2) that are missing for a block's baselines."""
    done = [row["runs"] for row in read("measures", block.scale, kind="halving")]
    return [
        partial(_halve, row, train, test, device)
        for row in _baselines(block)
        if row["config"]["net"].get("dropout") and [measures.key(row)] not in done
    ]


def _halve(row: dict, train: Images, test: Images, device: str) -> None:
    if run := opened(Job.of(row), train, test, device):  # else it was run on another machine
        append(measures.halving(run.model, row, test, device) | provenance(device))


def _average(block: Block, train: Images, test: Images) -> None:
    """The average of a block's first five baselines, unless it is on record."""
    nets = [run for row in _baselines(block)[:5] if (run := opened(Job.of(row), train, test))]
    if len(nets) > 1 and "kernels" in nets[0].row["config"]["net"]:
        pairs = [(run.row, run.probabilities) for run in nets]
        found = measures.ensemble(*zip(*pairs, strict=True), test.labels)
        if not read("measures", block.scale, kind="ensemble", runs=found["runs"]):
            append(found | provenance("cpu"))
