"""An epoch of the four-layer CIFAR net side by side: what a newcomer writes, and ours in both precisions.

    python benchmarks/cifar.py [--rounds 5]

One process; the cases take turns, with 50,000 random pictures in memory. Newcomer: torch's modules, fp32, default
layout, a plain loop over a TensorDataset's DataLoader. Writes `benchmarks/results/<machine>.json`; seconds for
50,000 pictures follow from the pictures/s. Then tanh alone, torch's and ours, on small and large bfloat16 numbers.
"""

import argparse
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from record import in_turns, record, times
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from alexlib import augment
from alexlib.batches import Feed, generator, order
from alexlib.config import FIGURE1
from alexlib.data import Images
from alexlib.layers import Tanh
from alexlib.nets import build
from alexlib.optim import make_optimizer
from alexlib.train import autocast, keep_freed_memory

N = 50_000


def newcomer(pixels, labels) -> Iterator[None]:
    """Endless training steps as one writes them from torch's modules."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    loader = DataLoader(TensorDataset(x, torch.from_numpy(labels)), 128, shuffle=True, drop_last=True)
    while True:
        for batch, target in loader:
            loss = F.cross_entropy(model(batch.float() - 120), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def ours(images: Images, precision: str, activation: str = "relu") -> Iterator[None]:
    """Endless steps as `train.fit` makes them."""
    spec = FIGURE1.replace(precision=precision, activation=activation)
    model = build(spec).to(memory_format=torch.channels_last)
    optimizer, feed, mean = make_optimizer(model, spec.train), Feed(images), torch.tensor(images.mean)
    for epoch in count():
        for pixels, labels in feed(order(N, 128, 0, epoch)[: N // 128]):
            x = augment.training_input(pixels, mean, None, 32, spec.augment, generator(0, 0, "augment"))
            with autocast("cpu", precision):
                scores = model(x).float()
            F.cross_entropy(scores, labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory("cpu")
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, N)
    about = {"eigenvalues": np.ones(3), "eigenvectors": np.eye(3), "name": "noise", "split": "train"}
    mean = np.full((32, 32, 3), 127.5, np.float32)
    images = Images(pixels, labels, tuple("abcdefghij"), mean, fingerprint="noise", **about)
    cases = {
        "newcomer: torch modules, DataLoader, fp32": newcomer(pixels, labels),
        "four-layer net, fp32": ours(images, "fp32"),
        "four-layer net, bf16": ours(images, "bf16"),
        "four-layer net, tanh, bf16": ours(images, "bf16", "tanh"),
    }
    runs = times(in_turns(cases, args.rounds, seconds=1), 128)
    epochs = {name: {"epoch_s": round(N / float(np.median(speeds)), 1)} for name, speeds in runs.items()}
    record("CIFAR epoch", "pictures/s", runs, epochs, batch=128)
    millions = 4
    alone = {
        f"{name}, inputs of standard deviation {std}": repeat(f, std * torch.randn(millions * 10**6))
        for std in (1, 80)
        for name, f in (("torch.tanh, bf16", torch.tanh), ("alexlib.layers.Tanh, bf16", Tanh()))
    }
    record("tanh", "million numbers/s", times(in_turns(alone, args.rounds, seconds=0.2), millions), {}, batch=None)


def repeat(f, x) -> Iterator[None]:
    """Endless calls of f on x in bfloat16."""
    x = x.bfloat16()
    while True:
        f(x)
        yield


if __name__ == "__main__":
    main()
