"""All runs that the protocol lists, in its order: `python -m alexold study` begins them or goes on with them.

It can be stopped at any moment (SIGTERM or Ctrl-C saves after the step); the same command goes on. Each job is a run in
a process of its own with one thread. What was measured without training follows the runs it rests on.
"""

import os
import sys

from alexold import data, measures, protocol, rows, study
from alexold.config import SCALES
from alexold.protocol import Block
from alexold.workers import each

THREADS = 1  # of each run, as the protocol says: with more, sums are added in another order


def carry_out(blocks: list[str] | None = None, jobs: int = 2) -> None:
    """Run the blocks with these ids (all that are open, where none is named), `jobs` runs at a time.

    ValueError: an id that the protocol does not have; the message lists them.
    """
    os.environ["OMP_NUM_THREADS"] = str(THREADS)  # before torch is imported in the processes of the runs
    known = {block.id: block for block in protocol.BLOCKS if not block.closed}
    if unknown := set(blocks or ()) - set(known):
        raise ValueError(f"unknown block {', '.join(sorted(unknown))}: valid ones: {', '.join(known)}")
    for block in [known[id] for id in blocks or known]:
        train, test = data.load(SCALES[block.scale].source, block_side(block))
        if (train.fingerprint, test.fingerprint) != block.data:
            found = f"{train.fingerprint}, {test.fingerprint}"
            print(f"{block.id}: left out, the images here ({found}) are not those of the protocol", file=sys.stderr)
            continue
        measures.of_block(block, train, test)  # what an earlier start left
        for todo in (rate_checks, main_runs):
            calls = todo(block, train, test)
            print(f"{block.id}: {len(calls)} {todo.__name__.replace('_', ' ')} to do", file=sys.stderr)
            list(each(_job, calls, jobs, THREADS))
        measures.of_block(block, train, test)


def block_side(block: Block) -> int:
    return SCALES[block.scale].side_for(block.base)


def rate_checks(block: Block, train, test) -> list[tuple]:
    """The rate checks of a block that have no row yet."""
    jobs = []
    for variant in (*block.variants, *block.also_check) if block.check else ():
        known = [row for row in rows.read("rates", block.scale, variant=variant) if block.lists(row)]
        done = {row["config"]["train"]["lr"] for row in known}
        jobs += [("check", block, variant, lr, 0, train, test) for lr in block.rates() if lr not in done]
    return jobs


def main_runs(block: Block, train, test) -> list[tuple]:
    """The runs of a block that have no row yet, seed by seed, each at the rate that its check chose."""
    jobs = []
    for seed in range(max(block.variants.values())):
        for variant, seeds in block.variants.items():
            lr = protocol.chosen_rate(block, variant, rows.read("rates", block.scale))
            there = rows.read(block.study, block.scale, variant=variant, seed=seed)
            if seed < seeds and not any(block.lists(row) and row["config"]["train"]["lr"] == lr for row in there):
                jobs.append(("run", block, variant, lr, seed, train, test))
    return jobs


def _job(kind: str, block: Block, variant: str, lr: float, seed: int, train, test) -> None:
    spec = block.spec(variant, lr)
    if kind == "check":
        study.check_rate(block.study, variant, spec, block.scale, train, test, seed, block.check)
    else:
        run = study.run_or_record(block.study, variant, spec, block.scale, train, test, seed)
        if run and variant == "baseline":
            measures.halving(run, test)
