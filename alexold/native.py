"""`kernels.c`, built at first use by the system's C compiler; without one, torch's own operations do the same work.

The built file is kept in `$XDG_CACHE_HOME/alexold` (`~/.cache/alexold`). `ALEXLIB_NATIVE=0` turns it off.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from pathlib import Path

import torch

from alexold.paths import cache_root

SOURCE = Path(__file__).with_name("kernels.c")
# Sums in any order, roots by approximation and a Newton step, but NaN and infinity as everywhere else.
FLAGS = ("-O3", "-ffast-math", "-fno-finite-math-only", "-fopenmp", "-shared", "-fPIC")
THIS_CPU = (("-march=native",), ("-mcpu=native",), ())  # the first that the compiler takes
MAPS, HALF = 1024, 16  # most maps of a tower, most neighbours on a side
NAMES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def fits(x, towers: int, n: int, beta: float) -> bool:
    """Whether the kernels can normalise x, and are there: channels-last on a CPU, float32 or bfloat16, beta 3/4."""
    return (
        x.device.type == "cpu"
        and x.dtype in NAMES
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and beta == 0.75
        and x.shape[1] // towers <= MAPS
        and n // 2 <= HALF
        and not torch.compiler.is_compiling()
        and kernels() is not None
    )


class ResponseNorm(torch.autograd.Function):
    """`layers._ResponseNorm` over maps, where `fits` says that it can be. Saves x alone.

    Args:
        x: channels-last (N, C, H, W); maps: of a tower; half: neighbours on each side; k, alpha: the norm's;
        rectify: normalise max(x, 0).
    """

    @staticmethod
    def forward(ctx, x, maps, half, k, alpha, rectify):
        ctx.save_for_backward(x)
        ctx.settings = maps, half, k, alpha, rectify
        y = torch.empty_like(x)
        _over_rows("lrn_forward", (x, y), *ctx.settings)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        g = g.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        _over_rows("lrn_backward", (x, g, dx), *ctx.settings)
        return dx, None, None, None, None, None


def _over_rows(kernel: str, tensors: tuple, maps: int, half: int, k: float, alpha: float, rectify: bool) -> None:
    """Run a kernel on the rows of some tensors, in as many threads as torch uses, and in the same ones."""
    x = tensors[0]
    call = getattr(kernels(), f"{kernel}_{NAMES[x.dtype]}")
    starts = (ctypes.c_void_p(t.data_ptr()) for t in tensors)
    sizes = ctypes.c_long(x.numel() // maps), ctypes.c_long(maps)
    call(
        *starts,
        *sizes,
        ctypes.c_int(half),
        ctypes.c_int(rectify),
        ctypes.c_float(k),
        ctypes.c_float(alpha),
        ctypes.c_int(torch.get_num_threads()),
    )


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """The kernels; None without a compiler, or where it fails, which leads to a warning."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if os.environ.get("ALEXLIB_NATIVE") == "0" or not compiler:
        return None
    try:
        file = cache_root() / f"kernels-{_digest(compiler)}.so"
        if not file.exists():
            _build(compiler, file)
        return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError) as error:
        text = getattr(error, "stderr", None) or error
        warnings.warn(f"{SOURCE.name} could not be built, LRN takes five times as long: {text}", stacklevel=2)
        return None


def _build(compiler: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    for flags in THIS_CPU:
        command = [compiler, *FLAGS, *flags, "-o", part, SOURCE, "-lm"]
        built = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not built.returncode:
            os.replace(part, file)
            return
    raise subprocess.CalledProcessError(built.returncode, command, stderr=built.stderr.strip())


def _digest(compiler: str) -> str:
    """What a built file depends on: source, flags, compiler, processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    facts = SOURCE.read_bytes(), FLAGS, version, platform.machine(), _cpu()
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _cpu() -> str:
    """What this processor can do, where the system tells it: homes are shared between machines."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
