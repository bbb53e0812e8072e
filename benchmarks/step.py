"""Training steps of AlexNet side by side, then the response norm alone.

    python benchmarks/step.py [--batch 128] [--rounds 4] [--device cpu]

Pictures are in memory. Each case has a process of its own, the processes take turns. What is compared: the paper's net
from torch's modules in float32, as one writes it; the same under `torch.compile`, where a C++ compiler is at hand;
torchvision's `alexnet`, which is another net (no LRN, no groups, 64 to 384 kernels, as many multiply-adds but for
1 %); and ours. Writes `benchmarks/results/<machine>.json`: pictures/s, the ratio to the first case, peak memory of each
process.
"""

import argparse
import shutil
from collections.abc import Iterator

import torch
import torch.nn.functional as F
import torchvision
from record import in_processes, in_turns, record, times
from torch import nn

from alexlib import native
from alexlib.config import PAPER, SOURCE2012
from alexlib.layers import LocalResponseNorm
from alexlib.nets import AlexNet
from alexlib.optim import make_optimizer
from alexlib.train import autocast, keep_freed_memory

CASES = {  # net, precision, what is done to it
    "newcomer: torch modules, nn.LocalResponseNorm, fp32": ("newcomer", "fp32", ""),
    "newcomer under torch.compile": ("newcomer", "fp32", "compiled"),
    "torchvision alexnet (not the net of 2012), fp32": ("torchvision", "fp32", ""),
    "paper, fp32": ("paper", "fp32", "ours"),
    "paper, bf16": ("paper", "bf16", "ours"),
    "source2012, bf16": ("source2012", "bf16", "ours"),
    "paper, bf16, without kernels.c": ("paper", "bf16", "ours plain"),
    "paper, bf16, memory returned to the system": ("paper", "bf16", ""),
}


def newcomer(classes: int) -> nn.Module:
    """The paper's net as one writes it from torch's modules, with torch's own initial values."""

    def norm():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    return nn.Sequential(
        *(nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
        nn.Linear(4096, classes),
    )


def steps(kind: str, precision: str, how: str, batch: int, device: str) -> Iterator[None]:
    """Endless training steps on pictures in memory."""
    torch.manual_seed(0)
    if "ours" in how:
        keep_freed_memory(device)
    if "plain" in how:
        native.kernels = lambda: None
    x, labels = torch.rand(batch, 3, 224, 224) * 255 - 120, torch.randint(0, 1000, (batch,))
    if kind in ("newcomer", "torchvision"):
        model = newcomer(1000) if kind == "newcomer" else torchvision.models.alexnet()
        model = model.to(device)
        optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=5e-4)
        x = x / 60
    else:
        spec = {"paper": PAPER, "source2012": SOURCE2012}[kind].replace(lr=0.001)
        model = AlexNet(spec).to(device, memory_format=torch.channels_last)
        optimizer = make_optimizer(model, spec.train)
        x = x.contiguous(memory_format=torch.channels_last)
    forward = torch.compile(model) if "compiled" in how else model
    x, labels = x.to(device), labels.to(device)
    while True:
        with autocast(device, precision):
            scores = forward(x).float()
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.cuda.synchronize()
        yield


def norms(batch: int) -> dict[str, Iterator]:
    """The response norm of conv1 forward and backward, torch's and ours, and copies of the same bytes.

    A pass forward reads x and writes y; one backward reads x and the gradient, and writes one: five times the bytes.
    """
    x = torch.randn(batch, 96, 55, 55) * 40
    theirs, ours = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0), LocalResponseNorm()

    def both(norm, x, plain=False):
        x, g = x.requires_grad_(), torch.randn_like(x)
        built = native.kernels
        while True:
            native.kernels = (lambda: None) if plain else built
            torch.autograd.grad(norm(x), x, g)
            native.kernels = built
            yield

    def copies(x):
        a, b, c, d = (torch.zeros_like(x) for _ in range(4))
        while True:  # a copy reads and writes
            b.copy_(a)
            d.copy_(c)
            b[: batch // 2].copy_(c[: batch // 2])
            yield

    last = x.to(memory_format=torch.channels_last)
    return {
        "torch.nn.LocalResponseNorm, fp32": both(theirs, x.clone()),
        "ours, fp32": both(ours, last.clone()),
        "ours, bf16": both(ours, last.bfloat16()),
        "ours without kernels.c, bf16": both(ours, last.bfloat16(), plain=True),
        "floor: copy of the same bytes, fp32": copies(x),
        "floor: copy of the same bytes, bf16": copies(x.bfloat16()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    compiler = args.device != "cpu" or shutil.which("c++")
    cases = {
        name: (steps, *case, args.batch, args.device)
        for name, case in CASES.items()
        if compiler or "compile" not in name
    }
    runs, peaks = in_processes(cases, args.rounds, seconds=1)
    memory = {name: {"peak_memory_gb": round(peak / 1e9, 2)} for name, peak in peaks.items()}
    record("training step", "pictures/s", times(runs, args.batch), memory, batch=args.batch)
    keep_freed_memory("cpu")
    record("LRN", "pictures/s", times(in_turns(norms(args.batch), args.rounds), args.batch), {}, batch=args.batch)


if __name__ == "__main__":
    main()
