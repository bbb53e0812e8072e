"""Training steps on one GPU, and training with data from host memory.

    python benchmarks/gpu.py [--device cuda] [--batches 128 1024] [--images 32768] [--rounds 5]

The cases take turns in one process; a case that fails says so, and the others go on. Nobody has run
it on a GPU yet; `--device cpu --batches 8 --images 64 --rounds 1` shows that it runs.
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

from alexlib.models import build
from alexlib.training.loop import fit
from record import in_turns, record
from step import steps
from whole import CONFIG, noise

CASES = {
    "newcomer, fp32": ("newcomer", "fp32", ""),
    "PAPER, bf16, plain": ("paper", "bf16", "plain"),
    "PAPER, bf16": ("paper", "bf16", "fast"),
    "PAPER, bf16, torch.compile": ("paper", "bf16", "compiled"),
}


def with_data(images: int, batch: int, device: str, rounds: int) -> list[float]:
    """Images/s of the epochs of `fit` after the first one."""
    config, train = CONFIG.replace(epochs=rounds + 1, batch=batch), noise(images)
    options = {"device": device, "progress": False}
    history = fit(build(config), train, train.subset(range(0)), config, **options)
    return [row["pictures_per_second"] for row in history[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--images", type=int, default=32_768, help="of training with data")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for batch in args.batches:
        cases = {}
        for name, given in CASES.items():
            try:
                cases[name] = steps(*given, batch, args.device)
                next(cases[name])
            except Exception as error:  # out of memory, no compiler
                print(f"{name}, batch {batch}: {type(error).__name__}: {error}", flush=True)
                del cases[name]
        found = in_turns(cases, args.rounds, seconds=2)
        runs = {name: [batch * value for value in values] for name, values in found.items()}
        cases.clear()
        given = args.images, batch, args.device, args.rounds
        runs["SOURCE2012, bf16, fit with its data"] = with_data(*given)
        record(f"training on a GPU, batch {batch}", runs, device=args.device, batch=batch)


if __name__ == "__main__":
    main()
