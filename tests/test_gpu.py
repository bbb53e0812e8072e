"""What a GPU computes, against a CPU: pytest -m gpu."""

import copy

import numpy as np
import pytest
import torch
from test_fast import CONFIGS, images, plain_and_fast, scores_and_gradients
from test_loop import TINY, trained
from test_loop import images as stripes

from alexlib.data import augment
from alexlib.data.images import Feed, generator, order
from alexlib.training.loop import predict

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm GPU"),
]


@pytest.fixture(autouse=True)
def without_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("name", CONFIGS)
def test_values_and_gradients_are_those_of_the_plain_net_in_float64(name):
    """In bf16 the fast net is about as near to it as the plain net on the same GPU.

    In some mini-batches, rounding changes which number a max-pool or a ReLU passes on and thereby
    a gradient by some per cent; a wrong stage is wrong in all of them.
    """
    plain, quick = plain_and_fast(CONFIGS[name])
    double, fine = copy.deepcopy(plain).double(), []
    nets = plain.to("cuda"), quick.to("cuda")
    for _ in range(6):
        x = images(plain)
        expected = scores_and_gradients(double, x.double())
        x = x.to("cuda", memory_format=torch.channels_last)
        found = [scores_and_gradients(net, x, bf16) for bf16 in (False, True) for net in nets]
        pairs = zip(expected, *found, strict=True)
        errors = [[(t.cpu() - exact).norm() / exact.norm() for t in ts] for exact, *ts in pairs]
        fine.append(all(max(e[:2]) <= 1e-4 and e[3] <= 2 * e[2] + 0.01 for e in errors))
    assert any(fine)


@pytest.mark.parametrize("fits", [True, False])
def test_mini_batches_and_augmentation_are_those_of_a_cpu(fits, monkeypatch):
    if not fits:
        monkeypatch.setattr("alexlib.data.images.MEMORY_SHARE", 0)
    train = stripes(40, side=80)
    mean, axes = torch.tensor(train.mean), torch.randn(3, 3)
    draws = augment.draw(8, 80, 64, TINY.augment, generator(0, 0, "augment"))
    made = []
    for device in ("cpu", "cuda"):
        feed, given = Feed(train, device), (mean.to(device), axes.to(device))
        assert (feed._copy is not None) == (fits and device == "cuda")
        for pixels, labels in feed(order(40, 8, 0, 0)):
            x = augment.training_input(pixels, *given, 64, TINY.augment, draws)
            made.append((x.cpu(), labels.cpu()))
    for (x, labels), (expected, true) in zip(made[5:], made[:5], strict=True):
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-3)
        assert torch.equal(labels, true)


def test_recorded_steps_are_the_others(monkeypatch):
    """With dropout, so that each replay has to draw another mask."""
    _, found = trained(TINY, device="cuda")
    monkeypatch.setattr("alexlib.training.machine.ready", lambda model, *_: model)
    for row, other in zip(found, trained(TINY, device="cuda")[1], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=2e-3)


@pytest.mark.parametrize("devices", [None, ("cuda", "cuda")])
def test_training_on_a_gpu_follows_that_on_a_cpu(devices):
    config = TINY.replace(dropout=0.0, fc_factor=0.5)  # masks are drawn on the device
    (_, expected), (model, found) = trained(config), trained(config, devices=devices, device="cuda")
    for row, cpu in zip(found, expected, strict=True):
        assert row["train_loss"] == pytest.approx(cpu["train_loss"], rel=2e-3)
    test = stripes(30, seed=3)
    on_gpu = predict(model, test, config, views="ten", device="cuda")
    if not devices:
        assert np.abs(on_gpu - predict(model.cpu(), test, config, views="ten")).max() < 1e-3


def test_a_run_in_bf16_is_resumed(tmp_path):
    config = TINY.replace(precision="bf16")
    _, half = trained(config, folder=tmp_path, finish=1, device="cuda")
    _, history = trained(config, folder=tmp_path, device="cuda")
    assert history[:1] == half and len(history) == 3
