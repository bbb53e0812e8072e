"""Training steps where people are: on an idle machine, a busy one, and with older instructions.

In brackets: against the first case at the same place.

    python benchmarks/surroundings.py [--batch 32] [--rounds 2]

Each measurement has a process of its own, in which everything is as its user would have it: waiting
OpenMP threads spin by default, and sleep where alexlib asks for it. Busy: as many endless loops as
cores run beside it. Older instructions: oneDNN and ATen are told not to use newer ones (kernels.c
is compiled for the processor in all cases).
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time

SURROUNDINGS = {
    "idle": {},
    "busy": {},
    "AVX512_CORE_BF16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "AVX512_CORE": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
CASES = {  # net, precision, how, and what the environment has
    "newcomer, fp32": ("newcomer", "fp32", "", {}),
    "newcomer, channels-last, bf16": ("newcomer", "bf16", "channels-last", {}),
    "newcomer under torch.compile, fp32": ("newcomer", "fp32", "compiled", {}),
    "torchvision's alexnet, fp32": ("torchvision", "fp32", "", {}),
    "torchvision's alexnet under torch.compile, fp32": ("torchvision", "fp32", "compiled", {}),
    "PAPER": ("paper", "auto", "fast", {"OMP_WAIT_POLICY": "PASSIVE"}),
    "SOURCE2012": ("source2012", "auto", "fast", {"OMP_WAIT_POLICY": "PASSIVE"}),
    "SOURCE2012, plain": ("source2012", "auto", "plain", {"OMP_WAIT_POLICY": "PASSIVE"}),
    "the multiply-adds of PAPER in one convolution": ("floor", "auto", "", {}),
    "SOURCE2012, waiting threads spin": ("source2012", "auto", "fast", {}),
}
SECONDS = 4


def child(net: str, precision: str, how: str, batch: int) -> None:
    """Print the images/s of training steps, or of their multiply-adds alone."""
    torch = importlib.import_module("torch")  # reads the environment now, before `step` changes it
    import step

    endless = step.steps(net, precision, how, batch) if net != "floor" else floor(torch, batch)
    next(endless)
    next(endless)
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < SECONDS:
        next(endless)
        done += batch
    print(done / took)


def floor(torch, batch: int):
    """Endless convolutions, each with the multiply-adds of a step of the paper's net."""
    from alexlib.training import machine

    dtype = torch.bfloat16 if machine.pick_precision() == "bf16" else torch.float32
    n = round(3 * 724_406_816 * batch / (26 * 26 * 512 * 512 * 9))
    x = torch.ones(n, 512, 26, 26, dtype=dtype).to(memory_format=torch.channels_last)
    kernels = torch.ones(512, 512, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    while True:
        yield torch.nn.functional.conv2d(x, kernels, padding=1)


@contextlib.contextmanager
def loops(wanted: bool):
    """An endless loop for each core."""
    code = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(code) for _ in range(wanted * os.cpu_count())]
    try:
        yield
    finally:
        for other in others:
            other.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "ONEDNN_", "ATEN_"))}
    runs = {}
    for _ in range(args.rounds):
        for place, limits in SURROUNDINGS.items():
            with loops(place == "busy"):
                for case, (*given, policy) in CASES.items():
                    if place == "AVX2" and ("bf16" in given or "compiled" in given):
                        continue  # emulated, minutes for a step; torch.compile fails there
                    command = [sys.executable, __file__, "child", json.dumps([*given, args.batch])]
                    text = subprocess.check_output(command, env=plain | limits | policy, text=True)
                    runs.setdefault(place, {}).setdefault(case, []).append(float(text))
                    print(f"{float(text):8.1f}  {place}, {case}", flush=True)
    from record import record

    medians = {
        place: {case: statistics.median(values) for case, values in found.items()}
        for place, found in runs.items()
    }
    first, shown = next(iter(CASES)), {}
    for place, found in medians.items():
        shown[place] = {c: f"{x:.1f} (x {x / found[first]:.1f})" for c, x in found.items()}
    record("surroundings", runs["idle"], batch=args.batch, **shown)


if __name__ == "__main__":
    child(*json.loads(sys.argv[2])) if sys.argv[1:2] == ["child"] else main()
