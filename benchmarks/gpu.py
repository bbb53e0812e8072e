"""Training steps on one GPU: the newcomer's net, ours, ours compiled; and training with data from host memory.

    PYTHONPATH=/path/to/alexlib python benchmarks/gpu.py [--device cuda] [--rounds 5] [--out gpu.json]

One file that needs torch and a checkout on PYTHONPATH alone. The cases take turns in one process; a case that fails
says so and the others go on. `--device cpu --batches 8 --pictures 64 --rounds 1` shows that it runs. Prints a table and
writes a list of objects: benchmark, case, value, unit, ratio to the newcomer's case, runs, batch, device, versions.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from alexlib.config import PAPER, SOURCE2012
from alexlib.data import Images
from alexlib.nets import AlexNet
from alexlib.optim import make_optimizer
from alexlib.rows import device_name
from alexlib.train import autocast, fit

AIM = {128: 30_000, 1024: 40_000}  # pictures/s that an H100 should reach; 90 epochs of ImageNet in about an hour


def newcomer() -> nn.Module:
    """The paper's net as one writes it from torch's modules."""

    def norm():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    return nn.Sequential(
        *(nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
        nn.Linear(4096, 1000),
    )


def steps(make: Callable, how: str, batch: int, device: str) -> Iterator[None]:
    """Endless training steps on pictures that are on the device."""
    x, labels = torch.rand(batch, 3, 224, 224) * 4 - 2, torch.randint(0, 1000, (batch,))
    model, precision = make().to(device), "fp32" if how == "newcomer" else "bf16"
    if how == "newcomer":
        optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=5e-4)
    else:
        model = model.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(model, PAPER.replace(lr=0.001).train)
        x = (60 * x).contiguous(memory_format=torch.channels_last)
    forward = torch.compile(model, mode="max-autotune-no-cudagraphs") if how == "compiled" else model
    x, labels = x.to(device), labels.to(device)
    while True:
        with autocast(device, precision):
            scores = forward(x).float()
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield


def timed(endless: Iterator, count: int, device: str) -> float:
    """Seconds of some steps, all of their work on the device included."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    started = time.perf_counter()
    for _ in range(count):
        next(endless)
    wait()
    return time.perf_counter() - started


def with_data(pictures: int, batch: int, device: str, rounds: int) -> list[float]:
    """Pictures/s of epochs of `train.fit` after the first one, from random pictures in host memory."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (pictures, 256, 256, 3), dtype=np.uint8), rng.integers(0, 10, pictures)
    about = {"eigenvalues": np.array([100.0, 1000.0, 10000.0]), "eigenvectors": np.eye(3), "name": "noise"}
    mean = np.full((256, 256, 3), 127.5, np.float32)
    images = Images(pixels, labels, tuple("abcdefghij"), mean, fingerprint="noise", split="train", **about)
    settings = {"classes": 10, "lr": 0.001, "validation": 0.0, "schedule": "constant", "batch": batch}
    spec = SOURCE2012.replace(epochs=rounds + 1, **settings)
    with contextlib.redirect_stderr(io.StringIO()):
        history = fit(AlexNet(spec), images, images.subset(range(0)), spec, device=device)
    return [row["pictures_per_second"] for row in history[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=list(AIM))
    parser.add_argument("--pictures", type=int, default=32_768, help="of training with data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of a case in a round")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    cases, counts, runs = {}, {}, {}
    for batch in args.batches:
        for name, make, how in (
            ("newcomer: torch modules, nn.LocalResponseNorm, fp32", newcomer, "newcomer"),
            ("paper, bf16", lambda: AlexNet(PAPER), "eager"),
            ("paper, bf16, torch.compile", lambda: AlexNet(PAPER), "compiled"),
        ):
            case = name, batch
            try:
                cases[case] = steps(make, how, batch, args.device)
                timed(cases[case], 3, args.device)
                counts[case] = max(1, round(3 * args.seconds / timed(cases[case], 3, args.device)))
                runs[case] = []
            except Exception as error:  # out of memory, no compiler
                print(f"{name}, batch {batch}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
                del cases[case]
    for _ in range(args.rounds):
        for case, endless in cases.items():
            seconds = timed(endless, counts[case], args.device)
            runs[case].append(case[1] * counts[case] / seconds)
    cases.clear()
    for batch in args.batches:
        runs["source2012, bf16, fit with its data", batch] = with_data(args.pictures, batch, args.device, args.rounds)
    firsts = {batch: statistics.median(runs[name, batch]) for name, batch in runs if name.startswith("newcomer")}
    results = [
        {
            "benchmark": "training on a GPU",
            "case": name,
            "value": float(f"{statistics.median(values):.4g}"),
            "unit": "pictures/s",
            "ratio": round(statistics.median(values) / firsts[batch], 2) if batch in firsts else None,
            "runs": [float(f"{value:.4g}") for value in values],
            "batch": batch,
            "device": device_name(args.device),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
        }
        for (name, batch), values in runs.items()
    ]
    for r in results:
        aim = f", aim {AIM[r['batch']]:,}" if r["batch"] in AIM and "paper" in r["case"] else ""
        print(f"{r['value']:10,.1f} {r['unit']}  x{r['ratio']}  {r['case']}, batch {r['batch']}{aim}")
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
