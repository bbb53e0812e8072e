"""What the study compares, and which runs count: the variants of a baseline and the protocol.

tables/variants.toml lists the variants. tables/protocol.toml lists the runs that are evidence, in
blocks; docs/protocol.md explains both.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from alexlib.config import (
    CIFAR13,
    CONFIGS,
    Augment,
    Cifar,
    Config,
    config_at,
    config_from,
    scale_of,
)
from alexlib.data import augment
from alexlib.data.images import generator
from alexlib.models import build
from alexlib.models.layers import ACTIVATIONS, Dropout, LocalResponseNorm, SpatialResponseNorm
from alexlib.training.optim import make_optimizer

TABLES = Path(__file__).parents[1] / "tables"

# ---- variants ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One change of the baseline; the comment in variants.toml explains the fields."""

    name: str
    group: str
    about: str
    differs: tuple[str, ...]
    changes: dict | None = None
    small: dict | None = None
    against: str = "baseline"

    def of(self, base: Config) -> Config | None:
        """The baseline with this change; None if the variant does not exist for its kind of net."""
        changes = self.small if isinstance(base.net, Cifar) else self.changes
        return None if changes is None else base.replace(**changes)


VARIANTS = {
    name: Variant(name, **entry | {"differs": tuple(entry["differs"])})
    for name, entry in tomllib.loads((TABLES / "variants.toml").read_text()).items()
}


def baseline(scale: str, config: str | Config = "source2012", **fields) -> Config:
    """The config that the variants of a scale are compared with.

    It is `config` at the scale, with `fields` changed. At scales whose images are too small for
    AlexNet it is the CIFAR-10 net with 13 % error, with LRN.
    """
    small = scale_of(scale).changes is None
    return config_at(CIFAR13.replace(lrn=True) if small else config, scale, **fields)


def variants(base: Config, group: str = "all") -> dict[str, Config]:
    """The baseline, then its variants of one group or several ("lrn,dropout") by name.

    Raises ValueError for an unknown group, or if no variant of the group exists for this net.
    """
    made = {name: config for name, v in VARIANTS.items() if (config := v.of(base))}
    valid = list(dict.fromkeys(VARIANTS[name].group for name in made))
    wanted = valid if group == "all" else [name.strip() for name in group.split(",")]
    if unknown := [name for name in wanted if name not in valid]:
        listed = ", ".join(valid)
        raise ValueError(f"no variants of group {unknown[0]!r}: expected all, or some of {listed}")
    return {"baseline": base} | {n: c for n, c in made.items() if VARIANTS[n].group in wanted}


def differences(config: Config) -> dict:
    """What a config amounts to in the untrained net, its optimizer and its training images.

    Two configs that mean different training differ in at least one of these values.
    """
    torch.manual_seed(0)
    model = build(config, fast=False)
    stages = dict(model.named_children())
    weighted = [stage for stage in stages.values() if hasattr(stage, "weight")]
    optimizer = make_optimizer(model, config.train)
    activations = tuple(ACTIVATIONS.values())

    def shown(*kinds):
        return tuple(repr(stage) for stage in stages.values() if isinstance(stage, kinds))

    return {
        "stages": tuple(
            "f" + name[-1] if isinstance(stage, activations) else name
            for name, stage in stages.items()
        ),
        "shapes": tuple(tuple(stage.weight.shape) for stage in weighted),
        "padding": tuple(getattr(stage, "padding", ()) for stage in weighted),
        "norms": shown(LocalResponseNorm, SpatialResponseNorm),
        "pools": shown(torch.nn.MaxPool2d, torch.nn.AvgPool2d),
        "dropout": shown(Dropout),
        "activations": shown(*activations),
        "spread": tuple(stage.weight.std().item() for stage in weighted),
        "biases": tuple(stage.bias.mean().item() for stage in weighted),
        "decay": tuple(group["weight_decay"] for group in optimizer.param_groups),
        **_augmented(config.augment),
    }


def _augmented(settings: Augment) -> dict:
    """Whether copies of one grey image get different windows and different tints."""
    stripes = (torch.arange(32) ** 2 // 8).to(torch.uint8)
    copies = stripes.repeat(64, 32, 1)[..., None].repeat(1, 1, 1, 3)  # (64, 32, 32, 3)
    axes, mean = torch.diag(torch.tensor([1.0, 20.0, 400.0])), torch.zeros(32, 32, 3)
    draws = augment.draw(64, 32, 24, settings, generator(0, 0, "differences"))
    x = augment.training_input(copies, mean, axes, 24, settings, draws)  # (64, 3, 24, 24)
    brightness_steps = x[:, 0, 0].diff().round(decimals=1)  # along a row; a tint cancels
    tint = (x - x[:, :1]).mean((2, 3)).round(decimals=1)
    return {
        "windows": len(brightness_steps.unique(dim=0)) > 1,
        "colours": len(tint.unique(dim=0)) > 1,
    }


def proof(base: Config, config: Config) -> dict[str, tuple]:
    """The differences between a variant and its baseline: {kind: (baseline's, variant's)}."""
    a, b = differences(base), differences(config)
    unequal = {kind: (a[kind], b[kind]) for kind in a if a[kind] != b[kind]}
    stds = unequal.get("spread", ((), ()))  # random, so only differences of 20 % count
    if len(stds[0]) == len(stds[1]) and np.allclose(*stds, rtol=0.2):
        unequal.pop("spread", None)
    return unequal


# ---- the protocol --------------------------------------------------------------------------------

RATES = (0.5, 1.0, 2.0)  # a rate check compares these multiples of the scale's learning rate
MARGIN = 0.02  # another rate is chosen if its held-out error (0..1) is lower by more than this


@dataclass(frozen=True)
class Block:
    """Runs of one config at one scale on one data set; protocol.toml explains the fields."""

    id: str
    study: str
    scale: str
    config: str
    data: tuple[str, str]
    fields: dict = field(default_factory=dict)
    variants: dict[str, int] = field(default_factory=dict)
    check: int = 0
    also_check: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    seeds: int = 0  # of a block with free settings
    closed: bool = False

    @property
    def base(self) -> Config:
        return config_at(CONFIGS[self.config], self.scale, **self.fields)

    def config_of(self, variant: str, lr: float | None = None) -> Config:
        """The config of a variant, with another learning rate if one is given.

        Names that are not in VARIANTS ("baseline", "paper-plateau") stand for the block's base.
        """
        config = VARIANTS[variant].of(self.base) if variant in VARIANTS else self.base
        return config if lr is None else config.replace(lr=lr)

    def rates(self) -> list[float]:
        """The learning rates that its rate check compares; only the scale's if it has none."""
        return [self.base.train.lr * factor for factor in (RATES if self.check else (1.0,))]

    def lists(self, row: dict) -> bool:
        """Whether the row of a run, or of a rate check, is one of this block."""
        if (row["data"]["train"], row["data"]["test"]) != self.data or row["scale"] != self.scale:
            return False
        is_check = row["study"] == "rates" and row["of"] == self.study
        same_study = row["epochs"] == self.check if is_check else row["study"] == self.study
        if not same_study:
            return False
        if row["seed"] >= (1 if is_check else self.variants.get(row["variant"], self.seeds)):
            return False

        config = config_from(row["config"])
        if self.free:
            found = {r["field"]: r["value"] for r in config.table() if r["field"] in self.free}
            return config == self.base.replace(**found)
        known = {*self.variants, *(self.also_check if is_check else ())}
        name = row["variant"]
        return name in known and config in [self.config_of(name, lr) for lr in self.rates()]


PROTOCOL = tomllib.loads((TABLES / "protocol.toml").read_text())
BLOCKS = tuple(
    Block(**{key: tuple(x) if isinstance(x, list) else x for key, x in entry.items()})
    for entry in PROTOCOL["block"]
)


def block_of(row: dict) -> Block | None:
    """The block that lists the row of a run or a rate check; None if the row is not evidence."""
    return next((block for block in BLOCKS if block.lists(row)), None)


def loss_target(scale: str, guess: float, early: bool) -> float:
    """The training loss (nats) at which convergence, or early learning, is timed.

    `guess` is the loss at chance, ln(classes), from which scales that the protocol does not name
    get theirs.
    """
    return PROTOCOL["loss"].get(scale, [0.55 * guess, 0.87 * guess])[early]


def best_rate(checks: dict[float, dict | None], own: float) -> float:
    """The learning rate that a check chooses (docs/protocol.md, section 3).

    Args:
        checks: for each rate the history row of its last epoch; None if it diverged.
        own: the scale's rate, kept unless another is better by more than MARGIN.
    """
    errors = {lr: row["val_top1"] if row else 1.0 for lr, row in checks.items()}
    best = min(errors, key=lambda lr: (errors[lr], lr != own))
    return best if errors[best] < errors.get(own, 1.0) - MARGIN else own


def chosen_rate(block: Block, variant: str, rates: list[dict]) -> float:
    """The learning rate of a variant in a block, given rows of study "rates" (of any block)."""
    own = block.base.train.lr
    checks = {
        row["config"]["train"]["lr"]: None if "diverged" in row else row["history"][-1]
        for row in rates
        if row["variant"] == variant and block.lists(row)
    }
    return best_rate(checks, own) if checks and variant in block.variants else own
