"""Calls in several processes, on this machine or on a Dask cluster: `make_all`."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from multiprocessing import active_children

import torch
from joblib import Parallel, cpu_count, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky import get_reusable_executor

from alexlib.config import reports_root, runs_root
from alexlib.progress import bar
from alexlib.training import Stop


def make_all(calls: list[Callable], workers: int = 1, scheduler: str = "") -> None:
    """Make all calls, several at a time, each in a process; an error does not stop the others.

    Args:
        workers: processes on this machine, each with its share of the cores; -1: one per core. One
            worker, or one call, needs no process and is made here.
        scheduler: address of a Dask scheduler, whose workers are used instead (docs/scaling.md).

    Raises:
        ExceptionGroup: some calls failed; its message names them and their errors.
        KeyboardInterrupt, SystemExit: stopped by SIGINT or SIGTERM. The calls in progress are
            stopped first (training saves a checkpoint); a second signal ends everything at once.
            The workers of a scheduler finish their calls, and calls not begun are cancelled.
        OSError: a worker was killed.
    """
    workers = min(effective_n_jobs(workers), len(calls))
    if scheduler and calls:
        errors = _on_cluster(calls, scheduler)
    elif workers > 1:
        errors = _on_this_machine(calls, workers)
    else:
        errors = []
        for call in calls:
            try:
                call()
            except Exception as error:
                error.add_note(_name(call))
                errors.append(error)
    if errors:
        lines = [f"{len(errors)} of {len(calls)} failed:", *map(_line, errors)]
        raise ExceptionGroup("\n".join(lines), errors)


def _line(error: Exception) -> str:
    return f"  {error.__notes__[0]}: {type(error).__name__}: {error}"


def _name(call: Callable) -> str:
    """What a call is about: its first argument, e.g. a `Job`."""
    return str(next(iter(getattr(call, "args", ())), call))[:80]


def _error_of(call: Callable) -> Exception | None:
    """Make a call; its error has the traceback as a note, because pickling drops tracebacks."""
    try:
        call()
    except Exception as error:
        error.add_note(_name(call))
        error.add_note(traceback.format_exc())
        return error
    return None


def _shown(iterable: Iterable, total: int) -> Iterable:
    return bar(iterable=iterable, desc="runs", total=total, unit="run")


# ---- on this machine -----------------------------------------------------------------------------


def _on_this_machine(calls: list[Callable], workers: int) -> list[Exception]:
    """The errors of calls made by loky's processes. If this process dies, they finish theirs."""
    threads = max(1, min(cpu_count() // workers, torch.get_num_threads()))
    options = {"inner_max_num_threads": threads, "initializer": _start_worker}
    with _StopWorkers() as stop, parallel_config("loky", **options):
        wanted = (delayed(_in_worker)(call) for call in calls if not stop.asked)
        lazily = {"pre_dispatch": "n_jobs", "return_as": "generator_unordered"}
        try:
            done = Parallel(workers, batch_size=1, **lazily)(wanted)
            return [error for error in _shown(done, len(calls)) if error]
        except BrokenExecutor as error:
            text = "a worker was killed, perhaps for lack of memory: try fewer at a time"
            raise OSError(f"{text}; finished runs are kept, the others resume") from error


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
    """Make a call, which SIGTERM ends, and return its error.

    An exception, SystemExit too, would make joblib kill the other workers.
    """
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return None if stopped.is_set() else _error_of(call)
    except SystemExit:
        return None
    finally:
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())


# ---- on a cluster --------------------------------------------------------------------------------


def _on_cluster(calls: list[Callable], scheduler: str) -> list[Exception]:
    """The errors of calls made by the workers of a Dask scheduler.

    A call whose worker is lost is made again by another one: a run resumes from its checkpoint. If
    four workers are lost with one call, it fails. (joblib's backend for Dask would wait forever.)
    """
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError:
        text = "a scheduler needs dask.distributed: pip install 'alexlib[cluster]'"
        raise ModuleNotFoundError(text) from None
    folders = {"ALEXLIB_RUNS": str(runs_root()), "ALEXLIB_REPORTS": str(reports_root())}
    with Client(scheduler) as client:
        threads = client.nthreads().values()
        if not threads:
            print(f"{scheduler} has no workers yet: the runs wait for them", file=sys.stderr)
        if max(threads, default=1) > 1:
            text = "start Dask workers with --nthreads 1: runs in one process would"
            raise ValueError(f"{text} draw from the same random numbers")
        futures = {client.submit(_on_dask, call, folders, pure=False): call for call in calls}
        errors = []
        for future in _shown(as_completed(futures), len(calls)):
            if lost := future.exception():
                lost.add_note(_name(futures[future]))
            errors.append(lost or future.result())
        return [error for error in errors if error]


alone = threading.Lock()  # in a Dask worker: torch has one generator of random numbers per process


def _on_dask(call: Callable, folders: dict[str, str]) -> Exception | None:
    with alone:
        os.environ.update(folders)  # of the client: rows and runs belong there
        return _error_of(call)
