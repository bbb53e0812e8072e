"""The update rule and the schedules of the learning rates (section 5; weights.cu, lr.cu)."""

import math

import torch

from alexold.config import Train
from alexold.paper import FOUR_STEP, RUN_145

# The drops of run 145, made by hand: (share of the run, factor of the first rate).
HAND_2012 = [(epoch / 91, lr / 0.01) for epoch, setting, lr in RUN_145 if setting == "lr"]


def make_optimizer(model, t: Train) -> torch.optim.SGD:
    """v <- momentum v - decay lr w - lr g; w <- w + v, with weights, biases and undecayed weights in groups.

    torch's SGD keeps b = -v / lr instead, which is the same path while lr stays; `set_learning_rates` keeps v when lr
    changes.
    """
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    conv = [layer.weight for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)] if not t.conv_decay else []
    others = {id(p) for p in (*biases, *conv)}
    weights = [p for p in model.parameters() if id(p) not in others]
    groups = [
        {"params": weights, "lr": t.lr, "weight_decay": t.decay},
        {"params": biases, "lr": t.lr * t.bias_lr_factor, "weight_decay": t.decay if t.bias_decay else 0.0},
    ]
    if conv:
        groups.append({"params": conv, "lr": t.lr, "weight_decay": 0.0})
    return torch.optim.SGD(groups, momentum=t.momentum, fused=True)


def set_learning_rates(optimizer, weight_lr: float, bias_lr: float) -> None:
    """Change the learning rates and leave the velocity v = -lr b as it is."""
    for group, lr in zip(optimizer.param_groups, (weight_lr, bias_lr, weight_lr), strict=False):
        if lr != group["lr"]:
            for p in group["params"]:
                if "momentum_buffer" in optimizer.state[p] and lr:
                    optimizer.state[p]["momentum_buffer"] *= group["lr"] / lr
            group["lr"] = lr


def learning_rates(t: Train, history: list[dict]) -> tuple[float, float]:
    """Learning rates of weights and biases in the epoch that follows `history`."""
    done = len(history) / max(t.epochs, 1)
    bias = t.lr * t.bias_lr_factor
    if t.schedule == "plateau":
        factor = 0.1 ** min(drops(history, t), 3)
        return t.lr * factor, bias * factor
    if t.schedule == "four-step":
        return t.lr * _step(done, FOUR_STEP["weights"]), bias * _step(done, FOUR_STEP["biases"])
    if t.schedule == "hand-2012":  # the biases of run 145 were never lowered
        return t.lr * min([1.0] + [factor for share, factor in HAND_2012 if done >= share]), bias
    if t.schedule == "late":
        return t.lr * 0.1 ** ((done >= 7 / 8) + (done >= 15 / 16)), bias
    if t.schedule == "two-drops":
        factor = 0.1 ** ((done >= 3 / 4) + (done >= 7 / 8))
        return t.lr * factor, bias * factor
    return t.lr, bias


def _step(done: float, schedule: dict) -> float:
    """Share of the first rate after `done` of a run in equal steps (lr.cu, DiscreteExpLRS)."""
    return schedule["factor"] ** (-int(done * schedule["steps"]) / (schedule["steps"] - 1))


def drops(history: list[dict], t: Train) -> int:
    """How often the validation error has stopped improving: a whole `patience` without a new best one."""
    patience = max(2, round(t.patience * t.epochs))
    best, waited, count = math.inf, 0, 0
    for row in history:
        if row["val_top1"] is None:
            raise ValueError("schedule 'plateau' watches the validation error: give `validation` a share above 0")
        if row["val_top1"] < best:
            best, waited = row["val_top1"], 0
        else:
            waited += 1
        if waited == patience:
            waited, count = 0, count + 1
    return count


def finished(t: Train, history: list[dict]) -> bool:
    """Whether the run ends before its last epoch: at its target, or on the plateau after the third drop."""
    if t.target and history and history[-1]["train_top1"] <= t.target:
        return True
    return t.schedule == "plateau" and drops(history, t) > 3


def freeze_first_layer(model, frozen: bool) -> bool:
    """A frozen layer gets no gradient, momentum or decay, as with learning rate 0 in 2012 (weights.cu).

    Returns whether anything has changed.
    """
    first = next(layer for layer in model.modules() if hasattr(layer, "weight"))
    before = [p.requires_grad for p in first.parameters()]
    first.requires_grad_(not frozen)
    return before != [p.requires_grad for p in first.parameters()]
