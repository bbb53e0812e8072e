"""The variants of notebook 03: what each leaves out or changes, which claims it tests, and the proof that it differs.

An effect is the variant minus the baseline, in points: above zero, what the baseline has is worth having. How many
more epochs dropout takes is a ratio instead, of the baseline to the variant.
"""

import operator
from dataclasses import dataclass

import torch

from alexold import augment
from alexold.batches import generator
from alexold.config import CIFAR13, ONE_GPU, Augment, Cifar, Spec, scale_of, spec_at
from alexold.layers import ACTIVATION_LAYERS, Dropout, LocalResponseNorm, SpatialResponseNorm
from alexold.nets import build
from alexold.optim import make_optimizer


@dataclass(frozen=True)
class Variant:
    """One change of the baseline, with the claims of the register that it tests: (claim, what is measured).

    `changes` are fields of a spec with AlexNet, `small` those of a spec with a CIFAR net (None: not for this kind).
    `differs` names what `evidence` shows of the change. `against` is the variant that it is compared with.
    """

    name: str
    group: str
    about: str
    changes: dict | None
    differs: tuple[str, ...]
    small: dict | None = None
    claims: tuple[tuple[str, str], ...] = ()
    small_claims: tuple[tuple[str, str], ...] = ()
    against: str = "baseline"

    def of(self, base: Spec) -> Spec | None:
        """The baseline with this change; None for a net that it does not fit."""
        changes = self.small if isinstance(base.net, Cifar) else self.changes
        return None if changes is None else base.replace(**changes)


WIDE = {"units": (8192, 8192)}
NO_CROPS = {"crop": "centre", "flip": False}
TEST, GAP, TRAINING = "test error", "overfitting", "training error"
CENTRE, LENGTH, EARLY = "test error, centre view", "epochs to a training loss", "epochs to an early training loss"
TEST5 = "top-5 test error"  # of the twin of a claim about the test error, where there are classes enough

# In the order of the runs' worth.
VARIANTS = (
    Variant(
        "no-lrn", "lrn", "no response normalisation at all, as in run 148",
        {"lrn": (), "spatial_norm": ()}, ("stages", "norms"), {"lrn": False}, (("lrn", TEST),),
        (("lrn-cifar", TEST),),
    ),
    Variant(
        "lrn-conv1-only", "lrn", "no norm after conv2, as in run 167",
        {"lrn": (1,), "spatial_norm": ()}, ("stages", "norms"), claims=(("conv2-norms", TEST),),
    ),
    Variant(
        "no-dropout", "dropout", "no dropout; the outputs of fc6 and fc7 are halved in training as in testing",
        {"dropout": 0.0, "fc_factor": 0.5}, ("dropout",),
        claims=(("dropout-overfit", GAP), ("dropout-iterations", LENGTH)),
    ),
    Variant(
        "bias-zero", "init", "all biases start at 0", {"init_bias": (0.0,) * 8}, ("biases",),
        claims=(("bias-one", EARLY),),
    ),
    Variant(
        "no-crops-flips", "augmentation", "the centre of each picture only", NO_CROPS, ("windows",), NO_CROPS,
        (("crops-overfit", GAP),),
    ),
    Variant(
        "no-colour-noise", "augmentation", "crops and flips without colour noise", {"colour": "none"}, ("colours",),
        claims=(("colour-pca", TEST),),
    ),
    Variant(
        "one-tower", "towers", "half the kernels but those of conv5, as in the paper's one-GPU net", ONE_GPU,
        ("shapes", "norms"), claims=(("two-gpus", TEST),),
    ),
    Variant(
        "non-overlapping", "pooling", "2x2 pools and the padding of run 147", {"overlapping": False},
        ("pools", "padding"), claims=(("overlap", TEST), ("overlap-overfit", GAP)),
    ),
    Variant(
        "no-cross-talk", "towers", "towers that meet in fc8 only", {"cross_talk": False}, ("shapes",),
        claims=(("no-cross-talk", TEST),),
    ),
    *(
        Variant(
            f"no-conv{i}", "depth", f"without conv{i}", {"omit": (i,)},
            ("stages", "shapes", "padding", "spread", "activations", "biases"),
            claims=(("remove-middle", TEST),),
        )
        for i in (3, 4, 5)
    ),
    *(
        Variant(
            f"no-conv{i}", "depth", f"without conv{i}; conv{i + 1} takes over its {'stride and ' * (i == 1)}pool",
            {"omit": (i,)}, ("stages", "shapes", "padding", "spread", "norms", "activations", "biases"),
        )
        for i in (1, 2)
    ),
    Variant(
        "lrn-paper-strength", "lrn", "alpha 1e-4, as the text says, not 2e-5", {"lrn_alpha": 1e-4}, ("norms",),
    ),
    Variant("lrn-after-relu", "lrn", "LRN of conv1 after its ReLU", {"lrn_before_relu": ()}, ("stages",)),
    Variant(
        "conv2-norms-before-relu", "lrn", "norms of conv2 on its linear output, as in run 166",
        {"lrn_before_relu": (1, 2)}, ("stages",), claims=(("norm-after-relu", TEST),),
    ),
    Variant("no-spatial-norm", "lrn", "without the norm that the paper does not mention", {"spatial_norm": ()},
            ("stages", "norms")),
    Variant(
        "dropout-quarter", "dropout", "dropout .25, with the same mean activations as .5",
        {"dropout": 0.25, "fc_factor": 2 / 3}, ("dropout",),
    ),
    Variant(
        "wide-fc", "size", "fc6 and fc7 with twice the units of the scale", WIDE, ("shapes",),
    ),
    Variant(
        "wide-fc-no-dropout", "size", "the same without dropout, outputs halved",
        WIDE | {"dropout": 0.0, "fc_factor": 0.5}, ("shapes", "dropout"),
        claims=(("dropout-overfit", GAP),), against="wide-fc",
    ),
    Variant("half-width", "size", "half the kernels and units of every layer", {"width": 0.25}, ("shapes", "spread"),
            claims=(("larger-nets", TEST),)),
    Variant(
        "no-decay", "decay", "no weight decay", {"decay": 0.0}, ("decay",), {"decay": 0.0},
        (("weight-decay", TRAINING),),
    ),
    Variant("init-paper", "init", "all initial weights .01, as the text says", {"init_std": (0.01,) * 8}, ("spread",)),
    Variant("tanh", "activation", "tanh units", {"activation": "tanh"}, ("activations",), {"activation": "tanh"}),
)  # fmt: skip
GROUPS = tuple(dict.fromkeys(variant.group for variant in VARIANTS))


def baseline(scale: str, spec: str = "source2012", **fields) -> Spec:
    """What the variants of a scale are compared with: a reading of AlexNet, or the 13 % net with LRN for CIFAR-10.

    `fields` are those of `config.spec_at`.
    """
    reading = CIFAR13.replace(lrn=True) if scale_of(scale).changes is None else spec
    return spec_at(reading, scale, **fields)


def variants(base: Spec, group: str = "all") -> dict[str, Spec]:
    """The baseline and the variants of a group, or of several ("lrn,dropout"), that fit its net, in the order of worth.

    Raises ValueError for an unknown group, or one of which nothing fits.
    """
    wanted = set(GROUPS) if group == "all" else {name.strip() for name in group.split(",")}
    if not wanted <= set(GROUPS):
        raise ValueError(f"group {group!r}: expected all, or some out of {', '.join(GROUPS)}")
    found = {v.name: spec for v in VARIANTS if v.group in wanted and (spec := v.of(base))}
    if not found:
        fit = dict.fromkeys(v.group for v in VARIANTS if v.of(base))
        raise ValueError(f"group {group!r} has no variant of this net: expected all, or some out of {', '.join(fit)}")
    return {"baseline": base, **found}


def evidence(spec: Spec) -> dict:
    """What a spec comes to in the built net, its optimizer and its training pictures, by kind.

    Two specs that mean different trainings differ here: the proof of a variant, before it is trained.
    """
    torch.manual_seed(0)
    model = build(spec)
    stages = dict(model.named_children())
    weighted = {name: stage for name, stage in stages.items() if hasattr(stage, "weight")}
    optimizer = make_optimizer(model, spec.train)
    activations = tuple({type(make()) for make in ACTIVATION_LAYERS.values()})

    def reprs(*kinds):
        return tuple(repr(stage) for stage in stages.values() if isinstance(stage, kinds))

    return {
        "stages": tuple("f" + name[-1] if isinstance(stage, activations) else name for name, stage in stages.items()),
        "shapes": tuple(tuple(stage.weight.shape) for stage in weighted.values()),
        "padding": tuple(getattr(stage, "padding", ()) for stage in weighted.values()),
        "norms": reprs(LocalResponseNorm, SpatialResponseNorm),
        "pools": reprs(torch.nn.MaxPool2d, torch.nn.AvgPool2d),
        "dropout": reprs(Dropout),
        "activations": reprs(*activations),
        "spread": tuple(stage.weight.std().item() for stage in weighted.values()),
        "biases": tuple(stage.bias.mean().item() for stage in weighted.values()),
        "decay": tuple(group["weight_decay"] for group in optimizer.param_groups),
        **_pictures(spec.augment),
    }


def _pictures(settings: Augment) -> dict:
    """Whether copies of one picture come out of the augmentation in different windows and in different colours."""
    grey = (torch.arange(32) ** 2 // 8).to(torch.uint8).repeat(64, 32, 1)[..., None].repeat(1, 1, 1, 3)
    axes, mean = torch.diag(torch.tensor([1.0, 20.0, 400.0])), torch.zeros(32, 32, 3)
    x = augment.training_input(grey, mean, axes, 24, settings, generator(0, 0, "evidence"))
    across = x[:, 0, 0].diff().round(decimals=1)  # brightness from left to right, whatever the tint
    tint = (x - x[:, :1]).mean((2, 3)).round(decimals=1)
    return {"windows": len(across.unique(dim=0)) > 1, "colours": len(tint.unique(dim=0)) > 1}


def proof(base: Spec, spec: Spec) -> dict[str, tuple]:
    """The evidence in which a variant differs from its baseline: {kind: (of the baseline, of the variant)}."""
    of_base, of_variant = evidence(base), evidence(spec)
    return {
        kind: (of_base[kind], of_variant[kind])
        for kind in of_base
        if not (_alike if kind == "spread" else operator.eq)(of_base[kind], of_variant[kind])
    }


def _alike(a: tuple, b: tuple) -> bool:
    """Sizes of random weights that differ by chance alone: by less than a fifth."""
    return len(a) == len(b) and all(abs(x - y) < 0.2 * max(x, y) for x, y in zip(a, b, strict=True))
