"""Tests and the notebooks' kernels write below a temporary folder, never into the user's runs or reports."""

import os
import shutil
import signal
import tempfile

import pytest

from alexlib.paths import data_root

_given = os.environ.get("ALEXLIB_TEST_RUNS")  # a folder to keep, to look at what the tests wrote
_folder = _given or tempfile.mkdtemp(prefix="alexlib-tests-")
os.environ["ALEXLIB_RUNS"] = os.path.join(_folder, "runs")
os.environ["ALEXLIB_REPORTS"] = os.path.join(_folder, "reports")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in a shell's background: what tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    if not _given:
        shutil.rmtree(_folder, ignore_errors=True)


def pytest_runtest_setup(item):
    """`@pytest.mark.data("cifar10")` runs only where those pictures are."""
    for name in (name for mark in item.iter_markers("data") for name in mark.args):
        if not any((data_root() / name).glob("*")):
            pytest.skip(f"no pictures in {data_root() / name}")
