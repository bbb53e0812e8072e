"""kernels.c, compiled by the system's C compiler at first use, and called through ctypes."""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import torch

from alexlib.files import atomic_write

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fopenmp", "-fPIC", "-c")
LINK = ("-shared", "-fopenmp")  # -ffast-math here would make all of torch flush subnormal numbers
TYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def response_norm(x, g, maps: int, half: int, rectify: bool, k: float, alpha: float):
    """LRN of a channels-last x on a CPU; given the gradient g of its output, that of x instead."""
    name, inputs, output = "forward", [x], torch.empty_like(x)
    if g is not None:
        g = g.to(x.dtype).contiguous(memory_format=torch.channels_last)
        name, inputs = "backward", [x, g]
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*inputs, output)]
    sizes = ctypes.c_long(x.numel() // maps), ctypes.c_long(maps), half, rectify
    numbers = ctypes.c_float(k), ctypes.c_float(alpha), torch.get_num_threads()
    getattr(kernels(), f"lrn_{name}_{TYPES[x.dtype]}")(*pointers, *sizes, *numbers)
    return output


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """kernels.c, compiled by $CC or a compiler found; None if that fails or ALEXLIB_NATIVE=0."""
    if os.environ.get("ALEXLIB_NATIVE") == "0":
        return None
    given = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), "cc")
    about = Path("/proc/cpuinfo")
    cpu = re.findall("(?:flags|Features).*", about.read_text())[:1] if about.exists() else []
    facts = SOURCE.read_bytes(), FLAGS, LINK, given, platform.platform(), cpu
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alexlib"
    file = cache / f"kernels-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.so"
    with suppress(OSError):  # it is not there, or damaged
        return ctypes.CDLL(str(file))
    try:
        return _compiled(shlex.split(given), file)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or "").strip() or str(error)
        text = f"LRN is several times slower: {given!r} did not compile {SOURCE.name}"
        advice = "set CC to a C compiler that knows -fopenmp, or ALEXLIB_NATIVE=0"
        warnings.warn(f"{text} ({reason.splitlines()[0]}); {advice}", stacklevel=2)
        return None


def _compiled(compiler: list[str], file: Path) -> ctypes.CDLL:
    """Compile kernels.c, keep the library as `file` if that can be written, and load it."""
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory(prefix="alexlib-", ignore_cleanup_errors=True) as folder:
        compiled, made = Path(folder, "kernels.o"), Path(folder, file.name)
        run([*compiler, *FLAGS, "-o", compiled, SOURCE])
        run([*compiler, *LINK, "-o", made, compiled, "-lm"])
        library = ctypes.CDLL(str(made))  # stays loaded when its file is deleted
        with suppress(OSError):
            atomic_write(file, lambda out: out.write(made.read_bytes()))
    return library
