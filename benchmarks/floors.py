"""How far a training step is from what the machine can do: arithmetic and memory traffic, layer by layer.

    python benchmarks/floors.py [--batch 128] [--rounds 5]

Measures the rates of large matrix products and of copies, and each layer of the paper's net in bf16 alone, forward and
backward. A layer's floor is the longer of two times: its arithmetic at the rate of the matrix products, and its bytes
at the rate of a copy, each input read once and each output written once, in both directions; weights and their
gradients are float32, activations bfloat16. The cases take turns, the whole step in a process of its own. Writes
`benchmarks/results/<machine>.json`.
"""

import argparse
import math
import statistics
from collections.abc import Iterator

import torch
from record import in_processes, in_turns, record, times
from step import steps

from alexlib.config import PAPER
from alexlib.nets import AlexNet, Stages, trace
from alexlib.optim import make_optimizer
from alexlib.train import autocast, keep_freed_memory

SIDE, COPIED = 4096, 2**28  # of a matrix; bytes


def products(dtype: torch.dtype) -> Iterator[None]:
    """Endless products of two large matrices."""
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    while True:
        a @ b
        yield


def copies() -> Iterator[None]:
    """Endless copies of more bytes than caches hold."""
    a, b = (torch.zeros(COPIED, dtype=torch.uint8) for _ in range(2))
    while True:
        b.copy_(a)
        yield


def passes(stages: list[torch.nn.Module], shape: tuple, pictures: bool) -> Iterator[None]:
    """Endless passes of some stages forward and backward; pictures get no gradient, and are float32."""
    x = torch.randn(shape) * 10
    if len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    x = x if pictures else x.bfloat16().requires_grad_()
    wanted = [p for stage in stages for p in stage.parameters()] + [x] * (not pictures)
    net = Stages(*stages)
    g = None
    while True:
        with autocast("cpu", "bf16"):
            y = net(x)
        g = torch.randn_like(y) if g is None else g
        torch.autograd.grad(y, wanted, g)
        yield


def updates() -> Iterator[None]:
    """Endless updates with the same gradients."""
    model = AlexNet(PAPER).to(memory_format=torch.channels_last)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer = make_optimizer(model, PAPER.train)
    while True:
        optimizer.step()
        yield


def layers(model, batch: int) -> list[dict]:
    """One dict a layer: name, stages, the shape of its input, multiply-adds and bytes of a step."""
    rows, shape, found = {row["stage"]: row for row in trace(PAPER)}, (3, 224, 224), []
    stages = dict(model.named_children())
    names = list(stages)
    while names:
        name = names.pop(0)
        together = [name]
        if name.startswith("relu") and names and names[0].startswith(("lrn", "pool")):
            together.append(names.pop(0))  # one pass: alexlib.nets.Stages
        row = rows[together[-1]]
        given, made, weights = math.prod(shape), math.prod(row["output"]), rows[name]["parameters"]
        first = name == "conv1"
        traffic = 2 * batch * (given + made + made + (0 if first else given) + given)  # forward; backward
        traffic += 4 * 3 * weights + (
            2 * batch * given if first else 0
        )  # read twice, gradient written; float32 pictures
        macs = batch * rows[name]["macs"] * (2 if first else 3)
        parts = [stages[part] for part in together]
        found.append(
            {"name": "+".join(together), "stages": parts, "shape": (batch, *shape), "macs": macs, "bytes": traffic}
        )
        shape = row["output"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory("cpu")
    model = AlexNet(PAPER).to(memory_format=torch.channels_last)
    rates = {"matrix product, fp32": products(torch.float32), "matrix product, bf16": products(torch.bfloat16)}
    speeds = times(in_turns(rates, args.rounds), 2 * SIDE**3 / 1e9)
    record("matrix product", "GFLOP/s", speeds, {})
    copied = times(in_turns({"copy": copies()}, args.rounds), 2 * COPIED / 1e9)
    record("copy", "GB/s read and written", copied, {})
    arithmetic = 1e9 * statistics.median(speeds["matrix product, bf16"])
    memory = 1e9 * statistics.median(copied["copy"])
    parts = layers(model, args.batch)
    runs, _ = in_processes({"whole step": (steps, "paper", "bf16", "ours", args.batch, "cpu")}, args.rounds)
    cases = {p["name"]: passes(p["stages"], p["shape"], p["name"] == "conv1") for p in parts}
    cases["update"] = updates()
    count = sum(p.numel() for p in model.parameters())
    parts.append({"name": "update", "macs": 0, "bytes": 4 * 5 * count})  # reads w, v, g; writes w, v
    runs |= in_turns(cases, 3 * args.rounds, seconds=0.03)  # a step or two: now and then one waits for memory
    facts = {}
    for part in parts:
        floor = max(2 * part["macs"] / arithmetic, part["bytes"] / memory)
        share = floor * statistics.median(runs[part["name"]])
        facts[part["name"]] = {
            "gflop": 2 * part["macs"] / 1e9,
            "mb": part["bytes"] / 1e6,
            "floor_ms": 1e3 * floor,
            "of_floor": share,
        }
    total = {key: sum(fact[key] for fact in facts.values()) for key in ("gflop", "mb", "floor_ms")}
    facts["whole step"] = total | {"of_floor": total["floor_ms"] / 1e3 * statistics.median(runs["whole step"])}
    facts = {name: {key: float(f"{value:.3g}") for key, value in fact.items()} for name, fact in facts.items()}
    facts |= {name: fact | {"ms": float(f"{1e3 / statistics.median(runs[name]):.3g}")} for name, fact in facts.items()}
    record("floor of a step", "a second", runs, facts, batch=args.batch)


if __name__ == "__main__":
    main()
