"""The paper as data: its layers, numbers, results and claims, and the authors' training logs.

Paper: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", NIPS 2012. Sections and figures are those of the paper. Source: the authors' code
and run files of 2012 (github.com/computerhistory/AlexNet-Source-Code); each layer-params-*.cfg ends
in notes about learning rates and final errors. This study computed or measured none of this.
"""

import tomllib
from collections import namedtuple
from dataclasses import dataclass, field

import pandas as pd

from alexlib.config import TABLES

# The layers with weights (3.2, 3.5, Figure 2; layers-145.cfg), both towers together. weight_shape:
# its inputs are those that one kernel reads. output: channels, height, width. macs: multiply-adds
# of the forward pass of one image, padding included. init_std_source: the source's (the paper:
# 0.01). caption: neurons in the caption of Figure 2.
LAYERS = pd.read_csv(TABLES / "layers.csv", index_col="name")
for column in ("weight_shape", "output"):
    LAYERS[column] = [tuple(int(size) for size in cell.split("x")) for cell in LAYERS[column]]

# The results of single runs; errors are fractions. views: "ten" or "centre" (4.1), inferred from
# the size of the errors where the notes do not say. file: layer-params-<file>.cfg.
LOGS = pd.read_csv(TABLES / "logs.csv", dtype={"run": str, "file": str})

# The classes of ILSVRC-2012 in the order of their labels, name by WordNet id (ids as in the devkit,
# sorted). Names are the first words of the synsets; four that are alike were made different.
IMAGENET_CLASSES = pd.read_csv(TABLES / "imagenet_classes.csv", index_col="wnid").name.to_dict()

# Colour statistics of the ImageNet training images, pixels in 0..255, RGB: `input_meta` (make-data)
# of github.com/akrizhevsky/cuda-convnet2. COLOUR_STDS are the square roots of the eigenvalues.
COLOUR_STDS = (19.72, 37.09, 121.78)
COLOUR_VECTORS = ((0.418, -0.817, 0.3973), (-0.7126, -0.0235, 0.7012), (-0.5635, -0.5762, -0.592))
CHANNEL_MEANS = (127.3, 119.7, 104.9)
CHANNEL_STDS = (74.0, 72.0, 77.0)  # they follow from COLOUR_STDS and COLOUR_VECTORS

# What many training scripts use: pixels in 0..1, a random subset of ImageNet
# (datasets/imagenet.lua of github.com/facebookarchive/fb.resnet.torch).
COPIED_EIGENVALUES = (0.0045, 0.0188, 0.2175)
COPIED_VECTORS = ((0.4009, -0.814, 0.4203), (0.7192, -0.0045, -0.6948), (-0.5675, -0.5808, -0.5836))

# Run 145 on ILSVRC-2012, the paper's "1 CNN": (epoch, setting, new value). Weights started at 0.01.
# Biases stayed at 0.02 to the end, except that those of conv1 were frozen with its weights.
RUN_145 = (
    (25, "lr", 1e-3),
    (51, "lr", 1e-4),
    (67, "conv1 lr", 1e-5),
    (67, "colour noise", 0.0),
    (72, "conv1 lr", 0.0),
    (79, "lr", 1e-5),
    (91, "stop", 0.0),
)

# What replaced those drops (layer-params-170.cfg, DiscreteExpLRS in src/lr.cu): the run has `steps`
# equal parts, and part i has the rate start * factor ** (-i / (steps - 1)).
FOUR_STEP = {
    "weights": {"start": 0.01, "steps": 4, "factor": 250},
    "biases": {"start": 0.02, "steps": 2, "factor": 10},
}

# A number that the paper states, and the section that states it.
Constant = namedtuple("Constant", "value section meaning")

# A point that can be read in two ways; the head of tables/ambiguities.toml explains it.
QUESTION = "id question paper_says source_did reading_paper reading_source field where"
Ambiguity = namedtuple("Ambiguity", QUESTION, defaults=("", ""))


@dataclass(frozen=True)
class Claim:
    """A checkable statement; the head of tables/claims.toml explains the fields and the sign."""

    id: str
    section: str
    statement: str
    quantity: str
    unit: str
    rule: str
    paper: float | None = None
    log: float | None = None
    log_note: str = ""
    later: tuple = ()  # of (study, value or None, note)
    notebook: str = ""
    needs: str = ""
    primary: bool = False
    gate: bool = False
    over: bool = False
    slip: str = ""
    options: dict = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """A "fact" (counted from the net), an "effect" (a difference or ratio) or a "level"."""
        if self.rule == "fact":
            return "fact"
        return "effect" if self.unit in ("pp", "x") else "level"

    @property
    def studies(self) -> str:
        """The later studies in one line."""
        texts = []
        for study, value, note in self.later:
            parts = ["" if value is None else f"{value:g}", note]
            texts.append(f"{study}: {', '.join(filter(None, parts))}")
        return "; ".join(texts)


def _entries(file: str, make) -> dict:
    """`make(name, **entry)` for each entry of a TOML file, by name."""
    table = tomllib.loads((TABLES / file).read_text("utf-8"))
    return {name: make(name, **entry) for name, entry in table.items()}


def _claims(id: str, top5: dict | None = None, **entry) -> list[Claim]:
    """The claim of an entry and, if it has `top5`, its twin about the top-5 error."""
    quantity = entry["quantity"].replace("top-1", "top-5")
    own = {"paper": None, "later": (), "primary": False, "error": "top5", "quantity": quantity}
    twin = [] if top5 is None else [_claim(f"{id}-top5", **entry | own | top5)]
    return [_claim(id, **entry), *twin]


def _claim(id: str, runs: tuple = (), error: str = "top1", later: tuple = (), **entry) -> Claim:
    if runs:  # the error of one run, or of the first minus the second
        errors = 100 * LOGS.set_index(["run", "views"])[error]
        first, *second = (errors[*run.split()] for run in runs)
        entry = entry | {"log": round(float(first - sum(second)), 3)}
    studies = ((study["study"], study.get("value"), study.get("note", "")) for study in later)
    return Claim(id, later=tuple(studies), **entry)


CONSTANTS = _entries("constants.toml", lambda name, **entry: Constant(**entry))
CLAIMS = {claim.id: claim for pair in _entries("claims.toml", _claims).values() for claim in pair}
AMBIGUITIES = list(_entries("ambiguities.toml", Ambiguity).values())
