"""Cases that take turns, and their results: one file a machine, a list of objects, one for each case of a benchmark."""

import itertools
import json
import multiprocessing
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torchvision

from alexlib.paths import write_whole
from alexlib.rows import device_name

RESULTS = Path(__file__).parent / "results"
_steps: Iterator = iter(())  # of the case that this process measures


def in_turns(cases: dict[str, Iterator], rounds: int, seconds: float = 1) -> dict[str, list[float]]:
    """Steps a second of endless iterators in this process, one value a round.

    They take turns, as many steps at a time as fill `seconds` by the measure of a first round, which does not count.
    """
    found, steps = {name: [] for name in cases}, dict.fromkeys(cases, 1)
    for turn in range(rounds + 1):
        for name, endless in cases.items():
            if not turn:
                next(endless)
            took = _time(endless, steps[name])
            if turn:
                found[name].append(steps[name] / took)
            else:
                steps[name] = max(1, round(seconds / took))
    return found


def in_processes(cases: dict[str, tuple], rounds: int, seconds: float = 2) -> tuple[dict, dict]:
    """Steps a second of each case in a process of its own, and the peak memory of each process in bytes.

    Args:
        cases: a function that gives an endless iterator, and its arguments. The processes take turns and sleep
            otherwise; a first step does not count.
    """
    context = multiprocessing.get_context("spawn")
    found, peaks, pools = {name: [] for name in cases}, {}, {}
    try:
        for name, (make, *given) in cases.items():
            pools[name] = ProcessPoolExecutor(1, context, _begin, (make, given))
            took, _ = pools[name].submit(_turn, 1).result()
        steps = {name: max(1, round(seconds / pool.submit(_turn, 1).result()[0])) for name, pool in pools.items()}
        for _ in range(rounds):
            for name, pool in pools.items():
                took, peaks[name] = pool.submit(_turn, steps[name]).result()
                found[name].append(steps[name] / took)
    finally:
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)
    return found, peaks


def _begin(make: Callable, given: list) -> None:
    global _steps
    _steps = make(*given)


def _turn(steps: int) -> tuple[float, int]:
    return _time(_steps, steps), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _time(endless: Iterator, steps: int) -> float:
    started = time.perf_counter()
    for _ in itertools.islice(endless, steps):
        pass
    return time.perf_counter() - started


def times(runs: dict[str, list[float]], work: float) -> dict[str, list[float]]:
    """Steps a second as work a second."""
    return {name: [work * value for value in values] for name, values in runs.items()}


def record(benchmark: str, unit: str, runs: dict[str, list[float]], extra: dict[str, dict], **common) -> Path:
    """Replace a benchmark's objects in this machine's file: median of each case, its ratio to the first case, the runs.

    `extra` adds fields to single cases, `common` to all.
    """
    first = statistics.median(next(iter(runs.values())))
    made = [
        {
            "benchmark": benchmark,
            "case": case,
            "value": float(f"{statistics.median(values):.4g}"),
            "unit": unit,
            "ratio": round(statistics.median(values) / first, 2),
            "runs": [float(f"{value:.4g}") for value in values],
            **extra.get(case, {}),
            **common,
            "device": device_name("cpu"),
            "versions": {
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "python": platform.python_version(),
            },
        }
        for case, values in runs.items()
    ]
    for result in made:
        print(f"{result['value']:10.1f} {unit}  x{result['ratio']:<6}  {result['case']}", flush=True)
    file = RESULTS / (re.sub(r"\W+", "-", device_name("cpu")).strip("-").lower() + ".json")
    kept = json.loads(file.read_text()) if file.exists() else []
    kept = [result for result in kept if result["benchmark"] != benchmark]
    text = json.dumps(kept + made, indent=1) + "\n"
    write_whole(file, lambda out: out.write(text.encode()))
    return file
