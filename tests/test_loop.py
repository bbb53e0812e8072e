"""One step against its equation in float64; what a run does; predictions, errors and hits."""

import base64
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from alexlib import training
from alexlib.config import SOURCE2012
from alexlib.data import augment
from alexlib.data.images import Images, generator
from alexlib.models import build
from alexlib.training import LossCheck, StuckWarning, loop, optim
from alexlib.training.loop import Diverged, evaluate

SMALL = {"input": 64, "classes": 3, "width": 1 / 16, "epochs": 3, "batch": 8}
TINY = SOURCE2012.replace(**SMALL, schedule="constant", precision="fp32", lr=0.003)
STEPS = 5  # of an epoch with 40 images


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()  # nets this small gain nothing from more
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n=40, side=72, seed=0):
    """Noise with stripes, whose direction is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    y, x = np.mgrid[:side, :side] / 4
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)])[labels]
    pixels = 128 + 70 * waves[..., None] + rng.normal(0, 20, (n, side, side, 3))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    statistics = np.linalg.eigh(np.cov(pixels.reshape(-1, 3).T.astype(np.float64)))
    mean = pixels.mean(0, dtype=np.float64).astype(np.float32)
    names = "stripes", "train", f"{n}-{seed}"
    return Images(pixels, labels, ("a", "b", "c"), mean, *statistics, *names)


def trained(config=TINY, train=None, val=None, devices=None, **options):
    """A net after training, and the rows without their times."""
    torch.manual_seed(0)
    model = build(config, devices)
    train, val = train or images(), images(9, seed=1) if val is None else val
    history = loop.fit(model, train, val, config, progress=False, **options)
    times = ("seconds", "pictures_per_second")
    return model, [{k: v for k, v in row.items() if k not in times} for row in history]


def same(a, b):
    """Whether two results of `trained` are equal bit for bit."""
    first, second = a[0].state_dict(), b[0].state_dict()
    return a[1] == b[1] and all(torch.equal(first[name], second[name]) for name in first)


def test_a_step_is_augmentation_softmax_regression_and_the_rule_of_section_5():
    """Three steps of a linear classifier, written out in float64."""
    config = SOURCE2012.replace(input=32, classes=3, precision="fp32", chunk=2)
    t, lr, rng = config.train, 1e-6, np.random.default_rng(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    optimizer = optim.make_optimizer(model, t)
    optim.set_learning_rates(optimizer, lr, 2 * lr)
    w, b = (p.detach().double().numpy().copy() for p in model[1].parameters())
    v, u = 0, 0
    mean, axes = rng.uniform(90, 140, (35, 35, 3)), rng.normal(0, 20, (3, 3))
    for step in range(3):
        pixels = rng.integers(0, 256, (4, 35, 35, 3), dtype=np.uint8)
        labels = rng.integers(0, 3, 4)
        draws = augment.draw(4, 35, 32, config.augment, generator(0, step, "augment"))
        arrays = (torch.from_numpy(pixels), torch.from_numpy(labels))
        statistics = (torch.from_numpy(mean).float(), torch.from_numpy(axes).float())
        loss, wrong = loop.train_step(model, optimizer, *arrays, *statistics, config, draws)

        x = np.empty((4, 3, 32, 32))
        for i, (top, left, mirrored, noise) in enumerate(zip(*draws, strict=True)):
            window = pixels[i, top : top + 32, left : left + 32].astype(float)
            window = window[:, ::-1] if mirrored else window
            window = window - mean[1:33, 1:33] + axes @ noise.double().numpy()
            x[i] = window.transpose(2, 0, 1) / config.augment.divide
        x = x.reshape(4, -1)
        scores = x @ w.T + b
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        assert loss.item() == pytest.approx(-np.log(p[range(4), labels]).mean(), rel=1e-5)
        assert wrong.item() == (scores.argmax(1) != labels).sum()
        g = (p - np.eye(3)[labels]) / 4
        v = t.momentum * v - t.decay * lr * w - lr * g.T @ x
        u = t.momentum * u - 2 * lr * g.sum(0)
        w, b = w + v, b + u
        np.testing.assert_allclose(model[1].weight.detach(), w, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(model[1].bias.detach(), b, rtol=1e-5, atol=1e-7)


def test_it_learns_stripes_and_stops_at_its_target():
    config = TINY.replace(epochs=20, dropout=0.0, chunk=1, colour="none", target=0.1)
    model, history = trained(config, images(96))
    assert 1 < len(history) < 20 and history[-1]["train_top1"] <= 0.1 < history[-2]["train_top1"]
    assert evaluate(model, images(30, seed=2), config)["top1"] < 0.1


def test_rows_report_what_was_measured():
    """With learning rate 0 the net does not change, so that its errors can be measured again."""
    config = TINY.replace(crop="centre", flip=False, colour="none", dropout=0.0, lr=0.0, epochs=2)
    train, val = images(), images(9, seed=1)
    model, history = trained(config, train, val)
    whole, held_out = evaluate(model, train, config), evaluate(model, val, config)
    for epoch, row in enumerate(history, 1):
        assert (row["epoch"], row["step"], row["lr"]) == (epoch, epoch * STEPS, 0.0)
        assert row["train_loss"] == pytest.approx(whole["loss"], rel=1e-5)
        assert row["train_top1"] == pytest.approx(whole["top1"])
        assert [row[f"val_{k}"] for k in ("loss", "top1", "top5")] == list(held_out.values())[:3]
        part = evaluate(model, loop.training_part(train, 0, len(val)), config)
        assert row["plain_loss"] == part["loss"]
    _, history = trained(config, train, train.subset([]))
    assert history[0]["val_loss"] is None and history[0]["plain_top1"] is None


def test_every_step_augments_anew_and_only_training_is_in_training_mode():
    model, modes, seen = build(TINY), [], []
    train = images().subset([0] * 40)  # one image: inputs differ by augmentation alone

    def look(module, inputs, _):
        modes.append((module.training, torch.is_grad_enabled()))
        if module.training:
            seen.append(inputs[0].double().sum().item())

    model.register_forward_hook(look)
    for seed in (0, 1):
        loop.fit(model, train, images(9, seed=1), TINY, seed=seed, progress=False)
    assert set(modes) == {(True, True), (False, False)}
    assert len(seen) == len(set(seen)) == 6 * STEPS


def test_colour_ends_and_conv1_freezes_at_their_fractions_of_the_run():
    def weights(finish=None, **fields):
        return trained(TINY.replace(**fields), finish=finish)[0].state_dict()

    def equal(a, b, layer):
        names = f"{layer}.weight", f"{layer}.bias"
        return all(torch.equal(a[name], b[name]) for name in names)

    whole = weights(colour_end=1.0, conv1_freeze=1.0)
    assert not equal(whole, weights(colour_end=0.5, conv1_freeze=1.0), "conv2")
    assert equal(weights(1, colour_end=1.0), weights(1, colour_end=0.5), "conv2")
    frozen, early = weights(conv1_freeze=1 / 3), weights(1, conv1_freeze=1 / 3)
    assert equal(frozen, early, "conv1") and not equal(frozen, early, "conv2")


def test_predictions_are_softmax_averaged_over_the_views():
    torch.manual_seed(0)
    model, test = build(TINY).eval(), images(7, seed=1)
    x = torch.from_numpy(test.pixels).float()
    mean = torch.from_numpy(test.mean)[4:68, 4:68]
    expected = torch.zeros(7, 3)
    for top, left in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4)):
        window = x[:, top : top + 64, left : left + 64]
        for view in (window, window.flip(2)):
            expected += model((view - mean).permute(0, 3, 1, 2)).softmax(1).detach() / 10
    found = loop.predict(model, test, TINY, views="ten", batch=3)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


def test_scores_and_hits_are_those_of_a_sorted_list():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(8), 50).astype(np.float32)
    p[::7] = 1 / 8  # ties: the lower class number comes first
    labels = rng.integers(0, 8, 50)
    ordered = [sorted(range(8), key=lambda c, row=row: (-row[c], c)) for row in p]
    ranks = np.array([order.index(label) for order, label in zip(ordered, labels, strict=True)])
    found, packed = loop.score(p, labels), loop.hits(p, labels)
    assert found["loss"] == pytest.approx(-np.mean(np.log(p[range(50), labels])))
    for k in (1, 5):
        assert found[f"top{k}"] == np.mean(ranks >= k)
        assert loop.hit_bits(packed[f"top{k}"], 50).tolist() == (ranks < k).tolist()


def test_nan_stops_training_and_prediction():
    with pytest.raises(Diverged):
        trained(TINY.replace(lr=100.0, epochs=40), val=images().subset([]))
    check = LossCheck(TINY)
    with pytest.raises(Diverged):  # read at the end of an epoch, too
        [check(torch.tensor(math.nan if i == 55 else 1.0), i, last=i == 59) for i in range(60)]
    model = build(TINY)
    nn.init.constant_(model.fc8.bias, math.nan)
    with pytest.raises(Diverged):
        loop.predict(model, images(9), TINY)


def test_a_loss_that_stays_at_chance_is_reported_once():
    check = LossCheck(SOURCE2012.replace(classes=10))
    with pytest.warns(StuckWarning) as seen:
        for step in range(500):
            check(torch.tensor(math.log(10)), step)
    assert len(seen) == 1
    with warnings.catch_warnings(action="error"):
        check = LossCheck(SOURCE2012.replace(classes=10))
        for step in range(500):
            check(torch.tensor(math.log(10) - 0.001 * step), step)


def test_a_notebook_gets_a_curve_that_grows(monkeypatch):
    shown = []
    monkeypatch.setattr(training, "in_notebook", lambda: True)
    monkeypatch.setattr(training.OneOutput, "show", lambda _, data: shown.extend(data.values()))
    loop.fit(build(TINY), images(), images(9, seed=1), TINY.replace(epochs=2))
    heads = [base64.b64decode(text)[:4] for text in shown]
    assert heads == [b"\x89PNG"] * 2 and shown[0] != shown[1]
