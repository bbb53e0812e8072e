"""Training steps of AlexNet side by side: what a newcomer writes, and ours with and without what makes it fast.

    python benchmarks/step.py [--batch 128] [--rounds 4]

Each case runs in processes of its own (the memory setting is one of the whole process), and the cases take turns round
by round, so that a busy machine slows all of them alike. Writes `benchmarks/results/<machine>.json`: median
pictures/s, the ratio to the newcomer's case, the single runs, peak memory.
"""

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from record import record
from torch import nn

from alexlib.config import PAPER, SOURCE2012
from alexlib.nets import AlexNet
from alexlib.optim import make_optimizer
from alexlib.train import autocast, keep_freed_memory

CASES = {
    "newcomer: torch modules, nn.LocalResponseNorm, fp32": ("newcomer", "fp32", False),
    "paper, fp32": ("paper", "fp32", True),
    "paper, bf16, memory returned to the system": ("paper", "bf16", False),
    "paper, bf16": ("paper", "bf16", True),
    "source2012, bf16": ("source2012", "bf16", True),
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


def stepper(kind: str, precision: str, keep: bool, batch: int):
    """A function that makes one training step on pictures in memory."""
    torch.manual_seed(0)
    if keep:
        keep_freed_memory("cpu")
    x, labels = torch.rand(batch, 3, 224, 224) * 255 - 120, torch.randint(0, 1000, (batch,))
    if kind == "newcomer":
        model = newcomer(1000)
        optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=5e-4)
    else:
        spec = {"paper": PAPER, "source2012": SOURCE2012}[kind].replace(lr=0.001)
        model = AlexNet(spec).to(memory_format=torch.channels_last)
        optimizer = make_optimizer(model, spec.train)
        x = x.contiguous(memory_format=torch.channels_last)

    def step():
        with autocast("cpu", precision):
            scores = model(x).float()
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def measure(case: tuple, batch: int, steps: int) -> tuple[list[float], int]:
    """Pictures/s of each of some steps after a first one, and the peak memory of the process in bytes."""
    step, speeds = stepper(*case, batch), []
    step()
    for _ in range(steps):
        started = time.perf_counter()
        step()
        speeds.append(batch / (time.perf_counter() - started))
    return speeds, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2, help="measured in each round, after one that is not")
    args = parser.parse_args()
    runs, peaks = {name: [] for name in CASES}, dict.fromkeys(CASES, 0)
    for _ in range(args.rounds):
        for name, case in CASES.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                speeds, peak = pool.submit(measure, case, args.batch, args.steps).result()
            runs[name] += speeds
            peaks[name] = max(peaks[name], peak)
    memory = {name: {"peak_memory_gb": round(peak / 1e9, 2)} for name, peak in peaks.items()}
    print(record("training step", "pictures/s", runs, memory, batch=args.batch))


if __name__ == "__main__":
    main()
