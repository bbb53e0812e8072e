"""What the study compares, and which runs count: the variants of a baseline and the protocol.

tables/variants.toml lists the variants. tables/protocol.toml lists the runs that are evidence, in
blocks; docs/protocol.md explains both.
"""

import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, replace

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
from alexlib.paper import TABLES
from alexlib.training.optim import make_optimizer

# ---- variants ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One change of the baseline; the comment in variants.toml explains the fields."""

    name: str
    group: str
    about: str
    differs: list[str]
    changes: dict | None = None
    small: dict | None = None
    halves: list[str] = field(default_factory=list)
    against: str = "baseline"

    def of(self, base: Config) -> Config | None:
        """The baseline with this change; None if this kind or size of net has no such variant."""
        changes = self.small if isinstance(base.net, Cifar) else self.changes
        if changes is None:
            return None
        values = {row["field"]: row["value"] for row in base.table()}
        halved = {name: type(values[name])(values[name] / 2) for name in self.halves}
        with suppress(ValueError):  # half of the least width, or of one epoch
            return None if 0 in halved.values() else base.replace(**changes, **halved)
        return None


VARIANTS = {
    name: Variant(name, **entry)
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


# The stages of a net whose settings are compared, by the name of the difference.
KINDS = {
    "norms": (LocalResponseNorm, SpatialResponseNorm),
    "pools": (torch.nn.MaxPool2d, torch.nn.AvgPool2d),
    "dropout": (Dropout,),
    "activations": tuple(ACTIVATIONS.values()),
}


def differences(config: Config) -> dict:
    """What a config amounts to in the untrained net, its optimizer and its training images.

    Two configs that mean different training differ in at least one of these values.
    """
    torch.manual_seed(0)
    model = build(config, fast=False)
    stages = dict(model.named_children())
    weighted = [stage for stage in stages.values() if hasattr(stage, "weight")]
    optimizer = make_optimizer(model, config.train)

    def named(name, stage):  # an activation by its number: "relu1" and "tanh1" are the same stage
        return name[-1] if isinstance(stage, KINDS["activations"]) else name

    found = {k: [repr(s) for s in model if isinstance(s, kind)] for k, kind in KINDS.items()}
    return found | {
        "stages": [named(*pair) for pair in stages.items()],
        "shapes": [stage.weight.shape for stage in weighted],
        "padding": [getattr(stage, "padding", ()) for stage in weighted],
        "spread": [stage.weight.std().item() for stage in weighted],
        "biases": [stage.bias.mean().item() for stage in weighted],
        "decay": [group["weight_decay"] for group in optimizer.param_groups],
        "epochs": config.train.epochs,
        "held out": config.train.validation,
        "windows": _differ(replace(config.augment, colour="none")),
        "colours": _differ(replace(config.augment, crop="centre", flip=False)),
    }


def _differ(settings: Augment) -> bool:
    """Whether augmentation makes different training images from copies of one image."""
    stripes = (torch.arange(32) ** 2 // 8).to(torch.uint8)
    copies = stripes.repeat(64, 32, 1)[..., None].repeat(1, 1, 1, 3)  # (64, 32, 32, 3)
    draws = augment.draw(64, 32, 24, settings, generator(0, 0, "differences"))
    mean, axes = torch.zeros(32, 32, 3), torch.eye(3)
    x = augment.training_input(copies, mean, axes, 24, settings, draws)  # (64, 3, 24, 24)
    return len(x.unique(dim=0)) > 1


def proof(base: Config, config: Config) -> dict[str, tuple]:
    """The differences between a variant and its baseline: {kind: (baseline's, variant's)}."""
    a, b = differences(base), differences(config)
    stds = a["spread"], b["spread"]  # random, so only differences of 20 % count
    if len(stds[0]) == len(stds[1]) and np.allclose(*stds, rtol=0.2):
        b["spread"] = a["spread"]
    return {kind: (a[kind], b[kind]) for kind in a if a[kind] != b[kind]}


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
    data: list[str]
    fields: dict = field(default_factory=dict)
    variants: dict[str, int] = field(default_factory=dict)
    check: int = 0
    free: list[str] = field(default_factory=list)
    seeds: int = 0  # of a block with free settings
    closed: bool = False
    gpu: bool = False

    @property
    def base(self) -> Config:
        fields = {"precision": "bf16"} | self.fields
        return config_at(CONFIGS[self.config], self.scale, **fields)

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
        if row.get("weights"):  # it started from trained weights, not from new ones
            return False
        if [row["data"]["train"], row["data"]["test"]] != self.data or row["scale"] != self.scale:
            return False
        is_check = row["study"] == "rates" and row["of"] == self.study
        is_run = row["study"] == self.study and on_gpu(row) == self.gpu
        if not (is_run or (is_check and row["epochs"] == self.check)):
            return False
        if row["seed"] >= (1 if is_check else self.variants.get(row["variant"], self.seeds)):
            return False

        config = config_from(row["config"])
        if self.free:
            found = {r["field"]: r["value"] for r in config.table() if r["field"] in self.free}
            return config == self.base.replace(**found)
        name = row["variant"]
        rates = self.rates() if name in self.variants else []
        return config in [self.config_of(name, lr) for lr in rates]


PROTOCOL = tomllib.loads((TABLES / "protocol.toml").read_text())
BLOCKS = [Block(**entry) for entry in PROTOCOL["block"]]


def on_gpu(row: dict) -> bool:
    """Whether a GPU made a row; the names of processors end with the number of threads."""
    return not row.get("device", "threads").endswith("threads")


def block_of(row: dict) -> Block | None:
    """The block that lists the row of a run or a rate check; None if the row is not evidence."""
    return next((block for block in BLOCKS if block.lists(row)), None)


def checked_rates(block: Block, variant: str, rates: list[dict]) -> dict[float, float]:
    """The validation error (0..1) after each rate that was checked for a variant of a block.

    `rates` are rows of study "rates", of any block. A diverged run counts as 1. Of two checks at
    one rate the first row counts.
    """
    return {
        row["config"]["train"]["lr"]: 1.0 if "diverged" in row else row["history"][-1]["val_top1"]
        for row in reversed(rates)
        if row["variant"] == variant and block.lists(row)
    }


def chosen_rate(block: Block, variant: str, rates: list[dict]) -> float:
    """The learning rate of a variant in a block (docs/protocol.md, section 3).

    The scale's own rate is kept unless the validation error after another one (`checked_rates`) is
    lower by more than MARGIN.
    """
    own, errors = block.base.train.lr, checked_rates(block, variant, rates)
    if variant not in block.variants or not errors:
        return own
    best = min(errors, key=errors.get)
    return best if errors[best] < errors.get(own, 1.0) - MARGIN else own
