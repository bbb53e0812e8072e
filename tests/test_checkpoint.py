"""Runs that are killed, stopped or damaged end in the weights of an undisturbed run."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
import torch
from test_loop import STEPS, TINY, one_thread, same, trained  # noqa: F401 (a fixture)

from alexlib import training
from alexlib.config import ROOT
from alexlib.training import LossCheck, checkpoint
from alexlib.training.checkpoint import BEFORE, LAST, CheckpointWarning

PATHS = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
ENV = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}  # of new processes


@pytest.fixture(scope="module")
def undisturbed():
    return trained()


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    trained(folder=folder, finish=2)
    return folder


@pytest.fixture
def folder(two_epochs, tmp_path):
    """A copy of a run with the checkpoints after epochs 1 and 2."""
    return shutil.copytree(two_epochs, tmp_path / "run")


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def at_step(monkeypatch, act):
    """Calls act(step) in each step, after the weights have changed."""
    check = LossCheck.__call__
    both = lambda self, loss, step, **last: (check(self, loss, step, **last), act(step))  # noqa: E731
    monkeypatch.setattr(LossCheck, "__call__", both)


@pytest.mark.parametrize("devices", [None, ("cpu", "cpu")])
def test_a_run_in_parts_is_the_whole_run(tmp_path, devices):
    config = TINY.replace(schedule="plateau", epochs=4)
    for finish in (1, 3, None):
        parts = trained(config, folder=tmp_path, finish=finish, devices=devices)
    assert same(parts, trained(config, devices=devices))
    kept = checkpoint.weights(tmp_path)
    assert all(torch.equal(kept[name], w) for name, w in parts[0].state_dict().items())


def test_a_killed_run_resumes_within_its_epoch(tmp_path, monkeypatch, undisturbed):
    text = (
        "import pathlib, sys, torch; torch.set_num_threads(1)\n"
        "import test_loop; from alexlib.training import checkpoint; checkpoint.SAVE_EVERY = -1\n"
        "test_loop.trained(folder=pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", text, tmp_path], env=ENV)
    while process.poll() is None and not (tmp_path / BEFORE).exists():
        time.sleep(0.002)
    process.kill()
    process.wait()
    state, steps = checkpoint._latest(tmp_path)[0], []
    at_step(monkeypatch, steps.append)
    assert same(trained(folder=tmp_path), undisturbed)
    done = len(state["history"]) * STEPS + state["begun"].get("batches", 0)
    assert steps == list(range(done, 3 * STEPS)) and done > 0


@pytest.mark.parametrize("step", [2, STEPS - 1, 3 * STEPS - 1])
@pytest.mark.parametrize(("number", "error"), [(2, KeyboardInterrupt), (15, SystemExit)])
def test_a_signal_stops_after_a_checkpoint(tmp_path, monkeypatch, undisturbed, number, error, step):
    handler, steps = signal.getsignal(number), []
    with monkeypatch.context() as patch, pytest.raises(error):
        at_step(patch, lambda at: at == step - 1 and signal.raise_signal(number))
        trained(folder=tmp_path)
    assert signal.getsignal(number) is handler
    at_step(monkeypatch, steps.append)
    assert same(trained(folder=tmp_path), undisturbed)
    assert steps == list(range(step + 1, 3 * STEPS))


def test_other_devices_open_a_finished_run_and_refuse_to_go_on_with_another(folder, tmp_path):
    with pytest.raises(ValueError, match="begun on other devices"):
        trained(folder=folder, devices=("cpu", "cpu"))
    one = trained(folder=folder)
    assert same(trained(folder=folder, devices=("cpu", "cpu")), one)
    early = TINY.replace(target=1.0, epochs=9)  # ends after its first epoch
    assert len(trained(early, folder=tmp_path)[1]) == 1
    assert len(trained(early, folder=tmp_path, devices=("cpu", "cpu"))[1]) == 1


def test_a_second_signal_ends_at_once(folder, monkeypatch):
    before, clock = contents(folder), itertools.count(step=2)  # seconds
    monkeypatch.setattr(training, "time", mock.Mock(monotonic=lambda: next(clock)))
    at_step(monkeypatch, lambda step: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        trained(folder=folder)
    assert contents(folder) == before


def test_sigterm_twice_and_an_interrupt_of_the_kernel_are_one_wish(tmp_path, monkeypatch):
    at_step(monkeypatch, lambda step: [signal.raise_signal(n) for n in (15, 15, 2) if step == 1])
    with pytest.raises(KeyboardInterrupt):
        trained(folder=tmp_path)
    assert (tmp_path / LAST).exists()


def test_a_run_outside_the_main_thread_leaves_signals_alone(tmp_path):
    with ThreadPoolExecutor() as pool:
        assert len(pool.submit(trained, folder=tmp_path).result()[1]) == 3


def test_a_flipped_bit_is_noticed_or_harmless(folder):
    whole, kept = bytearray((folder / LAST).read_bytes()), checkpoint._latest(folder)[0]
    refused = 0
    for place in random.Random(0).sample(range(len(whole)), 100):
        whole[place] ^= 1 << place % 8
        (folder / LAST).write_bytes(whole)
        whole[place] ^= 1 << place % 8
        state, problem = checkpoint._latest(folder)
        refused += bool(problem)
        assert state["history"] == kept["history"][: 1 if problem else 2]
        if not problem:
            assert all(torch.equal(state["model"][k], w) for k, w in kept["model"].items())
    assert refused > 80


@pytest.mark.parametrize("left", [None, 0, 5000, -1])
def test_a_checkpoint_cut_off_or_missing_gives_way_to_the_one_before(folder, left, undisturbed):
    whole = (folder / LAST).read_bytes()
    (folder / LAST).unlink() if left is None else (folder / LAST).write_bytes(whole[:left])
    with pytest.warns(CheckpointWarning):
        trained(folder=folder, finish=2)
    assert [len(checkpoint._read(folder / name)["history"]) for name in (BEFORE, LAST)] == [1, 2]
    assert same(trained(folder=folder), undisturbed)


def test_damage_to_both_or_another_run_is_an_error_that_changes_nothing(folder):
    before = contents(folder)
    with pytest.raises(ValueError, match=r"train\.lr: 0\.003 there, 0\.02 here; seed: 0 there"):
        trained(TINY.replace(lr=0.02), folder=folder, seed=3)
    assert contents(folder) == before
    for name in before:
        (folder / name).write_bytes(before[name][:-30])
    with pytest.raises(ValueError, match="cannot be read"):
        trained(folder=folder)
    assert contents(folder) == {name: whole[:-30] for name, whole in before.items()}


@pytest.fixture
def disk(monkeypatch):
    state, fsync = {"full": False}, os.fsync  # every write fails while "full" is set
    failing = mock.Mock(side_effect=OSError("No space left"))
    monkeypatch.setattr(os, "fsync", lambda file: (failing if state["full"] else fsync)(file))
    return state


def test_a_full_disk_does_not_end_training(tmp_path, monkeypatch, disk, undisturbed):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", -1)
    at_step(monkeypatch, lambda step: disk.update(full=step in (2, 3, 4, 7, 8)))
    with pytest.warns(CheckpointWarning) as said:
        assert same(trained(folder=tmp_path), undisturbed)
    assert len(said) == 2, "once for each time"
    assert contents(tmp_path).keys() == {LAST, BEFORE}


def test_a_disk_that_is_full_at_the_end_or_at_a_stop_is_an_error(folder, monkeypatch, disk):
    before = contents(folder)
    at_step(monkeypatch, lambda step: disk.update(full=True))
    with pytest.warns(CheckpointWarning), pytest.raises(OSError, match="No space left"):
        trained(folder=folder)
    at_step(monkeypatch, lambda step: step == 12 and signal.raise_signal(signal.SIGINT))
    with pytest.warns(CheckpointWarning), pytest.raises(OSError, match="No space left"):
        trained(folder=folder)
    assert contents(folder) == before
