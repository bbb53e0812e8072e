"""Jobs in processes of their own, several at a time; none of them outlives the process that started it.

for result in each(function, jobs, workers=2, threads=1):  # in the order of the jobs
    ...
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from alexold import progress as progress_line
from alexold.interrupt import stoppable, unseen
from alexold.progress import Progress, clock

MEMORY = 3 * 2**30  # bytes that a worker may need: AlexNet at batch 128 in training


def room(device: str, jobs: int) -> int:
    """How many jobs at a time: one on a GPU; on a CPU one a core, as far as the free memory goes."""
    if {torch.device(name).type for name in device.split(",")} != {"cpu"}:
        return 1
    cores, free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 0
    try:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return 1
    return max(1, min(cores, jobs, free // MEMORY))


def each(function: Callable, jobs: Iterable[tuple], workers: int, threads: int, what: str = "runs") -> Iterator:
    """`function(*job)` of all jobs, in processes with `threads` threads each; yields results in the order of the jobs.

    A job that fails ends the others, and its exception is raised here. What is interrupted here, by SIGINT or SIGTERM,
    ends there too, after its step and a checkpoint.
    """
    before, jobs = set(multiprocessing.active_children()), list(jobs)
    context = multiprocessing.get_context("spawn")  # forked threads of torch hang
    progress, started, lines, line = Progress(), time.monotonic(), context.SimpleQueue(), ""
    with (
        ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(threads, lines)) as pool,
        stoppable() as stop,
    ):
        try:
            with unseen():
                futures = [pool.submit(_job, function, *job) for job in jobs]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                finished = len(jobs) - len(waiting)
                left = f", {clock((time.monotonic() - started) / finished * len(waiting))} left" if finished else ""
                while not lines.empty():
                    line = f"; {lines.get()}"
                if stop.asked:
                    text = f"stopped with {finished} of {len(jobs)} {what} done; the same command goes on from there"
                    progress.end(text)
                    stop.leave(text)
                if progress.due():
                    progress.show(f"{finished} of {len(jobs)} {what}, {workers} at a time{left}{line}")
        except BrokenProcessPool as error:
            raise OSError("a worker was killed, perhaps for want of memory: run the same again, it goes on") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if waiting:
                _end(set(multiprocessing.active_children()) - before)
    progress.end(f"{len(jobs)} {what}, {workers} at a time, in {clock(time.monotonic() - started)}")
    yield from (future.result() for future in futures)


def _end(workers: set) -> None:
    """End workers; those in training may save before, unless a second Ctrl-C ends them at once."""
    for worker in workers:
        worker.terminate()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.kill()
        raise


def _job(function: Callable, *job):
    """In a worker: a job that SIGTERM has ended ends its process, which would take the next one."""
    try:
        return function(*job)
    except SystemExit as stop:
        os._exit(stop.code)


def _begin(threads: int, lines) -> None:
    """In a new worker: its share of the cores, progress to the parent alone, and an end when its parent ends.

    Ctrl-C, which a terminal sends to all of them, is for the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    progress_line.listener = lines.put
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
