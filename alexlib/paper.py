"""The paper as data: layer table, constants, results, and the 2012 run logs behind them.

The paper: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012. "Section" and "figure" below mean its sections and figures.

The source: the authors' 2012 code and run files, released by the Computer History Museum in 2025
(github.com/computerhistory/AlexNet-Source-Code). File names below are relative to that repository. Each
`layers/layer-params-*.cfg` ends in hand-written notes: when a rate was lowered, and the errors at the end.

Nothing here is computed or measured; `alexlib.claims` holds what the paper claims and where it is ambiguous.
"""

from dataclasses import dataclass

# Tables are aligned by hand: one row is one fact.
# fmt: off


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


LAYERS = (
    Layer("conv1", "conv", (96, 3, 11, 11), (96, 55, 55),
          290_400, 34_944, 105_415_200, 11, 4, 0, "both", 0.01, 0, 253_440),
    Layer("conv2", "conv", (256, 48, 5, 5), (256, 27, 27),
          186_624, 307_456, 223_948_800, 5, 1, 2, "own", 0.01, 1, 186_624),
    Layer("conv3", "conv", (384, 256, 3, 3), (384, 13, 13),
          64_896, 885_120, 149_520_384, 3, 1, 1, "both", 0.03, 0, 64_896),
    Layer("conv4", "conv", (384, 192, 3, 3), (384, 13, 13),
          64_896, 663_936, 112_140_288, 3, 1, 1, "own", 0.03, 1, 64_896),
    Layer("conv5", "conv", (256, 192, 3, 3), (256, 13, 13),
          43_264, 442_624, 74_760_192, 3, 1, 1, "own", 0.03, 1, 43_264),
    Layer("fc6", "fc", (4096, 9216), (4096, 1, 1),
          4096, 37_752_832, 37_748_736, 1, 1, 0, "both", 0.01, 1, 4096),
    Layer("fc7", "fc", (4096, 4096), (4096, 1, 1),
          4096, 16_781_312, 16_777_216, 1, 1, 0, "both", 0.01, 1, 4096),
    Layer("fc8", "fc", (1000, 4096), (1000, 1, 1),
          1000, 4_097_000, 4_096_000, 1, 1, 0, "both", 0.01, 0, 1000),
)

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


@dataclass(frozen=True)
class Fact:
    """A number that the paper states, and the section that states it."""

    value: float
    section: str
    meaning: str


CONSTANTS = {
    "pictures_train": Fact(1_200_000, "2", "training pictures, roughly"),
    "pictures_val": Fact(50_000, "2", "validation pictures"),
    "pictures_test": Fact(150_000, "2", "test pictures"),
    "classes": Fact(1000, "2", "classes"),
    "side": Fact(256, "2", "pixels: shorter side after scaling, and side of the central square that is kept"),
    "crop": Fact(224, "4.1", "pixels: side of the square that the net sees"),
    "views": Fact(10, "4.1", "test views: four corners and the centre, with their mirror images"),
    "crops_and_flips": Fact(2048, "4.1", "factor by which crops and flips enlarge the training set"),
    "colour_std": Fact(0.1, "4.1", "standard deviation of the colour coefficients"),
    "lrn_k": Fact(2, "3.3", "LRN: constant k"),
    "lrn_n": Fact(5, "3.3", "LRN: adjacent maps n in the sum"),
    "lrn_alpha": Fact(1e-4, "3.3", "LRN: factor alpha of the sum of squares"),
    "lrn_beta": Fact(0.75, "3.3", "LRN: exponent beta"),
    "pool_size": Fact(3, "3.4", "max-pooling: side z of the window"),
    "pool_stride": Fact(2, "3.4", "max-pooling: stride s"),
    "dropout": Fact(0.5, "4.2", "probability that a unit of fc6 or fc7 is dropped"),
    "batch": Fact(128, "5", "pictures in a minibatch"),
    "momentum": Fact(0.9, "5", "momentum"),
    "decay": Fact(0.0005, "5", "weight decay"),
    "init_std": Fact(0.01, "5", "standard deviation of the initial weights, every layer"),
    "init_bias": Fact(1, "5", "initial bias of conv2, conv4, conv5, fc6 and fc7; 0 elsewhere"),
    "lr": Fact(0.01, "5", "learning rate at the start, every layer"),
    "lr_factor": Fact(10, "5", "divisor of the learning rate when the validation error stops improving"),
    "lr_drops": Fact(3, "5", "times that the learning rate was divided"),
    "epochs": Fact(90, "5", "passes through the training pictures, roughly"),
    "days_least": Fact(5, "5", "days of training, at least"),
    "days_most": Fact(6, "5", "days of training, at most"),
    "gpus": Fact(2, "5", "GTX 580 cards"),
    "gpu_memory": Fact(3, "5", "GB of memory on each card"),
    "parameters": Fact(60_000_000, "abstract", "parameters, rounded"),
    "neurons": Fact(650_000, "abstract", "neurons, rounded"),
    "conv_share": Fact(1, "1", "per cent of the parameters in a convolutional layer, at most"),
    "relu_target": Fact(25, "3.1", "per cent training error on CIFAR-10 that figure 1 waits for"),
    "features": Fact(4096, "6.1", "length of the fc7 feature vector that figure 4 compares"),
}

# Colour statistics of the ImageNet training pictures, pixels 0..255, RGB, from `input_meta` (make-data) of
# github.com/akrizhevsky/cuda-convnet2. The 2012 code (convdata_jpeg.py) multiplies these standard deviations,
# the roots of the eigenvalues, by normal draws and by 0.1. COLOUR_VECTORS[i] belongs to COLOUR_STDS[i].
COLOUR_STDS = (19.72, 37.09, 121.78)
COLOUR_VECTORS = ((0.4180, -0.8170, 0.3973), (-0.7126, -0.0235, 0.7012), (-0.5635, -0.5762, -0.5920))
CHANNEL_MEANS = (127.3, 119.7, 104.9)

# Run 145 on ILSVRC-2012, the paper's "1 CNN", as its notes log it: (epoch, setting, new value).
# Weights started at 0.01. Biases started at 0.02 and stayed there; only those of conv1 were frozen with it.
RUN_145 = (
    (25, "lr", 1e-3),
    (51, "lr", 1e-4),
    (67, "conv1 lr", 1e-5),
    (67, "colour noise", 0.0),
    (72, "conv1 lr", 0.0),
    (79, "lr", 1e-5),
    (91, "stop", 0.0),
)

# What the authors automated those drops to (layer-params-170.cfg, DiscreteExpLRS in src/lr.cu): the run has n
# equal parts, part i has rate start * factor ** (-i / (n - 1)). Colour noise and conv1 ended by hand.
FOUR_STEP = {
    "weights": {"start": 0.01, "steps": 4, "factor": 250},
    "biases": {"start": 0.02, "steps": 2, "factor": 10},
}


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


LOGS = (
    Log("145", "the paper's net, 1 CNN", "2012 val", "ten", 1.741473, 0.406640, 0.182100, "145"),
    Log("145-restarted", "145, rate back to 0.001, 44 epochs more", "2012 val", "ten",
        1.725738, 0.402500, 0.179940, "145"),
    Log("145-2010", "the paper's net", "2010 test", "ten", 1.614660, 0.374727, 0.169987, "145-2010"),
    Log("145-2010", "the paper's net", "2010 test", "centre", 1.706031, 0.390247, 0.182953, "145-2010"),
    Log("145-half", "one GPU, half the kernels but for conv5", "2010 test", "ten",
        1.702802, 0.391680, 0.182287, "145-half"),
    Log("146-2012-2011", "sixth conv layer, pre-trained on Fall 2011", "2012 val", "ten",
        1.633191, 0.389900, 0.166220, "146-2012-2011"),
    Log("147", "2x2 pools, stride 2; conv2 pad 1, conv5 pad 0", "2012 val", "ten",
        1.757644, 0.410580, 0.185100, "147"),
    Log("148", "no normalisation of any kind", "2012 val", "ten", 1.822358, 0.420340, 0.193620, "148"),
    Log("150", "towers apart up to fc8, as many parameters", "2012 val", "ten",
        1.811173, 0.418280, 0.193300, "150"),
    Log("120-2012", "before 145: low-resolution second input", "2012 val", "ten",
        1.765247, 0.410440, 0.187140, "120-2012"),
    Log("131", "120, first LRN moved before the pool", "2012 val", "ten",
        1.755725, 0.409340, 0.185740, "131"),
    Log("135", "131 with LRN k = 2", "2012 val", "ten", 1.757653, 0.410700, 0.184160, "135"),
    Log("137", "135, spatial norm without mean subtraction", "2012 val", "ten",
        1.751138, 0.407820, 0.183440, "137"),
    Log("137-2010-val", "137 on 2010", "2010 val", "ten", 1.632875, 0.377960, 0.171020, "137"),
    Log("137-2010-val", "137 on 2010", "2010 val", "centre", 1.727592, 0.394153, 0.182784, "137"),
    Log("137-2010", "137 on 2010", "2010 test", "ten", 1.623185, 0.376167, 0.171247, "137"),
    Log("166", "145, four steps to 1e-5, conv2 norms before ReLU", "2012 val", "ten",
        1.768124, 0.410960, 0.186740, "166"),
    Log("166", "145, four steps to 1e-5, conv2 norms before ReLU", "2012 val", "centre",
        1.863109, 0.428586, 0.201039, "166"),
    Log("167", "145, four steps to 1e-5, neither conv2 norm", "2012 val", "ten",
        1.738715, 0.404880, 0.181180, "167"),
    Log("167", "145, four steps to 1e-5, neither conv2 norm", "2012 val", "centre",
        1.851845, 0.426772, 0.197590, "167"),
    Log("169", "145, four steps to 2e-5", "2012 val", "ten", 1.735123, 0.405960, 0.181120, "169"),
    Log("169", "145, four steps to 2e-5", "2012 val", "centre", 1.841218, 0.425298, 0.195489, "169"),
    Log("170", "145, four steps to 4e-5", "2012 val", "ten", 1.730076, 0.405280, 0.180480, "170"),
    Log("170", "145, four steps to 4e-5", "2012 val", "centre", 1.838933, 0.423407, 0.195827, "170"),
    Log("170-fade", "170, 5 % of the chunks mixed 3:1 with others", "2012 val", "ten",
        1.726111, 0.402500, 0.181160, "170"),
    Log("170-fade", "170, 5 % of the chunks mixed 3:1 with others", "2012 val", "centre",
        1.831731, 0.422944, 0.195334, "170"),
    Log("170-256-double", "170, batch 256 at twice the rate, 84 epochs", "2012 val", "centre",
        1.840643, 0.422726, 0.196598, "170-256-double"),
    Log("171", "169 in five steps", "2012 val", "ten", 1.735358, 0.404200, 0.181400, "171"),
    Log("171", "169 in five steps", "2012 val", "centre", 1.843676, 0.423356, 0.197664, "171"),
    Log("174", "169, rate jumping between the steps", "2012 val", "ten", 1.729982, 0.404380, 0.180420, "174"),
    Log("174", "169, rate jumping between the steps", "2012 val", "centre",
        1.825121, 0.425222, 0.193946, "174"),
    Log("177", "170, dropout (keep 0.8) in conv4 too", "2012 val", "ten",
        1.744414, 0.406900, 0.183040, "177"),
    Log("177", "170, dropout (keep 0.8) in conv4 too", "2012 val", "centre",
        1.836304, 0.424376, 0.197056, "177"),
)

BY_RUN = {(log.id, log.views): log for log in LOGS}


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


RESULTS = (
    Result("Table 1", "ILSVRC-2010", "Sparse coding", None, None, 47.1, 28.2),
    Result("Table 1", "ILSVRC-2010", "SIFT + FVs", None, None, 45.7, 25.7),
    Result("Table 1", "ILSVRC-2010", "CNN", None, None, 37.5, 17.0),
    Result("footnote", "ILSVRC-2010", "CNN, centre view", None, None, 39.0, 18.3),
    Result("Table 2", "ILSVRC-2012", "SIFT + FVs", None, None, None, 26.2),
    Result("Table 2", "ILSVRC-2012", "1 CNN", 40.7, 18.2, None, None),
    Result("Table 2", "ILSVRC-2012", "5 CNNs", 38.1, 16.4, None, 16.4),
    Result("Table 2", "ILSVRC-2012", "1 CNN*", 39.0, 16.6, None, None),
    Result("Table 2", "ILSVRC-2012", "7 CNNs*", 36.7, 15.4, None, 15.3),
    Result("text", "Fall 2009", "best published", None, None, 78.1, 60.9),
    Result("text", "Fall 2009", "CNN, sixth conv layer", None, None, 67.4, 40.9),
)
# fmt: on
