"""A set larger than the memory it is given: packed, loaded and read for training under a limit.

    python benchmarks/memory.py [--images 4000] [--limit 400]

Writes JPEG files of 256 x 256, packs them and reads an epoch of training inputs in a process whose
writable memory (Linux: RLIMIT_DATA) may grow by at most `limit` MB after its imports. The packed
set is larger than that.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import numpy as np
import torch
from PIL import Image
from record import record

from alexlib.config import PAPER
from alexlib.data import augment, prepare
from alexlib.data.images import Feed, generator, order

SIDE, BATCH = 256, 128


def write(folder: Path, images: int) -> None:
    """Three classes in train/ and val/; one image in ten is for testing."""
    rng = np.random.default_rng(0)
    for i in range(images):
        file = folder / ("val" if i % 10 == 0 else "train") / str(i % 3) / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE)).save(file, quality=80)


def bounded(folder: str, limit: int) -> dict:
    """Pack and read a folder with `limit` more bytes: images/s of both, bytes of growth and set."""
    before = writable()
    resource.setrlimit(resource.RLIMIT_DATA, (before + limit, before + limit))
    started = time.perf_counter()
    train, test = prepare.load(folder, SIDE)
    packing, images = time.perf_counter() - started, len(train) + len(test)
    settings, mean = PAPER.replace(colour="none").augment, torch.tensor(train.mean)
    started, draws = time.perf_counter(), None
    for pixels, _ in Feed(train)(order(len(train), BATCH, 0, 0)):
        draws = augment.draw(len(pixels), SIDE, 224, settings, generator(0, 0, "augment"))
        augment.training_input(pixels, mean, None, 224, settings, draws)
    reading = len(train) / (time.perf_counter() - started)
    found = {"pack": images / packing, "read": reading, "grown": writable() - before}
    return found | {"set": images * SIDE**2 * 3}


def writable() -> int:
    """The writable memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmData")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--limit", type=int, default=400, help="MB")
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("left out: only Linux can limit the writable memory")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALEXLIB_RUNS"] = f"{folder}/runs"
        write(Path(folder, "set"), args.images)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                found = pool.submit(bounded, f"{folder}/set", args.limit * 10**6).result()
            except (BrokenProcessPool, MemoryError, RuntimeError) as error:
                sys.exit(f"{args.limit} MB were not enough: {error!r}")
    runs = {f"{name} below the limit": [found[name]] for name in ("pack", "read")}
    sizes = {"set_mb": found["set"] // 10**6, "grown_mb": found["grown"] // 10**6}
    record("memory", runs, limit_mb=args.limit, **sizes)


if __name__ == "__main__":
    main()
