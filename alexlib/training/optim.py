"""The update rule and the learning-rate schedules (section 5; weights.cu and lr.cu of 2012)."""

import math

import torch

from alexlib.config import Train
from alexlib.paper import FOUR_STEP, RUN_145

# Run 145, whose rate was lowered by hand: (fraction of the run, rate / initial rate).
HAND_2012 = [(epoch / 91, lr / 0.01) for epoch, setting, lr in RUN_145 if setting == "lr"]


def make_optimizer(model, t: Train) -> torch.optim.SGD:
    """SGD with momentum and weight decay: the rule of section 5, for a weight w with gradient g.

        v <- momentum v - decay lr w - lr g
        w <- w + v

    torch's SGD stores b = -v / lr instead of v, which is the same rule while lr is constant;
    `set_learning_rates` makes it the same when lr changes. The parameter groups are weights,
    biases and, if weight decay leaves them out, the weights of convolutions.
    """
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    convs = [layer.weight for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    undecayed = [] if t.conv_decay else convs
    others = {id(p) for p in (*biases, *undecayed)}
    weights = [p for p in model.parameters() if id(p) not in others]
    bias_decay = t.decay if t.bias_decay else 0.0
    groups = [
        {"params": weights, "lr": t.lr, "weight_decay": t.decay},
        {"params": biases, "lr": t.lr * t.bias_lr_factor, "weight_decay": bias_decay},
        {"params": undecayed, "lr": t.lr, "weight_decay": 0.0},
    ]
    used = groups if undecayed else groups[:2]
    return torch.optim.SGD(used, momentum=t.momentum, fused=True)


def set_learning_rates(optimizer, weight_lr: float, bias_lr: float) -> None:
    """Set the learning rates and keep the velocity v = -lr b of every parameter."""
    rates = (weight_lr, bias_lr, weight_lr)
    for group, lr in zip(optimizer.param_groups, rates, strict=False):
        if lr != group["lr"]:
            for p in group["params"]:
                if "momentum_buffer" in optimizer.state[p] and lr:
                    optimizer.state[p]["momentum_buffer"] *= group["lr"] / lr
            group["lr"] = lr


def learning_rates(t: Train, history: list[dict]) -> tuple[float, float]:
    """Learning rates of weights and biases for the epoch after those in `history`."""
    done = len(history) / max(t.epochs, 1)  # fraction of the run
    weights = biases = 1.0
    if t.schedule == "plateau":
        weights = biases = 0.1 ** min(drops(history, t), 3)
    elif t.schedule == "four-step":
        weights, biases = (_steps(done, FOUR_STEP[kind]) for kind in ("weights", "biases"))
    elif t.schedule == "hand-2012":  # run 145 never lowered the rate of the biases
        weights = min([1.0] + [factor for start, factor in HAND_2012 if done >= start])
    elif t.schedule == "late":
        weights = 0.1 ** ((done >= 7 / 8) + (done >= 15 / 16))
    elif t.schedule == "two-drops":
        weights = biases = 0.1 ** ((done >= 3 / 4) + (done >= 7 / 8))
    return t.lr * weights, t.lr * t.bias_lr_factor * biases


def _steps(done: float, schedule: dict) -> float:
    """DiscreteExpLRS of lr.cu: part i of n equal parts of the run has factor ** (-i / (n - 1))."""
    return schedule["factor"] ** (-int(done * schedule["steps"]) / (schedule["steps"] - 1))


def drops(history: list[dict], t: Train) -> int:
    """How often the validation error went `patience` epochs in a row without a new minimum."""
    patience = max(2, round(t.patience * t.epochs))
    best, waited, count = math.inf, 0, 0
    for row in history:
        if row["val_top1"] < best:
            best, waited = row["val_top1"], 0
        else:
            waited += 1
        if waited == patience:
            waited, count = 0, count + 1
    return count


def validation(val, t: Train):
    """The validation images; ValueError if there are none and the schedule needs some."""
    if t.schedule == "plateau" and not len(val):
        raise ValueError(
            "schedule 'plateau' needs validation images, and no training image was held out: set"
            " validation above 0, give some class two images or more, or take another schedule"
        )
    return val


def finished(t: Train, history: list[dict]) -> bool:
    """Whether a run has ended: at its last epoch, the target error, or a fourth plateau."""
    if len(history) >= t.epochs:
        return True
    if t.target and history and history[-1]["train_top1"] <= t.target:
        return True
    return t.schedule == "plateau" and drops(history, t) > 3


def freeze_first_layer(model, frozen: bool) -> bool:
    """Stop or resume training of conv1, as learning rate 0 did in 2012; returns whether it changed.

    A frozen layer has no gradient, so neither momentum nor weight decay changes it (weights.cu).
    """
    first = next(layer for layer in model.modules() if hasattr(layer, "weight"))
    changed = any(p.requires_grad == frozen for p in first.parameters())
    first.requires_grad_(not frozen)
    return changed
