"""alexlib: a reproduction study of AlexNet (Krizhevsky, Sutskever, Hinton, NIPS 2012).

Read first, beside the paper:

    config.py, paper.py    all settings; the paper's numbers and claims
    models/alexnet.py      the net, top to bottom, as in Figure 2; its parts are in models/layers.py
    training/loop.py       train_step, fit, evaluate; the update rule is in training/optim.py
    data/augment.py        crops, mirror images, colour noise, ten views
    study/                 runs, variants, and what they say about the claims

The notebooks show how to use it; `python -m alexlib --help` lists the commands.
`alexlib.load("name of a run, or a file")` opens a trained net (weights.py).
"""

import atexit
import getpass
import os
import shutil
import tempfile
from contextlib import suppress

__version__ = "0.1.0"

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: waiting threads must not spin


def _complete_environment() -> None:
    """Supply what other libraries expect of every machine and a container may lack."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name
        os.environ["USER"] = "nobody"
    if not os.access(os.path.expanduser("~"), os.W_OK):  # no writable home folder
        with suppress(OSError):
            os.environ["HOME"] = tempfile.mkdtemp(prefix="alexlib-home-")
            atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
    try:
        os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        pass
    except OSError:  # forbidden: all cores count
        os.sched_getaffinity = lambda _: set(range(os.cpu_count()))


_complete_environment()


def __getattr__(name: str):
    """Provide `alexlib.load`; torch is imported only when `load` is used."""
    if name != "load":
        raise AttributeError(f"module 'alexlib' has no attribute {name!r}")
    from alexlib.weights import load

    return load
