"""The update rule against a float64 loop over section 5's equation; schedules in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from alexlib.config import CIFAR13, PAPER, SOURCE2012, Train
from alexlib.training import optim


def by_hand(w, gradients, rates, momentum, decay):
    """v <- momentum v - decay lr w - lr g;  w <- w + v."""
    v = 0.0
    for g, lr in zip(gradients, rates, strict=True):
        v = momentum * v - decay * lr * w - lr * g
        w = w + v
    return w


@pytest.mark.parametrize("config", [PAPER, SOURCE2012, CIFAR13], ids=lambda config: config.name)
def test_the_update_is_the_equation_also_when_the_rate_drops(config):
    t, rates = config.train, [0.1] * 6 + [0.01] * 6 + [0.001] * 3
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
    optimizer, rng = optim.make_optimizer(model, t), np.random.default_rng(0)
    start = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    gradients = {name: [rng.normal(size=w.shape) for _ in rates] for name, w in start.items()}
    for step, lr in enumerate(rates):
        optim.set_learning_rates(optimizer, lr, lr * t.bias_lr_factor)
        for name, p in model.named_parameters():
            p.grad = torch.from_numpy(gradients[name][step].copy())
        optimizer.step()
    for name, p in model.named_parameters():
        bias = name.endswith("bias")
        factor = t.bias_lr_factor if bias else 1
        decays = t.bias_decay if bias else t.conv_decay or not name.startswith("0")
        own_rates, decay = [lr * factor for lr in rates], t.decay if decays else 0
        expected = by_hand(start[name], gradients[name], own_rates, t.momentum, decay)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)


def rows(errors):
    return [{"val_top1": error} for error in errors]


TENTHS = [1, 0.1, 0.01, 0.001]
QUARTERS = [250 ** (-i / 3) for i in range(4)]


@pytest.mark.parametrize(
    ("schedule", "factors", "epochs", "bias_factors", "bias_epochs"),
    [
        ("constant", [1], [80], [1], [80]),
        ("four-step", QUARTERS, [20] * 4, [1, 0.1], [40, 40]),
        ("hand-2012", TENTHS, [25, 26, 28, 12], [1], [91]),  # run 145
        ("late", TENTHS[:3], [70, 5, 5], [1], [80]),
        ("two-drops", TENTHS[:3], [60, 10, 10], TENTHS[:3], [60, 10, 10]),
    ],
)
def test_schedules(schedule, factors, epochs, bias_factors, bias_epochs):
    t = Train(epochs=sum(epochs), schedule=schedule, bias_lr_factor=2.0)
    found = [optim.learning_rates(t, rows([0.5] * done)) for done in range(t.epochs)]
    weights, biases = zip(*found, strict=True)
    assert weights == pytest.approx(0.01 * np.repeat(factors, epochs))
    assert biases == pytest.approx(0.02 * np.repeat(bias_factors, bias_epochs))


PLATEAUS = [
    ([0.9, 0.8, 0.8, 0.8, 0.8], 1),
    ([0.9, 0.8, 0.85, 0.85, 0.79, 0.8, 0.8], 0),
    ([0.5] * 7, 2),
    ([0.5] * 13, 4),
]


@pytest.mark.parametrize(("errors", "count"), PLATEAUS)
def test_plateau_drops_after_three_epochs_without_a_new_minimum(errors, count):
    t = Train(epochs=40, patience=0.075)
    assert optim.drops(rows(errors), t) == count
    assert optim.learning_rates(t, rows(errors)) == pytest.approx([0.01 * 0.1 ** min(count, 3)] * 2)
    assert optim.finished(t, rows(errors)) == (count > 3)


def test_plateau_asks_for_validation_images_before_training():
    with pytest.raises(ValueError, match="validation above 0"):
        optim.validation([], Train(schedule="plateau"))
    assert optim.validation([], Train(schedule="four-step")) == []
    assert optim.validation([1], Train(schedule="plateau")) == [1]
