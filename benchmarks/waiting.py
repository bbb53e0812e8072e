"""What waiting OpenMP threads do: spin (the default) or sleep (OMP_WAIT_POLICY=PASSIVE).

    python benchmarks/waiting.py [--rounds 3]

Training steps of the net of the sample scale, in child processes, on a machine that is otherwise
idle and on one where other programs keep all cores busy.
"""

import argparse
import importlib
import multiprocessing
import os
import subprocess
import sys
import time
from itertools import islice

CASES = {  # the child's environment, and whether the machine is busy
    "idle machine, waiting threads spin": ({}, False),
    "idle machine, waiting threads sleep": ({"OMP_WAIT_POLICY": "PASSIVE"}, False),
    "busy machine, waiting threads spin": ({}, True),
    "busy machine, waiting threads sleep": ({"OMP_WAIT_POLICY": "PASSIVE"}, True),
}
BATCH = 32


def child() -> None:
    """Print the images/s of training steps for about five seconds."""
    importlib.import_module("torch")  # reads OMP_WAIT_POLICY now, before `step` sets it
    import step

    from alexlib.config import config_at

    step.CONFIGS["sample"] = config_at("source2012", "sample", classes=1000)
    endless, done = step.steps("sample", "bf16", "fast", BATCH), 0
    list(islice(endless, 3))
    started = time.perf_counter()
    while time.perf_counter() - started < 5:
        next(endless)
        done += 1
    print(BATCH * done / (time.perf_counter() - started))


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    runs = {name: [] for name in CASES}
    for _ in range(args.rounds):
        for name, (policy, busy) in CASES.items():
            environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | policy
            others = [multiprocessing.Process(target=spin) for _ in range(busy * os.cpu_count())]
            for other in others:
                other.start()
            command = [sys.executable, __file__, "child"]
            try:
                text = subprocess.check_output(command, env=environment, text=True)
            finally:
                for other in others:
                    other.kill()
            runs[name].append(float(text))
    from record import record

    record("waiting threads", runs, batch=BATCH)


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
