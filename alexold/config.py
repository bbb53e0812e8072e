"""Settings: frozen `Net`, `Augment`, `Train`; the two configs `PAPER` and `SOURCE2012`; the scales.

Each field is one decision that can be changed alone: `PAPER.replace(dropout=0.25)`. A misspelt field or an impossible
value fails at once and lists the valid ones. `PAPER` follows the text of the paper (docs/fidelity.md
lists where it cannot); `SOURCE2012` is the net of run 145, behind the paper's numbers (layers-145.cfg,
layer-params-145.cfg), with the schedule of run 170 (four equal steps).
"""

import dataclasses
import difflib
from dataclasses import dataclass, field

from alexold.settings import check, setting

ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "leaky_relu", "gelu", "linear")


@dataclass(frozen=True)
class Net:
    """The architecture (sections 3 and 4.2). Layers are numbered 1 to 8 as in the paper's Figure 2."""

    input: int = setting(224, "side of the square crop that the net sees, pixels", low=32, high=1024)
    classes: int = setting(1000, "number of classes", low=2, high=100_000)
    width: float = setting(1.0, "fraction of the kernels and hidden units of every layer", low=1 / 32, high=4)
    kernels: tuple = setting((96, 256, 384, 384, 256), "kernels of conv1..conv5, both towers together", length=5)
    units: tuple = setting((4096, 4096), "units of fc6 and fc7, both towers together", length=2)
    towers: int = setting(2, "towers; conv2, conv4 and conv5 read their own tower only", one_of=(1, 2))
    cross_talk: bool = setting(True, "conv3, fc6 and fc7 read both towers", one_of=(True, False))
    omit: tuple = setting(
        (),
        "hidden layers left out; the convolution after conv1 or conv2 takes over its stride and pool",
        each=(1, 2, 3, 4, 5, 6, 7),
    )
    activation: str = setting("relu", "non-linearity of the hidden layers", one_of=ACTIVATIONS)
    overlapping: bool = setting(True, "3x3 pools with stride 2, else 2x2 with stride 2", one_of=(True, False))
    lrn: tuple = setting((1, 2), "conv layers followed by response normalisation", each=(1, 2, 3, 4, 5))
    lrn_before_relu: tuple = setting((), "those whose LRN acts on the linear output", each=(1, 2, 3, 4, 5))
    lrn_n: int = setting(5, "LRN: adjacent maps in the sum", low=1, high=255)
    lrn_k: float = setting(2.0, "LRN: constant", low=1e-6, high=100)
    lrn_alpha: float = setting(1e-4, "LRN: factor of the SUM of squares", low=0, high=10)
    lrn_beta: float = setting(0.75, "LRN: exponent", low=0, high=10)
    spatial_norm: tuple = setting((), "conv layers with a second norm, over 5x5 positions", each=(1, 2, 3, 4, 5))
    spatial_alpha: float = setting(1e-3 / 25, "spatial norm: factor of the SUM of squares (k = 1)", low=0, high=10)
    dropout: float = setting(0.5, "probability that a unit of fc6, fc7 is dropped", low=0, high=0.99)
    fc_factor: float = setting(
        1.0, "the outputs of fc6 and fc7 are multiplied by this, in training and in testing", low=0.01, high=100
    )
    init_std: tuple = setting((0.01,) * 8, "standard deviation of the initial weights, layer by layer", length=8)
    init_bias: tuple = setting((0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0), "initial biases, layer by layer", length=8)

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Cifar:
    """A net for CIFAR-10 out of the 2012 code's examples; `nets.STACKS` says which layers a stack has."""

    stack: str = setting(
        "four-layer",
        "layers: conv-conv-conv-fc (layers-19pct.cfg), conv-conv-local-local-fc (layers-conv-local-13pct.cfg), or"
        " conv-conv-conv-fc-fc (layers-80sec.cfg)",
        one_of=("four-layer", "local", "80-seconds"),
    )
    input: int = setting(32, "side of the square crop that the net sees, pixels", low=8, high=256)
    classes: int = setting(10, "number of classes", low=2, high=100_000)
    width: float = setting(1.0, "fraction of the kernels and hidden units of every layer", low=1 / 32, high=4)
    activation: str = setting("relu", "non-linearity of the hidden layers", one_of=ACTIVATIONS)
    lrn: bool = setting(False, "LRN in layers 1 and 2, as in layers-conv-local-11pct.cfg", one_of=(True, False))

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Augment:
    """What happens to a training picture (section 4.1); test pictures are cropped and have the mean subtracted only."""

    crop: str = setting("random", "random crop, or always the centre", one_of=("random", "centre"))
    flip: bool = setting(True, "mirror half of the pictures", one_of=(True, False))
    chunk: int = setting(1, "pictures that share one crop position and flip", low=1, high=100_000)
    colour: str = setting(
        "eigenvalue",
        "colour noise along the principal components times eigenvalue (pixels in 0..1) or its root, or none",
        one_of=("eigenvalue", "root", "none"),
    )
    colour_std: float = setting(0.1, "standard deviation of the colour coefficients", low=0, high=10)
    colour_end: float = setting(1.0, "share of the run after which colour noise ends", low=0, high=1)
    divide: float = setting(1.0, "the input is divided by this while colour noise is on", low=0.1, high=1000)

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Train:
    """How the net is trained (section 5). Learning rates act on the mean gradient of a batch, pixels in 0..255."""

    epochs: int = setting(90, "passes through the training pictures", low=0, high=100_000)
    batch: int = setting(128, "pictures in a minibatch", low=1, high=1_000_000)
    lr: float = setting(0.01, "learning rate of the weights at the start", low=0, high=100)
    momentum: float = setting(0.9, "momentum", low=0, high=0.9999)
    decay: float = setting(0.0005, "weight decay", low=0, high=1)
    bias_lr_factor: float = setting(1.0, "learning rate of the biases over that of the weights", low=0, high=100)
    bias_decay: bool = setting(True, "weight decay acts on biases too", one_of=(True, False))
    conv_decay: bool = setting(True, "weight decay acts on convolutions too", one_of=(True, False))
    schedule: str = setting(
        "plateau",
        "plateau: / 10 when the validation error stops improving, three times; four-step: equal quarters at factors"
        " 250^(-i/3), biases two halves at 1 and 1/10; hand-2012: the drops of run 145 as shares of the run; late:"
        " weights / 10 after 7/8 of the run, / 100 after 15/16; two-drops: all / 10 after 3/4 of the run, / 100 after"
        " 7/8; constant",
        one_of=("plateau", "four-step", "hand-2012", "late", "two-drops", "constant"),
    )
    patience: float = setting(
        0.055,
        "plateau: share of the run (2 epochs at least) without a better validation error before a drop",
        low=0,
        high=1,
    )
    conv1_freeze: float = setting(1.0, "share of the run after which conv1 is no longer trained", low=0, high=1)
    target: float = setting(0.0, "training error (0..1) of an epoch at which the run ends; 0: none", low=0, high=1)
    validation: float = setting(0.05, "share of the training pictures held out for validation", low=0, high=0.5)
    precision: str = setting("bf16", "bf16: matrices in bfloat16, weights and losses fp32", one_of=("bf16", "fp32"))

    def __post_init__(self):
        check(self)


PARTS = ("net", "augment", "train")


@dataclass(frozen=True)
class Spec:
    """One complete reading: a name and its three parts."""

    name: str
    net: Net | Cifar = Net()
    augment: Augment = Augment()
    train: Train = Train()

    @property
    def fields(self) -> dict[str, tuple[str, dataclasses.Field]]:
        """Part and field of every setting, by name."""
        return {f.name: (part, f) for part in PARTS for f in dataclasses.fields(getattr(self, part))}

    def replace(self, name: str | None = None, **fields) -> "Spec":
        """This spec with some fields changed, whichever part they belong to.

        Raises:
            ValueError: a field that does not exist (the valid ones are listed) or a value that it does not allow.
        """
        known = self.fields
        for key in fields:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(f"unknown field {key!r}: {hint}valid fields: {', '.join(known)}")
        parts = {
            part: dataclasses.replace(getattr(self, part), **{k: v for k, v in fields.items() if known[k][0] == part})
            for part in PARTS
        }
        return Spec(name or self.name, **parts)

    def rows(self) -> list[dict]:
        """The settings as a table: one dict (part, field, value, meaning) for each field."""
        return [
            {"part": part, "field": key, "value": getattr(getattr(self, part), key), "meaning": f.metadata["doc"]}
            for key, (part, f) in self.fields.items()
        ]

    def changes(self, other: "Spec") -> dict[str, tuple]:
        """The fields in which two specs of one kind of net differ: {field: (value here, value in `other`)}."""
        mine, theirs = ({r["field"]: r["value"] for r in s.rows()} for s in (self, other))
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}

    @property
    def plain(self) -> "Spec":
        """The spec of this kind of net with every field at its default."""
        return Spec("", type(self.net)())

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


PAPER = Spec("paper")

SOURCE2012 = PAPER.replace(
    "source2012",
    lrn_before_relu=(1,),
    lrn_alpha=1e-4 / 5,  # the parser divides the file's scale by the window (layer.py)
    spatial_norm=(2,),  # cnorm2 in layers-145.cfg, of type rnorm; not in the paper
    init_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
    bias_lr_factor=2.0,
    bias_decay=False,  # layer.cu constructs biases with a decay of 0
    chunk=32,  # convdata_jpeg.py
    colour="root",
    colour_end=67 / 91,  # layer-params-145.cfg: noise off at epoch 67, conv1 frozen at 72, stopped at 91
    divide=1.1,  # convdata_jpeg.py
    conv1_freeze=72 / 91,
    schedule="four-step",  # lr.cu, DiscreteExpLRS: what the authors automated their hand-made drops to
)

SPECS = {spec.name: spec for spec in (PAPER, SOURCE2012)}

# Figure 1: "a four-layer convolutional network", no regularisation of any kind, until 25 % training error. Rates and
# momentum are those of the 2012 examples for CIFAR-10; which net it was, and its rates, nobody has said.
FIGURE1 = Spec(
    "figure1",
    Cifar(),
    Augment(crop="centre", flip=False, colour="none"),
    Train(
        epochs=60, lr=0.001, decay=0.0, bias_lr_factor=2.0, bias_decay=False, schedule="constant", target=0.25,
        validation=0.0,
    ),
)  # fmt: skip

# The 13 % net of the project page (layers-conv-local-13pct.cfg): 160 epochs, its rate lowered for the last 20 and 10.
CIFAR13 = Spec(
    "cifar13",
    Cifar(stack="local", input=24),
    Augment(colour="none"),
    Train(
        epochs=160, lr=0.001, decay=0.004, conv_decay=False, bias_lr_factor=2.0, bias_decay=False, schedule="late",
        validation=0.0,
    ),
)  # fmt: skip

# The paper's one-GPU net (footnote of section 3.2; layers-145-half.cfg): half the kernels but those of conv5.
ONE_GPU = {"towers": 1, "kernels": (48, 128, 192, 192, 256)}


@dataclass(frozen=True)
class Scale:
    """How large the study runs: which pictures, packed how large, and the fields it changes in a spec."""

    name: str
    source: str  # what `data.load` opens
    side: int  # side of the packed pictures, pixels
    about: str
    changes: dict | None = field(default_factory=dict)  # None: AlexNet does not fit these pictures
    small: dict | None = None  # the fields it changes in a spec of a CIFAR net; None: not for such nets

    def side_for(self, spec: Spec) -> int:
        """Side of the packed pictures for a net: 32 for CIFAR nets; for AlexNet in proportion to its input."""
        if isinstance(spec.net, Cifar):
            return 32
        return round(self.side * spec.net.input / (self.changes or {}).get("input", 224))


SCALES = {
    s.name: s
    for s in (
        Scale(
            "sample", "sample", 256, "generated images, made in seconds; a laptop without GPU, minutes",
            {"classes": 10, "width": 0.25, "epochs": 16, "batch": 32, "lr": 0.005, "validation": 0.1},
            {"input": 24, "width": 0.25, "epochs": 10, "batch": 32},
        ),
        Scale("cifar10", "cifar10", 32, "60,000 small images; laptop, 1 GPU", None, {}),
        Scale(
            "imagenette", "imagenette", 256, "10 classes of ImageNet photographs; CPU overnight, GPU minutes",
            {"classes": 10, "epochs": 90},
        ),
        Scale(
            "imagenette128", "imagenette", 144, "the same at 128 pixels, as later studies did; CPU, a run in minutes",
            {"classes": 10, "input": 128, "epochs": 20, "batch": 64, "lr": 0.005},
        ),
        Scale(
            "miniimagenet", "miniimagenet", 144, "100 classes of ImageNet at 128 pixels; CPU, an hour a run",
            {
                "classes": 100, "input": 128, "width": 0.5, "epochs": 24, "batch": 128, "lr": 0.01,
                "schedule": "two-drops", "conv1_freeze": 1.0,
            },
        ),
        Scale("imagenet", "imagenet", 256, "ILSVRC-2012; one to many GPUs", {"validation": 0.02}),
    )
}  # fmt: skip


def spec_at(spec: str | Spec, scale: str | Scale, **fields) -> Spec:
    """A reading at a scale: `spec_at("paper", "imagenette", epochs=10)`; a field given as None stays as it is.

    Raises:
        ValueError: an unknown spec or scale, a scale without AlexNet, a bad field or value; the message lists the
            valid ones.
    """
    scale = scale_of(scale)
    spec = spec if isinstance(spec, Spec) else _lookup(SPECS, spec, "spec")
    kind = "small" if isinstance(spec.net, Cifar) else "changes"
    if getattr(scale, kind) is None:
        fit = ", ".join(s.name for s in SCALES.values() if getattr(s, kind) is not None)
        what = "CIFAR nets do" if kind == "small" else "AlexNet does"
        raise ValueError(f"{what} not fit the {scale.side}-pixel pictures of scale {scale.name!r}; they fit: {fit}")
    given = {key: value for key, value in fields.items() if value is not None}
    return spec.replace(**(getattr(scale, kind) | given))


def spec_from(settings: dict) -> Spec:
    """The spec that a row keeps as its `config`; fields that were added since have their defaults."""
    net = Cifar if "stack" in settings["net"] else Net
    parts = {part: cls(**settings[part]) for part, cls in zip(PARTS, (net, Augment, Train), strict=True)}
    return Spec(settings["name"], **parts)


def scale_of(scale: str | Scale) -> Scale:
    """A scale by its name."""
    return scale if isinstance(scale, Scale) else _lookup(SCALES, scale, "scale")


def _lookup(table: dict, name: str, what: str):
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}: valid ones: {', '.join(table)}")
    return table[name]
