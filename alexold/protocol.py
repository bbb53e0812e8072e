"""The protocol in numbers (tables/protocol.toml, explained in docs/protocol.md): what is run, and what is evidence."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from alexold.ablations import VARIANTS
from alexold.config import CIFAR13, FIGURE1, PAPER, SOURCE2012, Spec, spec_at, spec_from

CONFIGS = {spec.name: spec for spec in (PAPER, SOURCE2012, FIGURE1, CIFAR13)}
RATES = (0.5, 1.0, 2.0)  # times the rate of the scale: what a rate check compares
MARGIN = 0.02  # by which another rate must lower the held-out error (0..1) to replace that of the scale


@dataclass(frozen=True)
class Block:
    """Runs of one config at one scale on one set of images; the head of protocol.toml explains the fields."""

    id: str
    study: str
    scale: str
    config: str
    data: tuple[str, str]
    fields: dict = field(default_factory=dict)
    variants: dict = field(default_factory=dict)
    check: int = 0
    also_check: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    seeds: int = 0  # of a block with free settings
    closed: bool = False

    @property
    def base(self) -> Spec:
        return spec_at(CONFIGS[self.config], self.scale, **self.fields)

    def spec(self, variant: str, lr: float | None = None) -> Spec:
        """The settings of a variant; with another learning rate where one is given."""
        change = next((v for v in VARIANTS if v.name == variant), None)
        spec = change.of(self.base) if change else self.base
        return spec if lr is None else spec.replace(lr=lr)

    def rates(self) -> list[float]:
        """The learning rates that a check compares; that of the scale alone where there is no check."""
        return [self.base.train.lr * factor for factor in (RATES if self.check else (1.0,))]

    def lists(self, row: dict) -> bool:
        """Whether a row of a run, or of a rate check, is one of this block."""
        if (row["data"]["train"], row["data"]["test"]) != self.data or row["scale"] != self.scale:
            return False
        checked = row["study"] == "rates" and row["of"] == self.study and self.check == row["epochs"]
        if not checked and row["study"] != self.study:
            return False
        if row["seed"] >= (1 if checked else self.variants.get(row["variant"], self.seeds)):
            return False
        known = {*self.variants, *(self.also_check if checked else ())}
        spec = spec_from(row["config"])
        if self.free:
            chosen = {r["field"]: r["value"] for r in spec.rows() if r["field"] in self.free}
            return spec == self.base.replace(**chosen)
        return row["variant"] in known and spec in [self.spec(row["variant"], lr) for lr in self.rates()]


TABLE = tomllib.loads((Path(__file__).with_name("tables") / "protocol.toml").read_text())
BLOCKS = tuple(
    Block(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
    for entry in TABLE["block"]
)


def block_of(row: dict) -> Block | None:
    """The block that lists the row of a run: None, and the row is no evidence, where none does."""
    return next((block for block in BLOCKS if block.lists(row)), None)


def loss(scale: str, guess: float, early: bool) -> float:
    """The training loss, nats, at which convergence, or early learning, is timed.

    Scales that the protocol does not name have the same shares of the loss of a `guess`, the logarithm of the classes.
    """
    known = TABLE["loss"].get(scale, [0.55 * guess, 0.87 * guess])
    return known[early]


def best_rate(checks: dict[float, dict | None], own: float) -> float:
    """The rate that a check chooses, out of {rate: last epoch of its check, None: diverged}.

    The scale's `own`, unless another one has a held-out error that is lower by more than `MARGIN`.
    """
    errors = {lr: row["val_top1"] if row else 1.0 for lr, row in checks.items()}
    best = min(errors, key=lambda lr: (errors[lr], lr != own))
    return best if errors[best] < errors.get(own, 1.0) - MARGIN else own


def chosen_rate(block: Block, variant: str, rates: list[dict]) -> float:
    """The learning rate of a variant: the scale's own, or the better one that a check found.

    Args:
        rates: rows of study "rates", of any block.
    """
    own = block.base.train.lr
    known = [row for row in rates if row["variant"] == variant and block.lists(row)]
    checks = {row["config"]["train"]["lr"]: None if "diverged" in row else row["history"][-1] for row in known}
    return best_rate(checks, own) if checks and variant in block.variants else own


def record(found: list[dict]) -> list[dict]:
    """The rows of runs and of rate checks, out of `found`, that are evidence: listed, at the chosen rate, each once."""
    kept, rates = {}, [row for row in found if row["study"] == "rates"]
    for row in found:
        block = block_of(row)
        if block is None or "superseded" in row:
            continue
        lr, checked = row["config"]["train"]["lr"], row["study"] == "rates"
        if block.check and not checked and lr != chosen_rate(block, row["variant"], rates):
            continue
        key = block.id, row["study"], row["variant"], row["seed"], lr, str(row["config"]["net"]) * bool(block.free)
        kept.setdefault(key, row)
    return [*kept.values()]
