"""The paper as data: layer table, constants, results, and the 2012 run logs behind them.

The paper: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012. "Section" and "figure" below mean its sections and figures.

The source: the authors' 2012 code and run files, released by the Computer History Museum in 2025
(github.com/computerhistory/AlexNet-Source-Code). File names below are relative to that repository. Each
`layers/layer-params-*.cfg` ends in hand-written notes: when a rate was lowered, and the errors at the end.

Nothing here is computed or measured. Long tables are files in `alexold/tables`; a class below explains the fields of
its table. `alexold.claims` holds what the paper claims and where it is ambiguous.
"""

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """A layer with weights: sections 3.2 and 3.5, figure 2; `layers/layers-145.cfg`.

    `weight_shape` is grouped: its inputs are the maps that one kernel reads. `reads` is "own" where a kernel
    sees only the maps of its own tower (GPU), "both" where it sees everything below. `caption` is the number
    of neurons in the caption of figure 2. A mac is a multiplication with its addition, padding included.
    """

    name: str
    kind: str  # "conv" or "fc"
    weight_shape: tuple
    output: tuple  # channels, height, width; both towers together
    neurons: int
    parameters: int  # weights and biases
    macs: int  # forward, one picture
    kernel: int
    stride: int
    pad: int
    reads: str
    init_std_source: float  # of the initial weights in the source; the paper gives 0.01 for all (section 5)
    bias_init: int  # section 5, and the source
    caption: int


@dataclass(frozen=True)
class Fact:
    """A number that the paper states, and the section that states it."""

    value: float
    section: str
    meaning: str


@dataclass(frozen=True)
class Log:
    """One logged result, a single run each. Errors are fractions; `views` is "ten" or "centre" (section 4.1).

    Where the notes leave the views open (145 and 137 on 2012, 170-256-double) the size of the errors tells.
    """

    id: str
    differs: str
    data: str
    views: str
    log_loss: float
    top1: float
    top5: float
    file: str  # layers/layer-params-<file>.cfg


@dataclass(frozen=True)
class Result:
    """A row of the paper's results in section 6: errors in per cent, None where the paper has none.

    An asterisk marks nets pre-trained on all of ImageNet Fall 2011.
    """

    where: str
    data: str
    model: str
    val_top1: float | None
    val_top5: float | None
    test_top1: float | None
    test_top5: float | None


TABLES = Path(__file__).parent / "tables"
# From the text of a CSV cell to the type of its field; a tuple is written 96x3x11x11, None as nothing.
CELLS = {str: str.strip, int: int, float: float, float | None: lambda text: float(text) if text.strip() else None}
CELLS[tuple] = lambda text: tuple(map(int, text.split("x")))


def read(file, make) -> tuple:
    """`make(name, **entry)` for each entry of a table. A key too many or too few fails with the file and the entry."""
    text = (TABLES / file).read_text("utf-8")
    if file.endswith(".toml"):
        entries = tomllib.loads(text).items()
    else:
        entries = [(next(iter(row.values())), row) for row in csv.DictReader(text.splitlines())]
    made = []
    for number, (name, entry) in enumerate(entries, 1):
        try:
            made.append(make(name, **entry))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}, entry {number}, {name}: {error}") from error
    return tuple(made)


def _row(cls):
    """The `make` of a CSV table that has the fields of a class as its columns."""
    types = cls.__annotations__
    return lambda _, /, **cells: cls(**{key: CELLS[types.get(key, str)](text) for key, text in cells.items()})


LAYERS = read("layers.csv", _row(Layer))
CONSTANTS = dict(read("constants.toml", lambda name, **entry: (name, Fact(**entry))))
LOGS = read("logs.csv", _row(Log))
BY_RUN = {(log.id, log.views): log for log in LOGS}
RESULTS = read("results.csv", _row(Result))

PARAMETERS = 60_965_224
MACS = 724_406_816
NEURONS = 659_272
INPUT_VALUES = 150_528  # 224 x 224 x 3, caption of figure 2
ONE_TOWER_PARAMETERS = 62_378_344  # the same widths with every kernel reading both towers
ONE_TOWER_MACS = 1_135_256_096
# The one-GPU net of the comparison: footnote of section 3.2, `layers/layers-145-half.cfg`.
HALF_WIDTHS = (48, 128, 192, 192, 256, 4096, 4096, 1000)
HALF_PARAMETERS = 59_798_312
HALF_MACS = 391_514_384  # 54 % of MACS

# Colour statistics of the ImageNet training pictures, pixels 0..255, RGB, from `input_meta` (make-data) of
# github.com/akrizhevsky/cuda-convnet2. The 2012 code (convdata_jpeg.py) multiplies these standard deviations,
# the roots of the eigenvalues, by normal draws and by 0.1. COLOUR_VECTORS[i] belongs to COLOUR_STDS[i].
COLOUR_STDS = (19.72, 37.09, 121.78)
COLOUR_VECTORS = ((0.4180, -0.8170, 0.3973), (-0.7126, -0.0235, 0.7012), (-0.5635, -0.5762, -0.5920))
CHANNEL_MEANS = (127.3, 119.7, 104.9)
CHANNEL_STDS = (74.0, 72.0, 77.0)  # implied by the three above

# What training scripts copy from each other since facebookarchive/fb.resnet.torch (datasets/imagenet.lua), where they
# multiply the noise: the axes of a random subset of ImageNet, with pixels in 0..1. COPIED_VECTORS[i] belongs to
# COPIED_EIGENVALUES[i].
COPIED_EIGENVALUES = (0.0045, 0.0188, 0.2175)
COPIED_VECTORS = ((0.4009, -0.8140, 0.4203), (0.7192, -0.0045, -0.6948), (-0.5675, -0.5808, -0.5836))

# Run 145 on ILSVRC-2012, the paper's "1 CNN", as its notes log it: (epoch, setting, new value).
# Weights started at 0.01. Biases started at 0.02 and stayed there; only those of conv1 were frozen with it.
RUN_145 = (
    (25, "lr", 1e-3), (51, "lr", 1e-4), (67, "conv1 lr", 1e-5), (67, "colour noise", 0.0),
    (72, "conv1 lr", 0.0), (79, "lr", 1e-5), (91, "stop", 0.0),
)  # fmt: skip

# What the authors automated those drops to (layer-params-170.cfg, DiscreteExpLRS in src/lr.cu): the run has n
# equal parts, part i has rate start * factor ** (-i / (n - 1)). Colour noise and conv1 ended by hand.
FOUR_STEP = {"weights": dict(start=0.01, steps=4, factor=250), "biases": dict(start=0.02, steps=2, factor=10)}
