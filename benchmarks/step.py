"""Training steps side by side: the nets of this study, and what people would otherwise use.

    python benchmarks/step.py [--batch 64] [--rounds 4]

Inputs are ready in memory. Each case has a process of its own, and the processes take turns.
"newcomer" is the net as one writes it from torch's modules; torchvision's `alexnet` is another net,
without LRN and groups, and with as many multiply-adds but for 1 %. "plain" is our net without
`models.fast`.
"""

import argparse
import os
import shutil
from collections.abc import Iterator

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from alexlib.config import FIGURE1, PAPER, SOURCE2012
from alexlib.models import build
from alexlib.training.machine import autocast, available_threads, keep_freed_memory
from alexlib.training.optim import make_optimizer
from record import in_processes, record, times

CONFIGS = {"paper": PAPER, "source2012": SOURCE2012, "four-layer": FIGURE1}
CONFIGS["four-layer, tanh"] = FIGURE1.replace(activation="tanh")
ALEXNET = {  # net, precision, "fast", "plain", "compiled" or "channels-last"
    "newcomer, fp32": ("newcomer", "fp32", ""),
    "newcomer under torch.compile, fp32": ("newcomer", "fp32", "compiled"),
    "torchvision's alexnet, fp32": ("torchvision", "fp32", ""),
    "PAPER, fp32, plain": ("paper", "fp32", "plain"),
    "PAPER, fp32": ("paper", "fp32", "fast"),
    "PAPER, bf16, plain": ("paper", "bf16", "plain"),
    "PAPER, bf16": ("paper", "bf16", "fast"),
    "SOURCE2012, bf16, plain": ("source2012", "bf16", "plain"),
    "SOURCE2012, bf16": ("source2012", "bf16", "fast"),
}
CIFAR = {
    "newcomer, fp32": ("newcomer cifar", "fp32", ""),
    "four-layer net, fp32": ("four-layer", "fp32", "fast"),
    "four-layer net, bf16": ("four-layer", "bf16", "fast"),
    "four-layer net, tanh, bf16": ("four-layer, tanh", "bf16", "fast"),
}


def newcomer(classes: int = 1000) -> nn.Module:
    """The paper's net, written from torch's modules, with torch's initial weights."""

    def norm():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    return nn.Sequential(
        *(nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, classes)),
    )


def newcomer_cifar() -> nn.Module:
    """The four-layer net for CIFAR-10, written from torch's modules."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(1024, 10)),
    )


OTHERS = {"newcomer": newcomer, "newcomer cifar": newcomer_cifar}
OTHERS["torchvision"] = torchvision.models.alexnet


def steps(net, precision: str, how: str, batch: int, device: str = "cpu") -> Iterator[None]:
    """Endless training steps on a mini-batch of noise; `net` is a name above or a config."""
    torch.manual_seed(0)
    if net in OTHERS:
        side, classes = (32, 10) if "cifar" in net else (224, 1000)
        layout = torch.channels_last if how == "channels-last" else torch.preserve_format
        model = OTHERS[net]().to(device, memory_format=layout)
        optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=5e-4)
    else:
        torch.set_num_threads(available_threads())
        keep_freed_memory(device)
        config, layout = CONFIGS.get(net, net).replace(lr=0.001), torch.channels_last
        side, classes = config.net.input, config.net.classes
        model = build(config, fast=how != "plain").to(device, memory_format=layout)
        optimizer = make_optimizer(model, config.train)
    forward = torch.compile(model) if how == "compiled" else model
    x = torch.randn(batch, 3, side, side).contiguous(memory_format=layout)
    x, labels = x * (1 if net in OTHERS else 60), torch.randint(0, classes, (batch,))
    x, labels = x.to(device), labels.to(device)
    while True:
        with autocast(device, precision):
            scores = forward(x).float()
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.accelerator.synchronize()
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    for name, cases in {"training step": ALEXNET, "CIFAR step": CIFAR}.items():
        cases = {
            case: (steps, *given, args.batch)
            for case, given in cases.items()
            if "compile" not in case or shutil.which("c++")
        }
        runs, peaks = in_processes(cases, args.rounds, seconds=1)
        memory = {case: round(peak / 1e9, 2) for case, peak in peaks.items()}
        record(name, times(runs, args.batch), batch=args.batch, peak_memory_gb=memory)


if __name__ == "__main__":
    main()
