"""What is decided by the machine: devices, precision, threads; and machines that lack something."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from test_loop import SMALL, images

from alexlib import files
from alexlib.config import FIGURE1, ROOT, SOURCE2012, config_at
from alexlib.models import build
from alexlib.study import runs
from alexlib.training import checkpoint, loop, machine
from alexlib.training.machine import pick_device, pick_precision, pick_towers

TINY = SOURCE2012.replace(**SMALL, schedule="constant", lr=0.003).replace(epochs=1)


def accelerator(monkeypatch, kind, count):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    found = SimpleNamespace(type=kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_auto_finds_any_accelerator(monkeypatch, kind):
    accelerator(monkeypatch, kind, 2)
    assert pick_device() == kind and pick_device("cpu") == "cpu"
    assert pick_towers() == pick_device(f"{kind}:0,{kind}:1") == f"{kind}:0,{kind}:1"
    accelerator(monkeypatch, kind, 1)
    assert pick_towers() == kind
    with pytest.raises(ValueError, match=f"'tpu'.*auto, cpu, {kind}, {kind}:0"):
        pick_device("tpu")


def test_without_one_the_cpu_is_used(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert pick_device() == pick_towers() == "cpu"
    with pytest.raises(ValueError, match=r"valid ones here: auto, cpu$"):
        pick_device("cuda:7")


@pytest.mark.parametrize(("speedup", "chosen"), [(2.0, "bf16"), (1.05, "fp32"), (0.4, "fp32")])
def test_auto_is_resolved_once_and_kept(monkeypatch, tmp_path, speedup, chosen):
    probes = []
    monkeypatch.setattr(machine, "_speedup", lambda device: probes.append(device) or speedup)
    pick_precision.cache_clear()
    job = runs.Job("s", "v", TINY, "sample").on("cpu")
    fixed = TINY.replace(precision=chosen)
    assert job.config == fixed == machine.resolved(fixed, "cpu") and fixed != TINY

    loop.fit(build(TINY), images(), images(9, seed=1), TINY, folder=tmp_path, progress=False)
    state = torch.load(tmp_path / checkpoint.LAST, weights_only=True)
    assert state["settings"]["train.precision"] == chosen and len(probes) == 1
    with machine.autocast("cpu", "auto"):
        assert torch.is_autocast_enabled("cpu") == (chosen == "bf16")
    pick_precision.cache_clear()


def test_emulated_bfloat16_is_not_chosen(tmp_path):
    """oneDNN computes bfloat16 on AVX2 too, many times slower."""
    code = "from alexlib.training.machine import pick_precision; print(pick_precision())"
    emulated = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    assert in_python(code, tmp_path, **emulated) == "fp32"


def test_threads_that_wait_sleep_and_neither_help_nor_a_report_needs_torch(tmp_path):
    code = "import os, sys, alexlib.__main__, alexlib.report\n"
    code += "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    assert in_python(code, tmp_path) == "PASSIVE False"


@pytest.fixture
def threads(monkeypatch):
    """Three threads, and the number that `available_threads` makes of them."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()

    def found(cores, free):
        monkeypatch.setattr(machine, "cpu_count", lambda: cores)
        monkeypatch.setattr(machine, "free_cores", lambda: free)
        torch.set_num_threads(3)
        return machine.available_threads.__wrapped__()

    yield found
    torch.set_num_threads(before)


def test_threads_are_those_of_the_free_cores(threads, monkeypatch):
    assert [threads(*given) for given in ((64, 64), (2, 2), (4, 4))] == [3, 2, 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(1, 1) == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads(4, 1) == threads(4, 0) == 1


def test_small_steps_have_one_thread(threads, monkeypatch):
    """Two cores help AlexNet at the sample scale; CIFAR nets and crops of 64 pixels they slow."""
    monkeypatch.setattr(machine, "available_threads", lambda: 2)
    sample = config_at("source2012", "sample", precision="fp32")
    used = []
    for config in (config_at(FIGURE1, "sample"), sample, sample.replace(input=64), FIGURE1):
        machine.set_up(config.replace(precision="fp32"), "cpu")
        used.append(torch.get_num_threads())
    assert used == [1, 2, 1, 2]


@pytest.mark.parametrize(("busy", "free"), [(0, 2), (55, 1), (100, 0)])
def test_only_idle_time_of_allowed_cores_is_free(monkeypatch, busy, free):
    looks = iter([[100, 0, 100], [busy, 0, busy], [100, 0, 100]])
    monkeypatch.setattr(machine, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(machine.psutil, "cpu_percent", lambda *_, **__: next(looks))
    assert machine.free_cores() == free
    for unknown in (Mock(side_effect=PermissionError), Mock(return_value=[])):  # some containers
        monkeypatch.setattr(machine.psutil, "cpu_percent", unknown)
        assert machine.free_cores() == 2


def test_a_resumed_run_has_the_threads_it_began_with(threads, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "ONE_THREAD", 0)

    def train(available, **options):
        monkeypatch.setattr(machine, "available_threads", lambda: available)
        loop.fit(build(TINY), images(), images(9), TINY.replace(epochs=3), **options)
        return torch.get_num_threads()

    assert train(3, folder=tmp_path, finish=1, progress=False) == 3
    assert train(1, folder=tmp_path, progress=False) == 3
    assert train(1, progress=False) == 1


@pytest.mark.parametrize("variable", ["ALEXLIB_REPORTS", "ALEXLIB_RUNS"])
def test_what_is_written_at_the_end_is_tried_first(monkeypatch, tmp_path, variable):
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    monkeypatch.setattr(loop, "fit", pytest.fail)
    with pytest.raises(OSError, match=f"set {variable} to"):
        runs.run(runs.Job("s", "v", TINY, "sample"), images(), images(9, seed=1))


@pytest.mark.parametrize(("number", "matters"), [(errno.EINVAL, False), (errno.ENOSPC, True)])
def test_a_disk_without_fsync_is_used_without(monkeypatch, tmp_path, number, matters):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    if matters:
        with pytest.raises(OSError, match=os.strerror(number)):
            files.atomic_write(tmp_path / "file", lambda out: out.write(b"x"))
    else:
        files.atomic_write(tmp_path / "file", lambda out: out.write(b"x"))
    assert (tmp_path / "file").exists() != matters


def in_python(code, folder, **environment):
    """The output of a new process in a folder, with alexlib from there or from the project."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path} | environment
    words = [sys.executable, "-c", code]
    return subprocess.check_output(words, cwd=folder, env=environment, text=True).strip()


def test_the_commit_is_never_that_of_another_repository(monkeypatch, tmp_path):
    (tmp_path / "alexlib").symlink_to(ROOT / "alexlib")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "other"], check=True)
    own = machine.commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as in a hook
    assert machine.commit() == own
    monkeypatch.delenv("GIT_DIR")
    for root in (tmp_path, tmp_path / "below"):
        root.mkdir(exist_ok=True)
        monkeypatch.setattr(machine, "ROOT", root)
        monkeypatch.setattr(machine, "IS_PROJECT", root != tmp_path)
        assert machine.provenance("cpu")["commit"] == "unknown"


def test_installed_without_the_project_folders_are_below_the_working_directory(tmp_path):
    package = tmp_path / "site" / "alexlib"
    package.mkdir(parents=True)
    for name in ("__init__.py", "settings.py", "tables"):
        (package / name).symlink_to(ROOT / "alexlib" / name)
    shutil.copy(ROOT / "alexlib" / "config.py", package)
    code = "from alexlib import config; print(config.IS_PROJECT, config.runs_root())"
    found = in_python(f"import sys; sys.path.insert(0, {str(package.parent)!r}); {code}", tmp_path)
    assert found == f"False {tmp_path / 'runs'}"


@pytest.mark.skipif(sys.platform != "linux", reason="as in Linux containers")
def test_a_user_without_home_or_name_gets_both(tmp_path):
    code = "import getpass, os, alexlib; print(getpass.getuser()); print(os.path.expanduser('~'))"
    lost = "import os, pwd; os.environ.pop('HOME', 0); pwd.getpwuid = {}.__getitem__; " + code
    name, home = in_python(lost, tmp_path, TMPDIR=str(tmp_path)).split()
    assert name == "nobody" and Path(home).parent == tmp_path and not Path(home).exists()
    assert in_python(code, tmp_path, HOME=str(tmp_path), USER="me").split() == ["me", str(tmp_path)]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="as in Linux containers")
def test_where_affinity_cannot_be_asked_all_cores_count(tmp_path):
    code = (
        "import os\ndef refuse(_): raise PermissionError(1, 'no')\nos.sched_getaffinity = refuse\n"
    )
    code += "import alexlib, joblib; print(joblib.cpu_count())"
    assert int(in_python(code, tmp_path)) >= 1
