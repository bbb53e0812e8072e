"""Tests and the kernels of notebooks write to a temporary folder, not to the user's runs."""

import os
import shutil
import signal
import tempfile

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: waiting threads must not spin

from alexlib.config import data_root

_given = os.environ.get("ALEXLIB_TEST_RUNS")  # a folder to keep, to see what the tests wrote
_folder = _given or tempfile.mkdtemp(prefix="alexlib-tests-")
os.environ["ALEXLIB_RUNS"] = os.path.join(_folder, "runs")
os.environ["ALEXLIB_REPORTS"] = os.path.join(_folder, "reports")

# A shell's background jobs ignore Ctrl-C; the processes that tests start would ignore it too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    if not _given:
        shutil.rmtree(_folder, ignore_errors=True)


def pytest_runtest_setup(item):
    """`@pytest.mark.data("cifar10")` skips a test where these images are missing."""
    for mark in item.iter_markers("data"):
        for name in mark.args:
            if not any((data_root() / name).glob("*")):
                pytest.skip(f"no images in {data_root() / name}")
