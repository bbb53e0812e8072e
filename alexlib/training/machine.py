"""What the machine has: devices, bfloat16 units, cores, CUDA graphs. "auto" is decided here."""

import ctypes
import functools
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from joblib import cpu_count
from torch.nn.parallel import DistributedDataParallel

from alexlib.config import IS_PROJECT, ROOT, Config
from alexlib.models import shapes_and_cost
from alexlib.models.two_gpu import devices_here
from alexlib.training.distributed import from_first, world

CLEARLY, ROUNDS = 1.1, 10  # bf16 is chosen if it is faster by more than this, in the best of ten
ONE_THREAD = 250e6  # multiply-adds of a mini-batch below which a second thread costs time
LOOK = 0.1  # seconds


def pick_device(name: str = "auto") -> str:
    """The device, if this computer has it; "auto": a GPU if there is one; "cuda:0,cuda:1": both."""
    valid = devices_here()
    if name == "auto":
        return valid[min(1, len(valid) - 1)]
    for device in name.split(","):
        if device not in valid:
            raise ValueError(f"no device {device!r}: valid ones here: auto, {', '.join(valid)}")
    return name


def pick_towers(name: str = "auto") -> str:
    """The devices of a net with two towers; "auto": two GPUs, or one, or the CPU."""
    gpus = devices_here()[2:]  # cuda:0, cuda:1, ...
    return ",".join(gpus[:2]) if name == "auto" and len(gpus) > 1 else pick_device(name)


def resolved(config: Config, device: str) -> Config:
    """The config with the precision that "auto" means on a device; rank 0 decides for all ranks."""
    if config.train.precision != "auto":
        return config
    return config.replace(precision=from_first(pick_precision(device)))


@functools.cache
def pick_precision(device: str = "cpu") -> str:
    """ "bf16" if the device has units for it, else "fp32"; of two devices the first one counts.

    NVIDIA GPUs have them from compute capability 8 (Ampere). Other devices are timed: depending on
    the processor and the settings of its libraries, bfloat16 may only be emulated.
    """
    chosen = torch.device(device.split(",")[0])
    if chosen.type == "cuda":
        with torch.cuda.device(chosen):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = _speedup(chosen) > CLEARLY
    return "bf16" if fast else "fp32"


def autocast(device, precision: str):
    """bfloat16 matrix products if the precision is "bf16", or "auto" where that means it."""
    chosen = pick_precision(str(device)) if precision == "auto" else precision
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=chosen == "bf16")


def ready(model, config: Config, batch: int):
    """The model as a training step calls it, with mini-batches of this size.

    Several ranks average their gradients. On one GPU, unless ALEXLIB_NATIVE=0, the forward and the
    backward pass are recorded as CUDA graphs: a step launches two graphs, not some 200 kernels.
    """
    device, *others = {p.device for p in model.parameters()}
    if world() > 1:
        return DistributedDataParallel(model)
    if others or device.type != "cuda" or os.environ.get("ALEXLIB_NATIVE") == "0":
        return model
    x = torch.zeros(batch, 3, config.net.input, config.net.input, device=device)
    x = x.to(memory_format=torch.channels_last)
    with torch.cuda.device(device), autocast(device, config.train.precision):
        torch.set_autocast_cache_enabled(False)
        return torch.cuda.make_graphed_callables(torch.nn.Sequential(model).train(), (x,))


def _speedup(device: torch.device) -> float:
    """Time of a convolution and its gradients in float32 / in bfloat16, one thread; 0: no bfloat16.

    The two take turns and the least time of each counts, so a busy machine gives the same answer.
    """
    threads = torch.get_num_threads()
    images = torch.ones(4, 64, 13, 13, device=device).to(memory_format=torch.channels_last)
    kernels, times = torch.ones(64, 64, 3, 3, device=device), {}
    try:
        torch.set_num_threads(1)
        for _ in range(ROUNDS):
            for dtype in (torch.float32, torch.bfloat16):
                x, w = (tensor.detach().to(dtype).requires_grad_() for tensor in (images, kernels))
                started = time.perf_counter()
                y = F.conv2d(x, w, padding=1)
                y.backward(y.detach())
                w.grad.sum().item()  # waits for the device
                times.setdefault(dtype, []).append(time.perf_counter() - started)
    except (RuntimeError, TypeError):  # the device has no bfloat16
        return 0.0
    finally:
        torch.set_num_threads(threads)
    return min(times[torch.float32]) / min(times[torch.bfloat16])


def describe(model, precision: str) -> str:
    """Where a net is trained: "device cpu, 2 threads, precision bf16"."""
    devices, n = dict.fromkeys(str(p.device) for p in model.parameters()), torch.get_num_threads()
    threads = f", {n} thread{'s' * (n > 1)}" if "cpu" in devices else ""
    return f"device {','.join(devices)}{threads}, precision {precision}"


def device_name(device: str) -> str:
    """The name of a GPU; the model of a CPU and the number of threads."""
    kind = torch.device(device).type
    if kind != "cpu":
        named = getattr(torch.get_device_module(kind), "get_device_name", None)
        return named(device) if named else f"{platform.platform()}, {device}"
    info, model = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    return f"{model}, {torch.get_num_threads()} threads"


def commit() -> str:
    """The project's commit, with "+" if alexlib was changed since; "unknown" without its git."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    options = {"capture_output": True, "text": True, "check": True, "env": environment}

    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], **options).stdout.strip()

    try:
        if not IS_PROJECT or Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return "unknown"  # it would be the commit of another repository
        changed = git("status", "--porcelain", "--", "alexlib")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(device: str) -> dict:
    """Device, versions, commit (with "+" if alexlib was changed since) and time of the start."""
    versions = {name: metadata.version(name) for name in ("torchvision", "numpy")}
    names = " + ".join(dict.fromkeys(device_name(part) for part in device.split(",")))
    return {
        "device": names + (f" x {world()}" if world() > 1 else ""),
        "versions": {"python": platform.python_version(), "torch": torch.__version__} | versions,
        "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def set_up(config: Config, device: str) -> Config:
    """Before training: set threads and memory; returns the `resolved` config."""
    threads, stages = available_threads(), shapes_and_cost(config)
    macs = config.train.batch * sum(stage["macs"] for stage in stages)
    is_small = torch.device(device).type == "cpu" and macs < ONE_THREAD
    torch.set_num_threads(1 if is_small else threads)
    keep_freed_memory(device)
    return resolved(config, device)


@functools.cache
def available_threads() -> int:
    """The threads that torch may use: no more than there are free cores; decided once in a process.

    A core counts if this process may use it and no other process uses it (docs/performance.md).
    $OMP_NUM_THREADS and a lower `torch.set_num_threads` are used as they are.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return max(1, min(torch.get_num_threads(), cpu_count(), free_cores()))


def free_cores() -> int:
    """The number of idle cores: the best of three measurements.

    Low-priority processes count as busy: between sessions, Linux shares cores equally. All cores
    count as free where the system does not tell (some containers).
    """
    try:
        looks = [psutil.cpu_percent(LOOK, percpu=True) for _ in range(3)]
        allowed = getattr(os, "sched_getaffinity", lambda _: range(len(looks[0])))(0)
        busy = min(sum(look[core] for core in allowed) for look in looks) / len(allowed)  # %
    except (OSError, IndexError):  # the system shows no cores, or numbers them differently
        return cpu_count()
    return round(cpu_count() * (1 - busy / 100))


def keep_freed_memory(device: str) -> None:
    """Let glibc keep freed blocks below 1 GiB for the next step (CPUs on Linux).

    Returning them to the system page by page takes a large part of a step: docs/performance.md.
    """
    if torch.device(device).type == "cpu" and sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never
        except (OSError, AttributeError):  # another C library
            pass
