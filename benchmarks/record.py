"""Cases that take turns, and their results: a file for each machine, an object for each case."""

import itertools
import json
import multiprocessing
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from alexlib.files import atomic_write
from alexlib.training.machine import provenance

RESULTS = Path(__file__).parent / "results"
_steps: Iterator = iter(())  # of the case that this process measures


def in_turns(cases: dict[str, Iterator], rounds: int, seconds: float = 1) -> dict[str, list[float]]:
    """Steps per second of endless iterators in this process, one value for each round.

    They take turns of about `seconds`; a first round warms up and is not counted.
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
    """Steps per second of each case in a process of its own, and their peak memory in bytes.

    Args:
        cases: a function that returns an endless iterator, and its arguments. The processes take
            turns and sleep otherwise; the first steps are not counted.
    """
    context = multiprocessing.get_context("spawn")
    found, peaks, pools = {name: [] for name in cases}, {}, {}
    try:
        for name, (make, *given) in cases.items():
            pools[name] = ProcessPoolExecutor(1, context, _begin, (make, given))
            pools[name].submit(_turn, 1).result()
        once = {name: pool.submit(_turn, 1).result()[0] for name, pool in pools.items()}
        steps = {name: max(1, round(seconds / took)) for name, took in once.items()}
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
    """Steps per second as work per second."""
    return {name: [work * value for value in values] for name, values in runs.items()}


def record(name: str, runs: dict, *, unit: str = "images/s", device: str = "cpu", **more) -> Path:
    """Replace a benchmark's results in the machine's file.

    Each has the median of the runs, its ratio to that of the first case, and `more`: values by
    case, or one for all.
    """
    first, about = statistics.median(next(iter(runs.values()))), provenance(device)
    made = []
    for case, values in runs.items():
        value = statistics.median(values)
        result = {"benchmark": name, "case": case, "value": float(f"{value:.4g}"), "unit": unit}
        result |= {"ratio": round(value / first, 2), "runs": [float(f"{x:.4g}") for x in values]}
        result |= {k: v.get(case) if isinstance(v, dict) else v for k, v in more.items()}
        made.append(result | {key: about[key] for key in ("device", "versions")})
        print(f"{value:10.1f} {unit}  x{result['ratio']:<6}  {case}", flush=True)
    file = RESULTS / (re.sub(r"\W+", "-", about["device"]).strip("-").lower() + ".json")
    kept = json.loads(file.read_text()) if file.exists() else []
    text = json.dumps([r for r in kept if r["benchmark"] != name] + made, indent=1) + "\n"
    atomic_write(file, lambda out: out.write(text.encode()))
    return file
