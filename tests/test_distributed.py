"""Two ranks take the path of one process, and stop together."""

import subprocess
import sys

import pytest
import torch
from test_checkpoint import ENV
from test_loop import TINY, build, images, one_thread, trained  # noqa: F401

from alexlib.training import distributed

CONFIG = TINY.replace(dropout=0.0, epochs=2, conv1_freeze=0.5, width=1 / 8)
SCRIPT = """
import pathlib, signal, sys
import torch
torch.set_num_threads(1)
from alexlib.training import LossCheck, distributed, loop
from test_distributed import CONFIG, build, images
distributed.start("cpu")
folder, rank = pathlib.Path(sys.argv[1]), distributed.rank()
torch.manual_seed(0)
model = build(CONFIG)
history = loop.fit(model, images(), images(9, seed=1), CONFIG)
if rank == 0:
    torch.save((model.state_dict(), history), folder / "whole.pt")

check = LossCheck.__call__
def stop_rank_1(self, loss, step, last):
    check(self, loss, step, last)
    if (rank, step) == (1, 6):
        signal.raise_signal(signal.SIGTERM)

LossCheck.__call__ = stop_rank_1
torch.manual_seed(0)
try:
    loop.fit(build(CONFIG), images(), images(9, seed=1), CONFIG, folder=folder, progress=False)
except (KeyboardInterrupt, SystemExit):
    (folder / f"stopped-{rank}").touch()
distributed.stop()
"""


def same_path(found, expected):
    """The same weights and rows, but for the order of sums in float32."""
    for mine, theirs in zip(found[1], expected[1], strict=True):
        for key in ("train_loss", "val_loss", "plain_loss", "train_top1"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4), key
    for name, weight in expected[0].items():
        torch.testing.assert_close(found[0][name], weight, rtol=1e-3, atol=1e-5)


def test_two_ranks_take_the_path_of_one_and_stop_together(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = {"env": ENV, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([*torchrun, script, tmp_path], **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2") == 1, "only rank 0 prints"

    model, history = trained(CONFIG)
    one = (model.state_dict(), history)
    same_path(torch.load(tmp_path / "whole.pt", weights_only=True), one)
    assert (tmp_path / "stopped-0").exists() and (tmp_path / "stopped-1").exists()
    rest, history = trained(CONFIG, folder=tmp_path)  # resumed by a single process
    same_path((rest.state_dict(), history), one)


@pytest.mark.parametrize(
    ("device", "local", "own"),
    [("cuda", 3, "cuda:3"), ("xpu:0,xpu:1", 1, "xpu:2,xpu:3"), ("cpu,cpu", 5, "cpu,cpu")],
)
def test_every_rank_has_gpus_of_its_own(monkeypatch, device, local, own):
    seen = []
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(torch.accelerator, "set_device_index", seen.append)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda b, timeout: seen.append(b))
    assert distributed.start(device) == own
    backends = {"cuda": [3, "nccl"], "xpu:0,xpu:1": [2, "xccl"], "cpu,cpu": ["gloo"]}
    assert seen == backends[device]
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(ValueError, match="of its own"):
        distributed.start("cuda")
    monkeypatch.delenv("LOCAL_RANK")  # as some schedulers start a single process
    assert distributed.start("cuda") == "cuda"


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 3)
    with pytest.raises(ValueError, match="10"):
        distributed.part(10)
