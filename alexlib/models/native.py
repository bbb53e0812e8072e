"""kernels.c, compiled by the system's C compiler at first use, and called through ctypes."""

import ctypes
import functools
import hashlib
import os
import platform
import re
import subprocess
import warnings
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fopenmp", "-fPIC", "-c")
LINK = ("-shared", "-fopenmp")  # -ffast-math here would make all of torch flush subnormal numbers
TYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


class ResponseNorm(torch.autograd.Function):
    """LRN and its gradient for channels-last tensors on a CPU; it saves only its input."""

    @staticmethod
    def forward(ctx, x, *settings):
        ctx.save_for_backward(x)
        ctx.settings = settings
        return ResponseNorm.call("lrn_forward", (x,), *settings)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        g = g.to(x.dtype).contiguous(memory_format=torch.channels_last)
        return ResponseNorm.call("lrn_backward", (x, g), *ctx.settings), *[None] * 5

    @staticmethod
    def call(name, inputs, maps, half, rectify, k, alpha):
        x, output = inputs[0], torch.empty_like(inputs[0])
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*inputs, output)]
        sizes = ctypes.c_long(x.numel() // maps), ctypes.c_long(maps), half, rectify
        numbers = ctypes.c_float(k), ctypes.c_float(alpha), torch.get_num_threads()
        getattr(kernels(), f"{name}_{TYPES[x.dtype]}")(*pointers, *sizes, *numbers)
        return output


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """kernels.c, compiled by $CC or cc; None if ALEXLIB_NATIVE is 0 or if that fails."""
    if os.environ.get("ALEXLIB_NATIVE") == "0":
        return None
    compiler, about = (os.environ.get("CC") or "cc").split(), Path("/proc/cpuinfo")
    cpu = re.findall("(?:flags|Features).*", about.read_text())[:1] if about.exists() else []
    facts = SOURCE.read_bytes(), FLAGS, LINK, compiler, platform.platform(), cpu
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alexlib"
    file = cache / f"kernels-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.so"
    part, compiled = (file.with_suffix(f".{os.getpid()}.{end}") for end in ("part", "o"))
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            run([*compiler, *FLAGS, "-o", compiled, SOURCE])
            run([*compiler, *LINK, "-o", part, compiled, "-lm"])
            compiled.unlink()
            os.replace(part, file)
        return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        warnings.warn(f"LRN is slower, {SOURCE.name} was not compiled: {reason}", stacklevel=2)
        return None
