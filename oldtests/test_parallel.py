"""Two ranks on the CPU give the loss path of one process; they stop, die and resume together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from alexold import parallel, study
from alexold.data import load
from alexold.paths import ROOT

RUN = """
import json, os, sys
import torch
torch.set_num_threads(1)
from alexold import data, parallel, study
from alexold.config import spec_at
fields, epochs = json.loads(sys.argv[1]), int(sys.argv[2])
device = parallel.start(fields.pop("device", "cpu"))
train, test = data.load("sample", 72)
spec = spec_at("source2012", "sample", epochs=epochs, **fields)
train, test = train.subset(range(400)), test.subset(range(50))
run = study.run("99_ranks", "try", spec, "sample", train, test, device=device, name="ranks")
if parallel.rank() == 0:
    torch.save({"weights": run.model.state_dict(), "row": run.row}, os.environ["ALEXLIB_RUNS"] + "/out.pt")
parallel.stop()
"""
FIELDS = {
    "input": 64,
    "width": 0.125,
    "precision": "fp32",
    "dropout": 0.0,
    "colour": "none",
    "lr": 0.01,
    "conv1_freeze": 0.5,
}


def start(tmp_path, ranks, epochs=2, **fields):
    """The run in a process of its own, or under torchrun."""
    script, packs = tmp_path / "ranks.py", tmp_path / "packs"
    script.write_text(RUN)
    if not packs.exists():
        packs.symlink_to(study.runs_root() / "packs")
    place = {"ALEXLIB_RUNS": str(tmp_path), "ALEXLIB_REPORTS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *torchrun, str(script), json.dumps(FIELDS | fields), str(epochs)]
    env = {**os.environ, **place, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)


def finished(tmp_path, ranks, **settings):
    load("sample", 72)  # packed before
    tmp_path.mkdir(exist_ok=True)
    process = start(tmp_path, ranks, **settings)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return torch.load(tmp_path / "out.pt", weights_only=True), error


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("alone"), 1)[0]


def same_path(found, expected, rtol=1e-4, atol=1e-5):
    """The same but for the order of sums in float32, whose traces grow with the steps."""
    for mine, theirs in zip(found["row"]["history"], expected["row"]["history"], strict=True):
        for key in ("train_loss", "val_loss"):
            assert mine[key] == pytest.approx(theirs[key], rel=rtol), key
        for key in ("train_top1", "val_top1"):  # of 352 and 40 pictures, one or two may stand at a tie
            assert mine[key] == pytest.approx(theirs[key], abs=0.006 if key == "train_top1" else 0.03), key
    assert found["row"]["metrics"]["ten"]["loss"] == pytest.approx(expected["row"]["metrics"]["ten"]["loss"], rel=rtol)
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, rtol=1e-3, atol=atol)


def test_two_ranks_take_the_path_of_one(tmp_path, alone):
    found, error = finished(tmp_path, 2)
    same_path(found, alone)
    assert found["row"]["device"].endswith(" x 2") and not alone["row"]["device"].endswith(" x 2")
    assert error.count("epoch 2/2") == 1, "the first rank alone speaks"
    rows = (tmp_path / "sample" / "results" / "99_ranks.jsonl").read_text().splitlines()
    assert len(rows) == 1 and not list(tmp_path.glob("ranks/.*.part"))


def test_two_ranks_of_two_towers_each(tmp_path, alone):
    found, _ = finished(tmp_path, 2, device="cpu,cpu")
    same_path(found, alone)
    assert found["row"]["device"].endswith(" x 2")


def test_another_number_of_ranks(tmp_path):
    """Half of the run by two ranks, stopped with SIGTERM; the rest by one process."""
    whole, _ = finished(tmp_path / "whole", 1, epochs=4)
    load("sample", 72)
    (tmp_path / "ranks").mkdir()
    process = start(tmp_path / "ranks", 2, epochs=4)
    until = time.monotonic() + 100
    while not (tmp_path / "ranks" / "ranks" / "checkpoint.pt").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    rest, _ = finished(tmp_path / "ranks", 1, epochs=4)
    same_path(rest, whole, atol=2e-4)  # a hundredth of the initial weights


def test_a_rank_that_dies_ends_the_job_and_is_named(tmp_path):
    load("sample", 72)
    process = start(tmp_path, 2, epochs=200)
    until = time.monotonic() + 100
    while not (tmp_path / "ranks" / "checkpoint.pt").exists() and time.monotonic() < until:
        time.sleep(0.05)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    victims = [pid for pid in map(int, children) if b"RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(victims[0], signal.SIGKILL)
    begun = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0 and time.monotonic() - begun < 60
    assert "rank      : 1" in error and "SIGKILL" in error


def test_alone_everything_is_the_identity():
    model = torch.nn.Linear(2, 2)
    assert parallel.wrap(model) is model and parallel.part(7) == slice(0, 7) and parallel.from_first(5) == 5
    assert (parallel.rank(), parallel.world(), parallel.start("cpu")) == (0, 1, "cpu")
    assert parallel.woven(np.arange(3), 3).tolist() == [0, 1, 2] and parallel.total(torch.ones(1)).item() == 1


@pytest.mark.parametrize(
    ("device", "local", "own"),
    [("cuda", 3, "cuda:3"), ("cuda:0,cuda:1", 0, "cuda:0,cuda:1"), ("cuda:0,cuda:1", 1, "cuda:2,cuda:3"),
     ("cpu", 5, "cpu"), ("cpu,cpu", 5, "cpu,cpu"), ("cuda", 4, None), ("cuda:0,cuda:1", 2, None)],
)  # fmt: skip
def test_gpus_are_dealt_out_to_the_ranks(monkeypatch, device, local, own):
    seen = {}
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda name: seen.update(current=name))
    monkeypatch.setattr(parallel.dist, "init_process_group", lambda backend, **_: seen.update(backend=backend))
    if own is None:
        with pytest.raises(ValueError, match=f"rank {local} of this machine needs . of its 4 GPUs"):
            parallel.start(device)
        return
    assert parallel.start(device) == own
    gpu = "cuda" in device
    assert seen == ({"backend": "nccl", "current": own.split(",")[0]} if gpu else {"backend": "gloo"})


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 3)
    assert parallel.part(9) == slice(0, 3)
    with pytest.raises(ValueError, match="a batch of 10 pictures does not divide among 3 ranks"):
        parallel.part(10)
