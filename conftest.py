"""Tests and the kernels of notebooks write to a temporary folder, not to the user's runs."""

import json
import os
import shutil
import signal
import tempfile

import pytest

from alexlib.config import ROOT, data_root

_given = os.environ.get("ALEXLIB_TEST_RUNS")  # a folder to keep, to see what the tests wrote
_worker = "PYTEST_XDIST_WORKER" in os.environ  # it shares the folder of the process that started it
_folder = os.path.dirname(os.environ["ALEXLIB_RUNS"]) if _worker else _given
_folder = _folder or tempfile.mkdtemp(prefix="alexlib-tests-")
os.environ["ALEXLIB_RUNS"] = os.path.join(_folder, "runs")
os.environ["ALEXLIB_REPORTS"] = os.path.join(_folder, "reports")


def _lend(folder):
    """Lend the sample's packs and the run of `make train` to the tests, if this code made it.

    Notebook 04 is then opened, not trained again.
    """
    from alexlib.training.machine import provenance

    os.makedirs(os.path.join(folder, "packs"), exist_ok=True)
    for pack in (ROOT / "runs" / "packs").glob("sample-*"):
        os.symlink(pack, os.path.join(folder, "packs", pack.name))
    for run in (ROOT / "runs").glob("04_train-sample-*"):
        made_with = json.loads((run / "provenance.json").read_text())
        if made_with["commit"] == provenance("cpu")["commit"] and (run / "row.json").exists():
            shutil.copytree(run, os.path.join(folder, run.name))


if not _given and not _worker:
    _lend(os.environ["ALEXLIB_RUNS"])

# A shell's background jobs ignore Ctrl-C; the processes that tests start would ignore it too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    if not _given and not _worker:
        shutil.rmtree(_folder, ignore_errors=True)


def pytest_runtest_setup(item):
    """`@pytest.mark.data("cifar10")` skips a test where these images are missing."""
    for mark in item.iter_markers("data"):
        for name in mark.args:
            if not any((data_root() / name).glob("*")):
                pytest.skip(f"no images in {data_root() / name}")
