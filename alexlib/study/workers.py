"""Calls in several processes, on this machine or on a Dask cluster: `make_all`."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import torch
from joblib import cpu_count, effective_n_jobs
from tqdm import tqdm

from alexlib.config import reports_root, runs_root
from alexlib.files import imported
from alexlib.progress import bar
from alexlib.training import Stop


def make_all(calls: list[Callable], workers: int = 1, scheduler: str = "") -> None:
    """Make all calls, several at a time, each in a process; an error does not stop the others.

    Args:
        workers: processes on this machine, each with its share of the cores; -1: one per core. With
            one worker, or one call, no process is started and the calls are made here.
        scheduler: address of a Dask scheduler, whose workers are used instead (docs/scaling.md).

    Raises:
        ExceptionGroup: some calls failed; its message names them and their errors.
        KeyboardInterrupt, SystemExit: stopped by SIGINT or SIGTERM. The calls in progress are
            stopped first (training saves a checkpoint); a second signal ends everything at once.
            The workers of a scheduler finish their calls, and calls not begun are cancelled.
    """
    workers = min(effective_n_jobs(workers), len(calls))
    if scheduler and calls:
        errors = _on_cluster(calls, scheduler)
    elif workers > 1:
        errors = _on_this_machine(calls, workers)
    else:
        errors = [error for call in calls if (error := _error_of(call))]
    if errors:
        lines = [f"  {error.__notes__[0]}: {type(error).__name__}: {error}" for error in errors]
        head = f"{len(errors)} of {len(calls)} failed:"
        raise ExceptionGroup("\n".join([head, *lines]), errors)


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


# ---- on this machine -----------------------------------------------------------------------------

# A worker gets the sys.path of this process, so it finds the same alexlib. Unlike multiprocessing,
# it does not run the user's script again, and leaves no process that a kernel would wait for.
WORKER = "import sys; sys.path[:] = {}; from alexlib.study import workers; workers.work()"


def _on_this_machine(calls: list[Callable], workers: int) -> list[Exception]:
    """The errors of calls made by worker processes, which finish theirs if this process dies."""
    threads = max(1, min(cpu_count() // workers, torch.get_num_threads()))
    command = [sys.executable, "-c", WORKER.format(sys.path)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ALEXLIB_WORKER": "1"}
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
    left, started = iter(calls), []  # the drivers share both

    def stop_all() -> None:
        for worker in started:
            worker.terminate()  # as SIGTERM does: training saves a checkpoint

    def drive(done: tqdm) -> list[Exception]:
        """Have a worker make calls until none is left; if it is killed, the next one continues."""
        errors, worker = [], None
        with ExitStack() as end:
            for call in left:
                if stop.asked:
                    break
                if not worker:
                    worker = subprocess.Popen(command, **options)
                    started.append(worker)
                    end.callback(worker.communicate)  # closes its stdin, which ends it
                try:
                    pickle.dump(call, worker.stdin)
                    worker.stdin.flush()
                    error = pickle.load(worker.stdout)
                except (OSError, EOFError, pickle.UnpicklingError):  # the worker has ended
                    worker = None
                    text = "the worker was killed, perhaps for lack of memory: try fewer at a time"
                    error = OSError(text)
                    error.add_note(_name(call))
                errors += [error] if error else []
                done.update()
        return errors

    shown = {"desc": "runs", "total": len(calls), "unit": "run"}
    with Stop(then=stop_all) as stop, bar(**shown) as done, ThreadPoolExecutor(workers) as pool:
        return [error for errors in pool.map(drive, [done] * workers) for error in errors]


def work() -> None:
    """What a worker does: make the calls that come on stdin, and answer each with its error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with os.fdopen(os.dup(1), "wb") as answers, suppress(EOFError, BrokenPipeError):
        os.dup2(2, 1)  # what calls print goes to stderr
        while True:
            pickle.dump(_error_of(pickle.load(sys.stdin.buffer)), answers)
            answers.flush()


# ---- on a cluster --------------------------------------------------------------------------------


def _on_cluster(calls: list[Callable], scheduler: str) -> list[Exception]:
    """The errors of calls made by the workers of a Dask scheduler.

    A call whose worker is lost is made again by another one: a run resumes from its checkpoint. If
    four workers are lost with one call, it fails. (joblib's backend for Dask would wait forever.)
    """
    dask = imported("distributed", "'alexlib[cluster]'")
    folders = {"ALEXLIB_RUNS": str(runs_root()), "ALEXLIB_REPORTS": str(reports_root())}
    with dask.Client(scheduler) as client:
        threads = client.nthreads().values()
        if not threads:
            print(f"{scheduler} has no workers yet: the runs wait for them", file=sys.stderr)
        if max(threads, default=1) > 1:
            text = "start Dask workers with --nthreads 1: runs in one process would"
            raise ValueError(f"{text} draw from the same random numbers")
        futures = {client.submit(_on_dask, call, folders, pure=False): call for call in calls}
        errors = []
        for future in bar(iterable=dask.as_completed(futures), total=len(calls), unit="run"):
            if lost := future.exception():
                lost.add_note(_name(futures[future]))
            errors.append(lost or future.result())
        return [error for error in errors if error]


alone = threading.Lock()  # in a Dask worker: torch has one random number generator per process


def _on_dask(call: Callable, folders: dict[str, str]) -> Exception | None:
    with alone:
        os.environ.update(folders)  # of the client: rows and runs belong there
        return _error_of(call)
