"""Training with its data against steps alone, and testing, in pictures a second.

    python benchmarks/whole.py [--batch 128] [--rounds 3]

One process, the cases take turns. Training: the second epoch of `train.fit` on random pictures of 256 x 256 in memory,
with crops, mirror images and colour noise, against as many steps on one batch that is ready. Testing: the newcomer's
net in float32 (`benchmarks/step.py`) on pictures cut to their centre, and `train.predict` with the centre and with ten
views, bf16. Writes `benchmarks/results/<machine>.json`.
"""

import argparse
import contextlib
import io
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from record import in_turns, record, times
from step import newcomer

from alexlib import augment
from alexlib.config import SOURCE2012
from alexlib.data import Images
from alexlib.nets import build
from alexlib.optim import make_optimizer
from alexlib.train import autocast, fit, keep_freed_memory, predict

SIDE, STEPS = 256, 8
SPEC = SOURCE2012.replace(classes=10, epochs=2, lr=0.001, validation=0.0, schedule="constant")


def pictures(n: int) -> Images:
    """Random pictures of ten classes."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(0, 10, n)
    about = {"eigenvalues": np.array([100.0, 1000.0, 10000.0]), "eigenvectors": np.eye(3), "name": "noise"}
    mean = np.full((SIDE, SIDE, 3), 127.5, np.float32)
    return Images(pixels, labels, tuple("abcdefghij"), mean, fingerprint="noise", split="train", **about)


def steps(batch: int, count: int) -> Iterator[None]:
    """Endless rounds of as many steps on a batch that is ready."""
    model = build(SPEC).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, SPEC.train)
    x, labels = torch.randn(batch, 3, 224, 224) * 60, torch.arange(batch) % 10
    x = x.contiguous(memory_format=torch.channels_last)
    while True:
        for _ in range(count):
            with autocast("cpu", "bf16"):
                scores = model(x).float()
            F.cross_entropy(scores, labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield


def theirs(images: Images, batch: int) -> Iterator[None]:
    """Endless tests of the newcomer's net on the centre of each picture, in float32."""
    model = newcomer(10).eval()
    while True:
        with torch.no_grad():
            for part in np.array_split(images.pixels, max(1, len(images) // batch)):
                x = torch.from_numpy(augment.centre_crop(part, 224).copy()).permute(0, 3, 1, 2).contiguous()
                model((x.float() - 127.5) / 60).softmax(1)
        yield


def ours(images: Images, views: str, batch: int) -> Iterator[None]:
    """Endless tests by `predict`."""
    model = build(SPEC).to(memory_format=torch.channels_last)
    while True:
        predict(model, images, SPEC, views=views, batch=batch)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory("cpu")
    images = pictures(STEPS * args.batch)
    alone, model = steps(args.batch, STEPS), build(SPEC)
    runs = {"steps alone": [], "fit, with its data": []}
    for turn in range(args.rounds + 1):  # the first one warms up
        started = time.perf_counter()
        next(alone)
        seconds = time.perf_counter() - started
        with contextlib.redirect_stderr(io.StringIO()):
            history = fit(model, images, images.subset(range(0)), SPEC.replace(batch=args.batch))
        if turn:
            runs["steps alone"].append(len(images) / seconds)
            runs["fit, with its data"].append(history[-1]["pictures_per_second"])
    record("training with data", "pictures/s", runs, {}, batch=args.batch)
    few = images.subset(range(2 * args.batch))
    cases = {
        "newcomer: torch modules, fp32, centre": theirs(few, args.batch),
        "source2012, bf16, centre": ours(few, "centre", args.batch),
        "source2012, bf16, ten views": ours(few, "ten", args.batch),
    }
    runs = times(in_turns(cases, args.rounds), len(few))
    record("testing", "pictures/s", runs, {}, batch=args.batch)


if __name__ == "__main__":
    main()
