"""Training with its data against steps alone, and testing.

    python benchmarks/whole.py [--batch 128] [--rounds 3]

One process, the cases take turns. Training: the second epoch of `fit` on 256 x 256 noise in memory,
with crops, mirror images and colour noise, against as many steps on a mini-batch that is ready.
Testing: the newcomer's net (step.py) and `predict`, with the centre view and with ten views.
"""

import argparse
import os
import time
from collections.abc import Iterator

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import numpy as np
import torch

from alexlib.config import SOURCE2012
from alexlib.data.augment import centre_crop
from alexlib.data.images import Images
from alexlib.models import build
from alexlib.training.loop import fit, predict
from alexlib.training.machine import keep_freed_memory
from record import in_turns, record, times
from step import newcomer, steps

STEPS = 8
CONFIG = SOURCE2012.replace(epochs=2, lr=0.001, validation=0.0, schedule="constant")


def noise(n: int, side: int = 256) -> Images:
    """Images of noise of ten classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    mean, values = np.full((side, side, 3), 127.5, np.float32), np.array([100.0, 1000.0, 10000.0])
    labels = rng.integers(0, 10, n)
    return Images(
        pixels, labels, tuple("abcdefghij"), mean, values, np.eye(3), "noise", "train", "0"
    )


def theirs(images: Images, batch: int) -> Iterator[None]:
    """Endless tests of the newcomer's net on the centre of each image, in float32."""
    model = newcomer().eval()
    while True:
        with torch.no_grad():
            for part in np.array_split(images.pixels, max(1, len(images) // batch)):
                x = torch.from_numpy(centre_crop(part, 224).copy()).permute(0, 3, 1, 2)
                model((x.contiguous().float() - 127.5) / 60).softmax(1)
        yield


def ours(images: Images, views: str, batch: int) -> Iterator[None]:
    """Endless tests by `predict`."""
    model = build(CONFIG).to(memory_format=torch.channels_last)
    while True:
        predict(model, images, CONFIG, views=views, batch=batch)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory("cpu")
    images = noise(STEPS * args.batch)
    nothing, config = images.subset(range(0)), CONFIG.replace(batch=args.batch)
    alone, model = steps("source2012", "bf16", "fast", args.batch), build(config)
    runs = {"steps alone": [], "fit, with its data": []}
    for turn in range(args.rounds + 1):  # the first one warms up
        started = time.perf_counter()
        for _ in range(STEPS):
            next(alone)
        seconds = time.perf_counter() - started
        history = fit(model, images, nothing, config, progress=False)
        if turn:
            runs["steps alone"].append(len(images) / seconds)
            runs["fit, with its data"].append(history[-1]["pictures_per_second"])
    record("training with data", runs, batch=args.batch)
    few = images.subset(range(2 * args.batch))
    cases = {
        "newcomer, fp32, centre view": theirs(few, args.batch),
        "SOURCE2012, bf16, centre view": ours(few, "centre", args.batch),
        "SOURCE2012, bf16, ten views": ours(few, "ten", args.batch),
    }
    record("testing", times(in_turns(cases, args.rounds), len(few)), batch=args.batch)


if __name__ == "__main__":
    main()
