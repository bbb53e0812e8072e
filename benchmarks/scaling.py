"""Cost as work grows: images/s against width, crop, batch, threads and number of images.

    python benchmarks/scaling.py [--rounds 3]

Training steps: one process, the cases take turns, mini-batches are ready; 100 classes. All settings
but one are those of BASE. Reading: crops, flips and colour noise of images of 256 pixels in a file
that is mapped into memory; if it is cold, the system has dropped its copy of the file (Linux).
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import numpy as np
import torch

from alexlib import figures
from alexlib.config import ROOT, SOURCE2012
from alexlib.data.images import Images
from alexlib.models import shapes_and_cost
from alexlib.training import machine
from data import BATCH, packed
from record import in_turns, record, times
from step import steps

BASE = {"width": 0.5, "input": 128, "batch": 32, "threads": machine.available_threads()}
PANELS = {
    "width": (0.125, 0.25, 0.5, 1),
    "input": (64, 96, 128, 224),
    "batch": (1, 4, 16, 32, 64, 128),
    "threads": tuple(range(1, BASE["threads"] + 1)),
}
SETS, SIDE = (500, 2000, 8000), 256


def config_of(threads: int = 1, **fields):
    return machine.resolved(SOURCE2012.replace(classes=100, **fields), "cpu")


def with_threads(threads: int, **fields):
    """Endless training steps."""
    config = config_of(**fields)
    for _ in steps(config, config.train.precision, "fast", config.train.batch):
        yield
        torch.set_num_threads(threads)


def reading(file: Path, n: int, cold: bool):
    """Endless training inputs from the first n images of a file."""
    pixels = np.asarray(np.memmap(file, np.uint8, "r", shape=(n, SIDE, SIDE, 3)))
    mean, statistics = np.zeros((SIDE, SIDE, 3), np.float32), (np.ones(3), np.eye(3))
    about = ("set", "train", "")
    images = Images(pixels, np.zeros(n, int), ("a",), mean, *statistics, *about)
    for _ in packed(images, SOURCE2012):
        yield
        if cold:
            with open(file) as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    points = {f"{name} {x:g}": BASE | {name: x} for name, values in PANELS.items() for x in values}
    done = in_turns({case: with_threads(**fields) for case, fields in points.items()}, rounds)
    with tempfile.TemporaryDirectory() as folder:
        file, one = Path(folder, "set.u8"), np.random.default_rng(0).bytes(500 * SIDE**2 * 3)
        with open(file, "wb") as out:
            out.writelines(one for _ in range(max(SETS) // 500))
        ways = {"warm": False} | ({"cold": True} if hasattr(os, "posix_fadvise") else {})
        sets = {f"{n} images, {w}": (n, cold) for w, cold in ways.items() for n in SETS}
        read = in_turns({case: reading(file, *given) for case, given in sets.items()}, rounds)
    speeds = {case: [points[case]["batch"] * x for x in values] for case, values in done.items()}
    stages = {case: shapes_and_cost(config_of(**fields)) for case, fields in points.items()}
    cost = {case: 3e-9 * sum(stage["macs"] for stage in found) for case, found in stages.items()}
    rate = {case: round(cost[case] * np.median(speeds[case])) for case in speeds}
    record("scaling", speeds, g_multiply_adds_per_s=rate)
    record("reading", read := times(read, BATCH), batch=BATCH)

    figure, axes = figures.new_figure(13, 2.8, 1, 5)
    lines = [(name, "", values, speeds, f"{name} {{:g}}") for name, values in PANELS.items()]
    lines += [("images, read only", w, SETS, read, f"{{:g}} images, {w}") for w in ways]
    for i, (name, label, x, found, case) in enumerate(lines):
        y = [np.median(found[case.format(value)]) for value in x]
        axes[min(i, 4)].loglog(x, y, "o-", label=label)
        axes[min(i, 4)].set_xticks(x, [f"{value:g}" for value in x])
        axes[min(i, 4)].set(title=name, ylim=(20, 5000))
        axes[min(i, 4)].minorticks_off()
    axes[0].set_ylabel("images/s")
    axes[4].legend()
    figure.savefig(ROOT / "reports" / "figures" / "scaling.png", dpi=100)


if __name__ == "__main__":
    main()
