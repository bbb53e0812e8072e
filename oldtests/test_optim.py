"""The update rule against a float64 loop of section 5's equation, and the schedules."""

import numpy as np
import pytest
import torch
from torch import nn

from alexold.config import SOURCE2012, Train
from alexold.optim import drops, finished, freeze_first_layer, learning_rates, make_optimizer, set_learning_rates


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()


def rule(w, grads, rates, momentum, decay):
    """v <- momentum v - decay lr w - lr g;  w <- w + v."""
    w, v = w.numpy().copy(), 0.0
    for g, lr in zip(grads, rates, strict=True):
        v = momentum * v - decay * lr * w - lr * g.numpy()
        w = w + v
    return w


@pytest.mark.parametrize("settings", [Train(), SOURCE2012.train], ids=["paper", "source2012"])
def test_update_rule_is_the_equation_across_a_drop(settings):
    model, rates = net(), [0.1] * 6 + [0.01] * 6 + [0.001] * 3
    optimizer = make_optimizer(model, settings)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    grads = {name: [torch.randn_like(p) for _ in rates] for name, p in start.items()}
    for step, lr in enumerate(rates):
        set_learning_rates(optimizer, lr, lr * settings.bias_lr_factor)
        for name, p in model.named_parameters():
            p.grad = grads[name][step].clone()
        optimizer.step()
    for name, p in model.named_parameters():
        bias = name.endswith("bias")
        factor, decay = (settings.bias_lr_factor, 0.0005 * settings.bias_decay) if bias else (1, 0.0005)
        expected = rule(start[name], grads[name], [lr * factor for lr in rates], 0.9, decay)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)


def test_torchs_rule_differs_after_a_drop_and_only_there():
    """Why `set_learning_rates` touches the velocity: with the rate outside it, the first step after a drop is too
    small.
    """
    ours, theirs = net(), net()
    optimizer = make_optimizer(ours, Train())
    plain = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, weight_decay=0.0005)
    far = []
    for lr in [0.1] * 5 + [0.01] * 2:
        set_learning_rates(optimizer, lr, lr)
        plain.param_groups[0]["lr"] = lr
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        optimizer.step()
        plain.step()
        far.append(max((p - q).abs().max().item() for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)))
    assert max(far[:5]) < 1e-12 and far[5] > 0.1


def history(errors):
    return [{"val_top1": e} for e in errors]


def test_plateau_counts_whole_waits_without_a_new_best():
    t = Train(epochs=40, patience=0.075)  # three epochs
    assert drops(history([0.9, 0.8, 0.8, 0.8]), t) == 0
    assert drops(history([0.9, 0.8, 0.8, 0.8, 0.8]), t) == 1
    assert drops(history([0.9, 0.8, 0.85, 0.85, 0.79, 0.8, 0.8]), t) == 0
    assert drops(history([0.5] * 7), t) == 2
    assert learning_rates(t, history([0.5] * 7))[0] == pytest.approx(1e-4)
    assert not finished(t, history([0.5] * 10)) and finished(t, history([0.5] * 13))


def test_plateau_drops_three_times_at_most_and_needs_a_validation_error():
    assert learning_rates(Train(), history([0.5] * 80))[0] == pytest.approx(1e-5)
    with pytest.raises(ValueError, match="validation"):
        learning_rates(Train(), history([None]))


def test_four_step_schedule_is_quarters_and_halves():
    t = SOURCE2012.replace(epochs=8).train
    weights, biases = zip(*(learning_rates(t, history([0.5] * done)) for done in range(8)), strict=True)
    assert weights == pytest.approx([0.01] * 2 + [0.001587] * 2 + [0.000252] * 2 + [0.00004] * 2, rel=1e-3)
    assert biases == pytest.approx([0.02] * 4 + [0.002] * 4)


def test_hand_made_schedule_is_that_of_run_145():
    t = SOURCE2012.replace(epochs=91, schedule="hand-2012").train
    rates = [learning_rates(t, history([0.5] * done)) for done in range(91)]
    changes = [i for i in range(1, 91) if rates[i] != rates[i - 1]]
    assert changes == [25, 51, 79]
    assert [rates[i][0] for i in (0, 25, 51, 79)] == pytest.approx([0.01, 0.001, 0.0001, 0.00001])
    assert {bias for _, bias in rates} == {0.02}


def test_constant_schedule_stays():
    assert learning_rates(Train(schedule="constant"), history([0.5] * 60)) == (0.01, 0.01)


def test_a_frozen_layer_has_no_gradient_momentum_or_decay():
    model = net()
    optimizer = make_optimizer(model, Train())

    def step():
        model(torch.ones(1, 4, dtype=torch.float64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    freeze_first_layer(model, True)
    before = [p.detach().clone() for p in model.parameters()]
    step()
    same = [torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
    assert same == [True, True, False, False]
