"""A set larger than the memory it is given: packed, loaded and read for training under a limit.

    python benchmarks/memory.py [--pictures 4000] [--limit 400]

Writes as many JPEG files, 256 x 256, then packs them and assembles an epoch of training batches in a process whose
writable memory (Linux: RLIMIT_DATA) may not grow by more than `limit` MB beyond what its libraries take when they are
loaded. The set's squares are larger than that. Writes `benchmarks/results/<machine>.json`: pictures/s of both, and how
far the memory grew.
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

import numpy as np
import torch
from PIL import Image
from record import record

from alexlib import augment, data
from alexlib.batches import Feed, generator, order
from alexlib.config import PAPER

SIDE, BATCH = 256, 128


def write(folder: Path, pictures: int) -> None:
    """train/ and val/, three classes each; one picture in ten is for testing."""
    rng = np.random.default_rng(0)
    for i in range(pictures):
        file = folder / ("val" if i % 10 == 0 else "train") / str(i % 3) / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE)).save(file, quality=80)


def bounded(folder: str, limit: int) -> dict:
    """Packs and reads a folder with `limit` more bytes: "pack", "read" (pictures, seconds), "grown", "set" (bytes)."""
    before = writable()
    resource.setrlimit(resource.RLIMIT_DATA, (before + limit, before + limit))
    started = time.perf_counter()
    train, test = data.load(folder, SIDE)
    packed = time.perf_counter() - started
    mean, draws = torch.tensor(train.mean), generator(0, 0, "augment")
    started, read = time.perf_counter(), 0
    for pixels, _ in Feed(train)(order(len(train), BATCH, 0, 0)):
        x = augment.training_input(pixels, mean, None, 224, PAPER.replace(colour="none").augment, draws)
        read += len(x)
    seconds, pictures = time.perf_counter() - started, len(train) + len(test)
    grown = writable() - before
    return {"pack": (pictures, packed), "read": (read, seconds), "grown": grown, "set": pictures * SIDE**2 * 3}


def writable() -> int:
    """The writable memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmData")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--limit", type=int, default=400, help="MB")
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("a limit on writable memory is known on Linux alone")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALEXLIB_RUNS"] = f"{folder}/runs"
        write(Path(folder, "set"), args.pictures)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                found = pool.submit(bounded, f"{folder}/set", args.limit * 10**6).result()
            except (BrokenProcessPool, MemoryError, RuntimeError) as error:  # torch's own error is a RuntimeError
                sys.exit(
                    f"it did not get by with {args.limit} MB: {str(error).splitlines()[0] if str(error) else error!r}"
                )
    runs = {f"{name} below the limit": [found[name][0] / found[name][1]] for name in ("pack", "read")}
    about = {"set_mb": found["set"] // 10**6, "limit_mb": args.limit, "grown_mb": found["grown"] // 10**6}
    record("memory", "pictures/s", runs, {}, **about, batch=None)


if __name__ == "__main__":
    main()
