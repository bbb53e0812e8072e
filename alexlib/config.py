"""The settings of nets and training: configs, scales and folders.

A config has three parts, `Net`, `Augment` and `Train`. Each field is one decision that can be
changed alone: `PAPER.replace(dropout=0.25)`. `PAPER` follows the text of the paper, `SOURCE2012`
the authors' code; tables/configs.toml has their differences, tables/scales.toml the scales.
"""

import dataclasses
import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from alexlib.settings import Checked, setting

# The project's folder; the working directory if alexlib is installed without the project.
_beside = Path(__file__).resolve().parents[1]
_about = _beside / "pyproject.toml"
IS_PROJECT = _about.is_file() and 'name = "alexlib"' in _about.read_text("utf-8")
ROOT = _beside if IS_PROJECT else Path.cwd()
TABLES = Path(__file__).parent / "tables"
PARTS = ("net", "augment", "train")
ACTIVATION_NAMES = ("relu", "tanh", "scaled_tanh", "leaky_relu", "gelu", "linear")


@dataclass(frozen=True)
class Net(Checked):
    """AlexNet (sections 3 and 4.2). Layers are numbered 1 to 8, as in Figure 2."""

    input: int = setting(224, "side of the input crop, pixels", 32, 1024)
    classes: int = setting(1000, "number of classes", 2, 100_000)
    width: float = setting(1.0, "factor of all numbers of kernels and units", 1 / 32, 4)
    kernels: tuple[(int,) * 5] = setting(
        (96, 256, 384, 384, 256), "kernels of conv1 to conv5, both towers together", 1, 100_000
    )
    units: tuple[int, int] = setting((4096, 4096), "units of fc6 and fc7", 1, 1_000_000)
    towers: int = setting(2, "towers; conv2, conv4, conv5 read their own tower only", 1, 2)
    cross_talk: bool = setting(True, "conv3, fc6 and fc7 read both towers")
    omit: tuple[int, ...] = setting((), "layers left out; the next conv takes over the pool", 1, 7)
    activation: str = setting("relu", "non-linearity of layers 1 to 7", *ACTIVATION_NAMES)
    overlapping: bool = setting(True, "3x3 max-pooling, stride 2; else 2x2, stride 2")
    lrn: tuple[int, ...] = setting((1, 2), "conv layers with LRN", 1, 5)
    lrn_before_relu: tuple[int, ...] = setting((), "conv layers with LRN before the ReLU", 1, 5)
    lrn_n: int = setting(5, "LRN: number of adjacent feature maps in the sum", 1, 255)
    lrn_k: float = setting(2.0, "LRN: constant k", 1e-6, 100)
    lrn_alpha: float = setting(1e-4, "LRN: factor alpha of the SUM of squares", 0, 10)
    lrn_beta: float = setting(0.75, "LRN: exponent beta", 0, 10)
    spatial_norm: tuple[int, ...] = setting((), "conv layers with a norm over 5x5 positions", 1, 5)
    spatial_alpha: float = setting(1e-3 / 25, "spatial norm: factor of the SUM of squares", 0, 10)
    dropout: float = setting(0.5, "probability that a unit of fc6 or fc7 is dropped", 0, 0.99)
    fc_factor: float = setting(1.0, "factor of fc6 and fc7 in training and testing", 0.01, 100)
    init_std: tuple[(float,) * 8] = setting((0.01,) * 8, "initial standard deviations", 0, 10)
    init_bias: tuple[(float,) * 8] = setting((0, 1, 0, 1, 1, 1, 1, 0), "initial biases", -100, 100)


@dataclass(frozen=True)
class Cifar(Checked):
    """A net for CIFAR-10 from the examples of the 2012 code; `models.cifar` builds it."""

    stack: str = setting("four-layer", "layers: models.cifar", "four-layer", "local", "80-seconds")
    input: int = setting(32, "side of the input crop, pixels", 8, 256)
    classes: int = setting(10, "number of classes", 2, 100_000)
    width: float = setting(1.0, "factor of all numbers of kernels and units", 1 / 32, 4)
    activation: str = setting("relu", "non-linearity of hidden layers", *ACTIVATION_NAMES)
    lrn: bool = setting(False, "LRN in layers 1 and 2 (layers-conv-local-11pct.cfg)")


@dataclass(frozen=True)
class Augment(Checked):
    """Augmentation of training images (section 4.1)."""

    crop: str = setting("random", "position of the crop", "random", "centre")
    flip: bool = setting(True, "mirror each image with probability 1/2")
    chunk: int = setting(1, "images that share a crop position and a flip", 1, 100_000)
    colour: str = setting(
        "eigenvalue",
        "noise along the colour axes, times the eigenvalue (pixels in 0..1) or its square root",
        *("eigenvalue", "root", "none"),
    )
    colour_std: float = setting(0.1, "standard deviation of the noise coefficients", 0, 10)
    colour_end: float = setting(1.0, "fraction of the run with colour noise", 0, 1)
    divide: float = setting(1.0, "divisor of the input during colour noise", 0.1, 1000)


@dataclass(frozen=True)
class Train(Checked):
    """Training (section 5). Learning rates are for the mean gradient of a mini-batch."""

    epochs: int = setting(90, "passes through the training images", 0, 100_000)
    batch: int = setting(128, "images in a mini-batch", 1, 1_000_000)
    lr: float = setting(0.01, "initial learning rate of the weights, pixels in 0..255", 0, 100)
    momentum: float = setting(0.9, "momentum", 0, 0.9999)
    decay: float = setting(0.0005, "weight decay", 0, 1)
    bias_lr_factor: float = setting(1.0, "learning rate of the biases / weights", 0, 100)
    bias_decay: bool = setting(True, "weight decay of biases")
    conv_decay: bool = setting(True, "weight decay of convolutions")
    schedule: str = setting(
        "plateau",
        "plateau: / 10 when the validation error stops improving; four-step: equal quarters at"
        " 250^(-i/3), biases / 10 at half the run; hand-2012: the drops of run 145; late: weights"
        " / 10 at 7/8 and 15/16 of the run; two-drops: / 10 at 3/4 and 7/8; constant",
        *("plateau", "four-step", "hand-2012", "late", "two-drops", "constant"),
    )
    patience: float = setting(0.055, "plateau: fraction of the run to wait for a minimum", 0, 1)
    conv1_freeze: float = setting(1.0, "fraction of the run in which conv1 is trained", 0, 1)
    target: float = setting(0.0, "training error (0..1) that ends the run; 0: none", 0, 1)
    validation: float = setting(0.05, "fraction of the training images held out", 0, 0.5)
    precision: str = setting(
        "auto",
        "of matrix products, the rest is float32; auto: bf16 if the device has units for it",
        *("auto", "bf16", "fp32"),
    )


@dataclass(frozen=True)
class Config:
    """The settings of a training run: a name and three parts."""

    name: str
    net: Net | Cifar = Net()
    augment: Augment = Augment()
    train: Train = Train()

    @property
    def defaults(self) -> "Config":
        """The config of the same kind of net with every field at its default, in bf16.

        Names of run folders depend on it, and a finished run's precision is never "auto".
        """
        return Config("", type(self.net)(), train=Train(precision="bf16"))

    def table(self) -> list[dict]:
        """One dict for each setting: part, field (unique across the parts), value, meaning."""
        rows = []
        for part in PARTS:
            settings = getattr(self, part)
            for field in dataclasses.fields(settings):
                row = {"part": part, "field": field.name, "value": getattr(settings, field.name)}
                rows.append(row | {"meaning": field.metadata["meaning"]})
        return rows

    def replace(self, name: str | None = None, **fields) -> "Config":
        """A copy with some fields changed. An unknown field or invalid value: ValueError."""
        part_of = {row["field"]: row["part"] for row in self.table()}
        changes = {part: {} for part in PARTS}
        for key, value in fields.items():
            changes[lookup(part_of, key, "field")][key] = value
        parts = [dataclasses.replace(getattr(self, part), **changes[part]) for part in PARTS]
        return Config(name or self.name, *parts)

    def changes(self, other: "Config") -> dict[str, tuple]:
        """The fields in which two configs of one kind of net differ: {field: (mine, theirs)}."""
        mine, theirs = ({r["field"]: r["value"] for r in c.table()} for c in (self, other))
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


def lookup(table: dict, name: str, what: str):
    if name not in table:
        close = difflib.get_close_matches(str(name), table, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"unknown {what} {name!r}{hint}: expected one of {', '.join(table)}")
    return table[name]


CONFIGS = {
    name: Config(name, Cifar() if "stack" in fields else Net()).replace(**fields)
    for name, fields in tomllib.loads((TABLES / "configs.toml").read_text("utf-8")).items()
}
PAPER, SOURCE2012, FIGURE1, CIFAR13 = CONFIGS.values()


@dataclass(frozen=True)
class Scale:
    """The size of the study: a data set, and the fields of the config that are changed for it."""

    name: str
    source: str  # the data set's name, for data.prepare.load
    side: int  # side of the packed images for AlexNet, pixels
    about: str
    changes: dict | None = None  # for AlexNet; None: it does not fit the images
    small: dict | None = None  # for the CIFAR nets; None: they do not fit

    def side_for(self, config: Config) -> int:
        """Side of the packed images: 32 for CIFAR nets, in proportion to the input for AlexNet."""
        if isinstance(config.net, Cifar):
            return 32
        return round(self.side * config.net.input / (self.changes or {}).get("input", 224))


SCALES = {
    name: Scale(name, **entry)
    for name, entry in tomllib.loads((TABLES / "scales.toml").read_text("utf-8")).items()
}


def scale_of(scale: str | Scale) -> Scale:
    """A scale by its name."""
    return scale if isinstance(scale, Scale) else lookup(SCALES, scale, "scale")


def config_at(config: str | Config, scale: str | Scale, **fields) -> Config:
    """A config at a scale: `config_at("paper", "imagenette", epochs=10)`.

    Args:
        config: "paper", "source2012" or any config.
        fields: changed after those of the scale; a field that is None stays as it is.

    Raises:
        ValueError: an unknown name, an invalid value, or a net that does not fit the images.
    """
    scale = scale_of(scale)
    if not isinstance(config, Config):
        config = lookup({c.name: c for c in (PAPER, SOURCE2012)}, config, "config")
    kind, net = ("small", "CIFAR nets") if isinstance(config.net, Cifar) else ("changes", "AlexNet")
    if getattr(scale, kind) is None:
        fit = ", ".join(s.name for s in SCALES.values() if getattr(s, kind) is not None)
        raise ValueError(f"scale {scale.name!r} is not for {net}: expected one of {fit}")
    given = {key: value for key, value in fields.items() if value is not None}
    return config.replace(**(getattr(scale, kind) | given))


def config_from(settings: dict) -> Config:
    """The config whose `as_dict()` a row holds; missing fields get their defaults."""
    net = (Cifar if "stack" in settings["net"] else Net)(**settings["net"])
    return Config(settings["name"], net, Augment(**settings["augment"]), Train(**settings["train"]))


def data_root() -> Path:
    """Folder of the data sets: `$ALEXLIB_DATA`, or `data/` in `ROOT`."""
    return Path(os.environ.get("ALEXLIB_DATA") or ROOT / "data").expanduser().resolve()


def runs_root() -> Path:
    """Folder of runs and packed images: `$ALEXLIB_RUNS`, or `runs/` in `ROOT`."""
    return Path(os.environ.get("ALEXLIB_RUNS") or ROOT / "runs").expanduser().resolve()


def reports_root() -> Path:
    """Folder of reports and rows: `$ALEXLIB_REPORTS`, or `reports/` in `ROOT`."""
    return Path(os.environ.get("ALEXLIB_REPORTS") or ROOT / "reports").expanduser().resolve()
