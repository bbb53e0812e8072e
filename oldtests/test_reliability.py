"""Runs that survive: kills, stops, damaged files, full disks. docs/reliability.md says which test shows what."""

import ast
import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_workers import ended

from alexold import checkpoint, data, paths, rows, workers
from alexold import train as train_module
from alexold.checkpoint import BEFORE, DAMAGED, LAST, TRAILER, CheckpointWarning
from alexold.config import FIGURE1, spec_at
from alexold.interrupt import stoppable
from alexold.nets import build
from alexold.paths import ROOT
from alexold.train import fit
from alexold.watch import Watch

SPEC = spec_at(FIGURE1, "sample", epochs=3, width=0.125, batch=16, validation=0.1, target=0.0, precision="fp32")
STEPS = 4  # an epoch of the 64 pictures
linux = pytest.mark.skipif(sys.platform != "linux", reason="as Linux does it")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Nets this small gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(folder=None, spec=SPEC, **kwargs):
    """Final weights, and rows without their times."""
    torch.manual_seed(0)
    train, _ = data.load("sample", 32)
    model = build(spec)
    found = fit(model, train.subset(range(64)), train.subset(range(64, 80)), spec, folder=folder, **kwargs)
    return model.state_dict(), without_times(found)


def without_times(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "pictures_per_second")} for row in history]


def same(a, b):
    return a[1] == b[1] and all(torch.equal(a[0][name], b[0][name]) for name in a[0])


@pytest.fixture(scope="module")
def undisturbed(one_thread):
    return trained()


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    """A folder with the checkpoints after epochs 1 and 2."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("two")
    trained(folder, finish=2)
    return folder


@pytest.fixture
def folder(two_epochs, tmp_path):
    return Path(shutil.copytree(two_epochs, tmp_path / "run"))


def epochs_in(file):
    return len(checkpoint._read(file)["history"])


# ---- kills ---------------------------------------------------------------------------------------------------

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import test_reliability as t
t.train_module.SAVE_EVERY = -1  # after each step: many kills hit a checkpoint being written
t.data.load("sample", 32)

def child(folder):
    pid = os.fork()
    if not pid:
        try:
            result = t.trained(folder, t.SPEC.replace(precision=sys.argv[1]))
            torch.save(result, folder.with_suffix(".whole"))
        finally:
            os._exit(0)
    return pid

def begun(folder):
    # a run that has written its first checkpoint
    pid = child(folder)
    while not (folder / t.LAST).exists():
        time.sleep(0.001)
    return pid

place, draw = Path(sys.argv[2]), random.Random(int(sys.argv[3]))
pid, started = begun(place / "whole"), time.monotonic()
os.waitpid(pid, 0)
lasts = time.monotonic() - started
whole = torch.load(place / "whole.whole")
for n in range(int(sys.argv[4])):
    folder = place / str(n)
    pid = begun(folder)
    time.sleep(draw.uniform(0, lasts))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    within = t.checkpoint._latest(folder)[0]["begun"].get("batches", 0)
    os.waitpid(child(folder), 0)
    left = len(list(folder.glob(".*.part")))
    print(int(t.same(torch.load(folder.with_suffix(".whole")), whole)), within, left)
"""


def kills(tmp_path, precision, seed, count):
    """Kill runs at random moments and finish them; returns after how many batches of its epoch each was killed."""
    data.load("sample", 32)  # packed before
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(tests=str(ROOT / "tests")))
    command = [sys.executable, script, precision, tmp_path, str(seed), str(count)]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    equal, within, left = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(equal) == count and all(equal), (equal, within)
    assert not any(left), "half-written files are cleaned up"
    return within


@linux
def test_a_run_killed_at_random_moments_ends_in_the_same_weights_and_rows(tmp_path):
    kills(tmp_path, "fp32", seed=6, count=3)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_killed_at_twenty_random_moments_ends_in_the_same_weights_and_rows(tmp_path, precision):
    assert len(set(kills(tmp_path, precision, seed=2012, count=20))) > 2


def test_a_kill_between_two_names_leaves_the_checkpoint_before(folder, undisturbed):
    (folder / BEFORE).unlink()
    (folder / LAST).rename(folder / BEFORE)  # renamed, and the new one not yet in its place
    (folder / f".{LAST}.1.part").write_bytes(b"half")
    with pytest.warns(CheckpointWarning, match=f"{LAST} is missing; going on from {BEFORE}"):
        assert same(trained(folder), undisturbed)
    assert sorted(file.name for file in folder.iterdir()) == [BEFORE, LAST]


# ---- damaged files -------------------------------------------------------------------------------------------


def falls_back(folder):
    """Whether the last checkpoint is refused for the one before."""
    state, bad = checkpoint._latest(folder)
    return len(state["history"]) == 1 and bad.startswith(f"{LAST} is damaged")


@pytest.mark.parametrize("left", [0, 1, TRAILER - 1, TRAILER, 5000, -TRAILER - 1, -TRAILER + 1, -1])
def test_a_checkpoint_that_was_cut_off_gives_way_to_the_one_before(folder, left, undisturbed):
    whole = (folder / LAST).read_bytes()
    (folder / LAST).write_bytes(whole[:left])
    assert falls_back(folder)
    with pytest.warns(CheckpointWarning, match=rf"run: {LAST} is damaged \(it is .*\); going on from {BEFORE}$"):
        assert same(trained(folder), undisturbed)
    assert (folder / DAMAGED).read_bytes() == whole[:left], "set aside, and not in the place of the good one"
    assert (epochs_in(folder / BEFORE), epochs_in(folder / LAST)) == (2, 3)


def test_a_flipped_bit_anywhere_is_noticed(folder):
    whole = bytearray((folder / LAST).read_bytes())
    places = [*random.Random(0).sample(range(len(whole)), 60), *range(len(whole) - TRAILER, len(whole))]
    for place in places:
        whole[place] ^= 1 << place % 8
        (folder / LAST).write_bytes(whole)
        assert falls_back(folder), place
        whole[place] ^= 1 << place % 8
    (folder / LAST).write_bytes(whole)
    assert epochs_in(folder / LAST) == 2


@pytest.mark.parametrize("before", [None, b"", b"damaged"])
def test_without_a_whole_checkpoint_a_run_says_so_and_does_not_begin_again(folder, before):
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:-1])
    (folder / BEFORE).unlink() if before is None else (folder / BEFORE).write_bytes(before)
    files = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match=rf"{LAST} is damaged .*{BEFORE} is .*delete the folder to begin again"):
        trained(folder)
    with pytest.raises(ValueError, match="delete the folder to begin again"):
        checkpoint.history(folder)
    assert files == {file: file.read_bytes() for file in folder.iterdir()}


def test_a_checkpoint_without_checksum_is_still_read(folder, undisturbed):
    torch.save(torch.load(folder / LAST, weights_only=True), folder / LAST)  # as they were before
    (folder / BEFORE).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        assert same(trained(folder), undisturbed)
    torch.save(torch.load(folder / LAST, weights_only=True), folder / LAST)
    whole = (folder / LAST).read_bytes()
    for damaged, why in ((whole[:-3], "it is cut off"), (whole[1000:], "torch cannot read it")):
        (folder / LAST).write_bytes(damaged)
        assert checkpoint._latest(folder)[1] == f"{LAST} is damaged ({why})"


def test_a_folder_with_another_run_is_refused_and_left_alone(folder):
    files = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match=r"another run: seed \(0 there, 3 here\); give this run another name"):
        trained(folder, seed=3)
    with pytest.raises(ValueError, match=r"another run: train\.lr \(0\.001 there, 0\.02 here\)"):
        trained(folder, SPEC.replace(lr=0.02))
    assert files == {file: file.read_bytes() for file in folder.iterdir()}


# ---- full disks ----------------------------------------------------------------------------------------------


class Disk:
    """`paths.open`, with room for some bytes of each file while `full`."""

    def __init__(self, monkeypatch, room=3000):
        self.full, self.room = False, room
        monkeypatch.setattr(paths, "open", self.open, raising=False)

    def open(self, file, mode):
        out = open(file, mode)  # noqa: SIM115
        return Limited(out, self.room, self.refuse) if self.full else out

    def refuse(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Limited:
    def __init__(self, out, room, refuse):
        self.out, self.room, self.refuse = out, room, refuse

    def write(self, some):
        self.room -= len(some)
        if self.room < 0:
            self.refuse()
        return self.out.write(some)

    def __getattr__(self, name):
        return getattr(self.out, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.out.close()


def at_step(monkeypatch, act):
    """`act(step)` in each step, after the weights have changed."""
    watch = Watch.__call__
    monkeypatch.setattr(Watch, "__call__", lambda self, loss, step: watch(self, loss, step) or act(step))


@pytest.mark.parametrize("room", [0, 3000, 12_000])
def test_a_full_disk_does_not_end_training(tmp_path, monkeypatch, undisturbed, room):
    disk, seen = Disk(monkeypatch, room), []
    monkeypatch.setattr(train_module, "SAVE_EVERY", -1)

    def act(step):
        disk.full = step in (2, 3, 4, 7, 8)  # twice, over the ends of epochs
        if step == 5:
            seen.append(checkpoint._read(tmp_path / LAST)["begun"]["batches"])

    at_step(monkeypatch, act)
    with pytest.warns(CheckpointWarning, match=r"in epoch [123] \(No space left on device\): training goes on") as said:
        assert same(trained(tmp_path), undisturbed)
    assert len(said) == 2 and seen == [2], "said once each time; the last whole one stayed"
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEFORE, LAST]


def test_a_disk_that_is_full_at_the_end_is_an_error_and_costs_no_checkpoint(folder, monkeypatch, undisturbed):
    disk = Disk(monkeypatch)
    at_step(monkeypatch, lambda step: setattr(disk, "full", True))
    files = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.warns(CheckpointWarning), pytest.raises(OSError, match=r"without its last checkpoint \(No space left"):
        trained(folder)
    assert files == {file: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.undo()
    assert same(trained(folder), undisturbed)


@pytest.fixture
def file_limit():
    """`file_limit(bytes)`: from now on the system writes no file beyond that size."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size or soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_of_the_system_costs_no_checkpoint(folder, file_limit, undisturbed):
    files = {file: file.read_bytes() for file in folder.iterdir()}
    file_limit((folder / LAST).stat().st_size // 2)
    with pytest.warns(CheckpointWarning, match="File too large"), pytest.raises(OSError, match="File too large"):
        trained(folder)
    assert files == {file: file.read_bytes() for file in folder.iterdir()}
    file_limit(None)
    assert same(trained(folder), undisturbed)


# ---- rows ----------------------------------------------------------------------------------------------------

ROW = {"study": "99_rows", "scale": "sample", "seed": 0, "more": ["x" * 50, {"a": 1.5}]}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    rows.append(ROW)
    return rows.path("99_rows", "sample")


def test_a_row_that_was_cut_off_is_left_out_and_mended_by_the_next(file):
    whole, other = file.read_bytes(), ROW | {"seed": 1}
    for tail in [*(whole[:n] for n in range(1, len(whole) - 1)), b"\0" * 40]:
        file.write_bytes(whole + tail)
        assert rows.read("99_rows", "sample") == [ROW]
        rows.append(other)
        assert rows.read("99_rows", "sample") == [ROW, other] and file.read_bytes().count(b"\n") == 2
    file.write_bytes(whole + whole[:-1])  # all but the end of the line
    assert rows.read("99_rows", "sample") == [ROW, ROW]
    rows.append(other)
    assert rows.read("99_rows", "sample") == [ROW, ROW, other]


@pytest.mark.parametrize("line", [b'{"study": "99_r', b"[]", b"\xff"])
def test_another_line_that_is_no_row_is_named(file, line):
    whole = file.read_bytes()
    for text in (whole + line + b"\n" + whole, whole + line + b"\n"):
        file.write_bytes(text)
        with pytest.raises(ValueError, match=r"99_rows\.jsonl, line 2 is no row: .*mend it or delete the line"):
            rows.read("99_rows", "sample")


def test_a_disk_that_is_full_during_a_row_costs_no_other_row(file, file_limit):
    size = file.stat().st_size
    file_limit(size + 20)
    with pytest.raises(OSError, match="File too large"):
        rows.append(ROW | {"seed": 1})
    file_limit(None)
    assert file.stat().st_size == size + 20 and rows.read("99_rows", "sample") == [ROW]
    rows.append(ROW | {"seed": 2})
    assert rows.read("99_rows", "sample") == [ROW, ROW | {"seed": 2}]


@linux
def test_a_row_that_another_process_is_writing_is_not_taken_for_one_that_was_cut_off(file):
    import fcntl

    line, thread = file.read_bytes(), threading.Thread(target=rows.append, args=(ROW | {"seed": 1},))
    with open(file, "ab", buffering=0) as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        out.write(line[:30])
        thread.start()
        time.sleep(0.2)
        out.write(line[30:])
    thread.join(20)
    assert rows.read("99_rows", "sample") == [ROW, ROW, ROW | {"seed": 1}]


# ---- signals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 2, 3, 4, 11])
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_training_after_its_step_and_a_checkpoint(
    tmp_path, monkeypatch, undisturbed, capfd, number, kind, step
):
    handlers, steps = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], []
    with monkeypatch.context() as patch, pytest.raises(kind) as stopped:
        at_step(patch, lambda at: at == step and signal.raise_signal(number))
        trained(tmp_path)
    where = f"stopped at epoch {step // STEPS + 1}, step {step % STEPS + 1} of {STEPS}; the same command goes on"
    assert capfd.readouterr().err.splitlines()[-1].startswith(where)
    assert str(stopped.value).startswith(where) if kind is KeyboardInterrupt else stopped.value.code == 143
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    at_step(monkeypatch, steps.append)
    assert same(trained(tmp_path), undisturbed) and steps == list(range(step + 1, 3 * STEPS)), "no step twice"


def test_a_signal_during_the_test_of_an_epoch_waits_for_its_row(tmp_path, monkeypatch, undisturbed):
    evaluate = train_module.evaluate
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="stopped at epoch 1, step 4 of 4"):
        first = iter([signal.SIGINT])  # a second signal would end it at once
        interrupted = lambda *a, **k: ([signal.raise_signal(s) for s in first] and None) or evaluate(*a, **k)  # noqa: E731
        patch.setattr(train_module, "evaluate", interrupted)
        trained(tmp_path)
    assert epochs_in(tmp_path / LAST) == 1 and same(trained(tmp_path), undisturbed)


def test_a_second_signal_ends_at_once(folder, monkeypatch):
    files = {file: file.read_bytes() for file in folder.iterdir()}
    at_step(monkeypatch, lambda step: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(folder)
    assert not stopped.value.args and files == {file: file.read_bytes() for file in folder.iterdir()}


def test_a_second_signal_during_the_checkpoint_leaves_those_that_were_there(folder, monkeypatch):
    files = {file: file.read_bytes() for file in folder.iterdir()}
    disk = Disk(monkeypatch)
    disk.refuse = lambda: signal.raise_signal(signal.SIGINT)
    at_step(monkeypatch, lambda step: setattr(disk, "full", True) or signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(folder)
    assert not stopped.value.args and files == {file: file.read_bytes() for file in folder.iterdir()}


def test_a_stop_that_cannot_be_saved_is_an_error(folder, monkeypatch):
    disk = Disk(monkeypatch)
    at_step(monkeypatch, lambda step: setattr(disk, "full", True) or signal.raise_signal(signal.SIGINT))
    with pytest.warns(CheckpointWarning), pytest.raises(OSError, match=r"No space left.*make room and give the same"):
        trained(folder)


def test_signals_keep_their_meaning_without_a_folder_and_in_other_threads(tmp_path, monkeypatch):
    seen = []
    at_step(monkeypatch, lambda step: seen.append(signal.getsignal(signal.SIGINT)))
    trained(spec=SPEC.replace(epochs=1))
    thread = threading.Thread(target=trained, args=(tmp_path, SPEC.replace(epochs=1)))
    thread.start()
    thread.join(60)
    assert seen == [signal.default_int_handler] * 2 * STEPS
    at_step(monkeypatch, lambda step: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(spec=SPEC.replace(epochs=1))
    assert not stopped.value.args


def test_a_signal_that_somebody_else_handles_is_left_to_them():
    mine = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGINT, mine)
    try:
        with stoppable() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_after_the_last_look_is_not_lost():
    with pytest.raises(KeyboardInterrupt) as stopped, stoppable():
        signal.raise_signal(signal.SIGINT)
    assert not stopped.value.args, "nobody has said where"


def pictures(folder):
    """40 pictures in two classes, and two to test."""
    rng = np.random.default_rng(0)
    for n, (split, name) in enumerate([("train", "a"), ("train", "b")] * 20 + [("val", "a"), ("val", "b")]):
        place = folder / split / name
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(place / f"{n}.png")
    return folder


def command(place, name):
    fields = ("--data", place / "set", "--epochs", 8, "--batch", 4, "--precision", "fp32", "--device", "cpu")
    fields += ("--set", "input", 64, "--set", "width", 0.0625, "--run", name)
    env = {**os.environ, "ALEXLIB_RUNS": str(place), "ALEXLIB_REPORTS": str(place / name), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "alexold", "train", *map(str, fields)]
    return subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def stopped(process, number):
    """Its lines and its status, after a signal at the end of its first epoch."""
    line = process.stderr.readline()
    while line and not re.match(r"epoch \d", line):
        line = process.stderr.readline()
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    return rest.splitlines(), process.returncode


@linux
def test_the_command_can_be_stopped_and_goes_on(tmp_path):
    pictures(tmp_path / "set")
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        lines, code = stopped(command(tmp_path, "stopped"), number)
        assert code == status
        last = r"stopped at epoch \d, step \d+ of 9; the same command goes on from there"
        assert re.fullmatch(last, lines[-1]) and all(re.match(r"epoch \d/8: ", line) for line in lines[:-1]), lines
    for name in ("stopped", "whole"):
        process = command(tmp_path, name)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and "error, centre" in out, err
    states = [checkpoint._read(tmp_path / name / LAST) for name in ("stopped", "whole")]
    assert same(*((state["model"], without_times(state["history"])) for state in states))
    one, other = (json.loads((tmp_path / name / "row.json").read_text())["metrics"] for name in ("stopped", "whole"))
    assert one == other


WORKERS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from alexold import workers
import test_reliability as t
if __name__ == "__main__":
    list(workers.each(t.noted, [(Path(sys.argv[1]) / name,) for name in "abc"], 2, 1))
"""


def noted(folder):
    """Runs in a worker: trains for long, and leaves how many steps it did."""
    steps, watch = [], Watch.__call__
    Watch.__call__ = lambda self, loss, step: watch(self, loss, step) or steps.append(step)
    try:
        trained(folder, SPEC.replace(epochs=100_000))
    finally:
        (folder / "steps").write_text(str(len(steps)))


@linux
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_workers_save_before_they_end_and_print_nothing(tmp_path, number, status):
    """Ctrl-C reaches all processes of a terminal, a cluster's SIGTERM the first."""
    data.load("sample", 32)
    script = tmp_path / "parent.py"
    script.write_text(WORKERS.format(tests=str(ROOT / "tests")))
    words = [sys.executable, script, tmp_path]
    parent = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob(f"?/{BEFORE}"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    os.killpg(parent.pid, number) if number == signal.SIGINT else parent.send_signal(number)
    try:
        _, said = parent.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(parent.pid, signal.SIGKILL)
        raise
    assert parent.returncode == status and said.count("Traceback") == (number == signal.SIGINT), said
    assert "stopped with 0 of 3 runs done; the same command goes on from there" in said
    for place in (tmp_path / "a", tmp_path / "b"):
        state = checkpoint._read(place / LAST)
        saved = len(state["history"]) * STEPS + state["begun"].get("batches", 0)
        assert (place / "steps").read_text() == str(saved)
    assert not (tmp_path / "c").exists(), "no worker takes another job"
    assert len(children) >= 2 and ended(children)


def hidden():
    """Runs in a worker: whether Ctrl-C was hidden from it when it was started, and whether it would ignore one."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGINT)


@linux
def test_workers_do_not_see_ctrl_c_from_their_first_moment():
    assert list(workers.each(hidden, [()], 1, 1)) == [(True, signal.SIG_IGN)]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


# ---- the page ------------------------------------------------------------------------------------------------


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"(tests/\w+\.py)::(\w+)", (ROOT / "docs" / "reliability.md").read_text())
    assert named
    for file, name in named:
        functions = [n.name for n in ast.parse((ROOT / file).read_text()).body if isinstance(n, ast.FunctionDef)]
        assert name in functions, f"{file}::{name}"
