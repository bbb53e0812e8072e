"""The claim register: what the paper says that can be checked. The ledger: where it can be read in two ways.

Sign convention: an effect (unit "pp", percentage points, or "x", a ratio) is phrased so that the paper is
right when it is positive (pp) or above 1 (x): an error "without minus with" is positive when the thing helps.
A claim whose `paper` is None has a direction only. Units "%", "points", "count" and "days" are levels.

`log` is the authors' own number, one run each, from the files named in `alexlib.paper`; None where the
released source holds no such run. `later` lists other studies as (study, value, note) in the same unit and
sign; the value is None when they measured another quantity, which the note gives.
"""

from dataclasses import dataclass

from alexlib.paper import BY_RUN, LAYERS, NEURONS, PARAMETERS


@dataclass(frozen=True)
class Claim:
    """A checkable statement. `section` is the paper's; "log" marks what only the 2012 logs answer."""

    id: str
    section: str
    statement: str
    quantity: str
    unit: str
    paper: float | None
    log: float | None
    log_note: str
    later: tuple = ()
    notebook: str = ""


def _percent(run: str | tuple, error: str) -> float:
    """Logged error in per cent of a run (ten views) or of (run, views)."""
    return 100 * getattr(BY_RUN[(run, "ten") if isinstance(run, str) else run], error)


# Tables are aligned by hand.
# fmt: off
def _both(id, section, statement, quantity, paper, runs, note, later=((), ()), notebook="03_ablations"):
    """A claim about the top-1 error and its twin about top-5. Two runs: an effect, first minus second."""
    logs = [[_percent(run, error) for run in runs] for error in ("top1", "top5")]
    return tuple(
        Claim(id + suffix, section, statement, f"{name} error, {quantity}",
              "pp" if "minus" in quantity else "%", paper[i],
              round(logs[i][0] - sum(logs[i][1:]), 3) if runs else None, note, later[i], notebook)
        for i, (suffix, name) in enumerate((("", "top-1"), ("-top5", "top-5")))
    )


MISHKIN = "Mishkin 2017"  # arXiv 1606.02228: CaffeNet on pictures of 128 pixels, one run each
HINTON = "Hinton 2012"  # arXiv 1207.0580: an earlier one-GPU net of the same authors
VGG = "VGG 2014"  # arXiv 1409.1556: net A, and A-LRN with one LRN layer
ZEILER = "Zeiler 2014"  # arXiv 1311.2901
CCN2 = "cuda-convnet2"  # the documentation of Krizhevsky's later one-GPU net, 2012 validation
NO_RUN = "no such pair of runs in the source"
NO_TIME, NO_WEIGHTS = "times not logged", "no weights in the source"
GAP = "test minus training error, "  # of which the claims about overfitting speak
NEITHER = (None, None)

CLAIMS = (
    Claim("relu-speed", "3.1", "ReLUs take a four-layer net to 25 % training error on CIFAR-10 several times "
          "sooner than tanh units (figure 1).", "epochs to 25 % training error, tanh / ReLU", "x", 6.0, None,
          "no tanh net in the source", ((MISHKIN, None, "final top-1: ReLU 7.0 pp better"),),
          "02_relu_vs_tanh"),
    *_both("two-gpus", "3.2", "Two towers on two GPUs beat a one-GPU net with half the kernels.",
           "one GPU minus two", (1.7, 1.2), ("145-half", "145-2010"),
           "145-half keeps the conv5 of both towers"),
    Claim("two-gpus-time", "3.2", "The two-GPU net trains slightly faster than the one-GPU net.",
          "training time, one-GPU net / two-GPU net", "x", None, None, NO_TIME, (), "04_train"),
    *_both("lrn", "3.3", "Local response normalisation lowers the error.", "without minus with", (1.4, 1.2),
           ("148", "145"), "148 also drops an unpublished spatial norm",
           (((MISHKIN, -0.1, ""), (VGG, -0.1, "")), ((VGG, -0.1, ""),))),
    Claim("lrn-cifar", "3.3", "LRN takes a four-layer net on CIFAR-10 from 13 % to 11 %.",
          "test error, without minus with", "pp", 2.0, None,
          "the authors' two configurations also differ in width, decay and length", (), "03_ablations"),
    *_both("overlap", "3.4", "3x3 pools with stride 2 beat 2x2 pools with stride 2.", "2x2 minus 3x3",
           (0.4, 0.3), ("147", "145"), "147 also changes the padding of conv2, conv5",
           (((MISHKIN, -1.3, "map sizes differ too"),), ())),
    Claim("overlap-overfit", "3.4", "Nets with overlapping pools overfit slightly less.",
          GAP + "2x2 minus 3x3", "pp", None, None, "training errors not logged", (), "03_ablations"),
    Claim("parameters", "abstract", "The net has 60 million parameters.", "parameters", "count", 60_000_000,
          PARAMETERS, "layers-145.cfg", (), "04_train"),
    Claim("neurons", "abstract", "The net has 650,000 neurons.", "neurons", "count", 650_000, NEURONS,
          "layers-145.cfg", (), "04_train"),
    Claim("conv1-neurons", "figure 2", "conv1 has 253,440 neurons.", "neurons of conv1", "count", 253_440,
          LAYERS[0].neurons, "layers-145.cfg: 55 x 55 x 96", (), "04_train"),
    Claim("one-percent", "1", "No convolutional layer holds more than 1 % of the parameters.",
          "largest share of a conv layer", "%", 1.0, round(100 * LAYERS[2].parameters / PARAMETERS, 2),
          "conv3; conv4 exceeds 1 % too", (), "04_train"),
    Claim("remove-conv", "1", "Without any one of its convolutional layers the net is worse.",
          "top-1 error, without minus with, least over the layers", "pp", None, None, NO_RUN, (),
          "03_ablations"),
    Claim("remove-middle", "7", "Each middle layer is worth about 2 points.",
          "top-1 error, without minus with", "pp", 2.0, None, NO_RUN,
          ((ZEILER, None, "4.9 pp for conv3 and conv4 together"),), "03_ablations"),
    Claim("crops-factor", "4.1", "Crops and flips enlarge the training set 2048 times.", "views of a picture",
          "count", 2048, 2178, "convdata_jpeg.py: 33 x 33 x 2", (), "01_augmentation"),
    Claim("crops-overfit", "4.1", "Without crops and flips the net overfits substantially.",
          GAP + "without minus with", "pp", None, None, NO_RUN, (), "01_augmentation"),
    Claim("augmentation-free", "4.1", "Augmentation, done while the GPU trains, costs no time.",
          "pictures per second with, of those without", "%", 100.0, None, NO_TIME, (), "01_augmentation"),
    Claim("colour-pca", "4.1", "Colour noise along the principal components gains over 1 point.",
          "top-1 error, without minus with", "pp", 1.0, None, NO_RUN, (), "03_ablations"),
    Claim("dropout-overfit", "4.2", "Without dropout the net overfits substantially.",
          GAP + "without minus with", "pp", None, None, NO_RUN,
          ((HINTON, None, "top-1 48.6 without, 42.4 with"),), "03_ablations"),
    Claim("dropout-iterations", "4.2", "Dropout about doubles the iterations to convergence.",
          "epochs to convergence, with / without", "x", 2.0, None, NO_RUN, (), "03_ablations"),
    Claim("weight-decay", "5", "Weight decay lowers even the training error.",
          "training error, without minus with", "pp", None, None, NO_RUN,
          ((MISHKIN, None, "validation top-1: 5e-4 is 2.1 pp better than 1e-4"),), "03_ablations"),
    Claim("bias-one", "5", "Biases that start at 1 speed up early learning.",
          "epochs to an early training loss, all 0 / some 1", "x", None, None, NO_RUN,
          ((MISHKIN, None, "no biases at all: top-1 2.6 pp worse"),), "03_ablations"),
    Claim("training-days", "5", "Training takes five to six days on two GTX 580.", "days for 90 epochs",
          "days", 5.5, None, NO_TIME, (), "04_train"),
    *_both("ten-views", "6", "Ten views beat the centre view.", "centre minus ten", (1.5, 1.3),
           (("145-2010", "centre"), "145-2010"), "", (((CCN2, 2.13, ""),), ((CCN2, 1.66, ""),)), "04_train"),
    *_both("error-2010", "6", "One net on the ILSVRC-2010 test set.", "ten views", (37.5, 17.0),
           ("145-2010",), "", notebook="04_train"),
    *_both("error-2012", "6", "One net on the ILSVRC-2012 validation set.", "ten views", (40.7, 18.2),
           ("145",), "",
           (((ZEILER, 40.5, "replication"), (CCN2, 40.42, "")),
            ((ZEILER, 18.1, "replication"), (CCN2, 18.15, ""))), "04_train"),
    *_both("five-nets", "6", "Five nets averaged beat one net.", "one minus five", (2.6, 1.8), (),
           "no averages in the source", notebook="04_train"),
    *_both("pre-training", "6", "Pre-training on Fall 2011, with a sixth conv layer, helps.",
           "without minus with", (1.7, 1.6), ("145", "146-2012-2011"), "", notebook=""),
    Claim("seven-nets-top5", "6", "Seven nets, two of them pre-trained, win ILSVRC-2012 (second: 26.2).",
          "top-5 test error", "%", 15.3, None, "no averages in the source"),
    *_both("error-2009", "6", "One net on Fall 2009, 10,184 classes (before: 78.1 / 60.9).", "test half",
           (67.4, 40.9), (), "that run is not in the source", notebook=""),
    Claim("val-test-gap", "6", "Validation and test errors differ by 0.1 points at most.",
          "top-1 difference, absolute", "points", 0.1,
          round(abs(_percent("137-2010-val", "top1") - _percent("137-2010", "top1")), 3), "137 on 2010", (),
          "04_train"),
    Claim("colour-towers", "6.1", "In every run one tower learns kernels without colour, the other with.",
          "share of runs", "%", 100.0, None, NO_WEIGHTS, (), "05_features"),
    Claim("conv1-kernels", "6.1",
          "conv1 learns frequency- and orientation-selective kernels and colour blobs.",
          "share of such kernels, trained minus initial", "pp", None, None, NO_WEIGHTS, (), "05_features"),
    Claim("neighbours", "6.1", "Nearest neighbours by fc7 features show the same class (figure 4).",
          "same-class share of the six nearest, features minus pixels", "pp", None, None, NO_WEIGHTS, (),
          "05_features"),
    Claim("neighbours-pixels", "6.1", "Those neighbours are generally not close pixel by pixel.",
          "their median rank by pixel distance, in the set", "%", None, None, NO_WEIGHTS, (), "05_features"),
    Claim("binary-codes", "6.1",
          "Short binary codes of features should retrieve better than codes of pixels.",
          "same-class share of the six nearest, codes of features minus of pixels", "pp", None, None,
          "a suggestion; no such code in the source", (), "05_features"),
    *_both("longer-training", "7", "Longer training helps.", "shorter minus longer", NEITHER,
           ("145", "145-restarted"), "145 ended, then restarted at 0.001 for 44 epochs", notebook="04_train"),
    *_both("no-cross-talk", "log", "Towers that exchange maps beat towers that meet only at fc8.",
           "apart minus exchanging", NEITHER, ("150", "145"), "150 is wider: as many parameters"),
    *_both("conv2-norms", "log", "The norms after conv2 lower the error as well.", "without minus with",
           NEITHER, ("167", "169"), "last rates differ; exact partner (159) not in the source"),
    *_both("norm-after-relu", "log", "Norms of conv2 work better after its ReLU than before.",
           "before minus after", NEITHER, ("166", "169"),
           "last rates differ; exact partner (159) not in the source"),
    Claim("run-scatter", "log", "Near-equal runs scatter.", "top-1 error, largest to least of five", "points",
          None, round(_percent("169", "top1") - _percent("170-fade", "top1"), 3),
          "169, 170, 170-fade, 171, 174"),
)


@dataclass(frozen=True)
class Ambiguity:
    """A question that the text leaves open or answers differently from the source, and both readings of it.

    Where `field` names a field of `alexlib.config`, the readings are its values in `PAPER` and `SOURCE2012`.
    """

    id: str
    question: str
    paper_says: str
    source_did: str
    reading_paper: object
    reading_source: object
    field: str = ""


INIT_BIAS = tuple(float(layer.bias_init) for layer in LAYERS)

AMBIGUITIES = (
    Ambiguity("input-size", "How do 224 pixels give 55 positions?",
              "224, windows of 11, stride 4; no padding named",
              "rounds the size up: the last windows read 3 zero pixels (layer.py)", 224, 224, "input"),
    Ambiguity("conv1-neurons", "How many neurons has conv1?", "253,440 (figure 2)", "55 x 55 x 96 = 290,400",
              "290,400", "290,400"),
    Ambiguity("conv-share", "Is every conv layer within 1 % of the parameters?", "yes (section 1)",
              "conv3 has 1.45 %, conv4 1.09 %", "not imposed", "not imposed"),
    Ambiguity("lrn-alpha", "Does alpha act on the sum or on the mean of squares?", "1e-4 times the sum (3.3)",
              "divides 1e-4 by the window of 5 (layer.py)", 1e-4, 1e-4 / 5, "lrn_alpha"),
    Ambiguity("lrn-window", "Where does the LRN window end?", "at the first and last map of the layer (3.3)",
              "at the edges of each tower", "inside the tower", "inside the tower"),
    Ambiguity("lrn-place", "Is LRN before or after the ReLU?", "after (3.3)",
              "conv1: LRN, pool, ReLU; conv2: ReLU, LRN, pool", (), (1,), "lrn_before_relu"),
    Ambiguity("spatial-norm", "Is LRN the only norm?", "yes",
              "a second after that of conv2, over 5x5 positions of one map", (), (2,), "spatial_norm"),
    Ambiguity("colour-scale", "Is colour noise scaled by the eigenvalue or its root?",
              "the eigenvalue (4.1); on 0..255 that shifts pixels by over a thousand, so read on 0..1",
              "its root, on 0..255", "eigenvalue", "root", "colour"),
    Ambiguity("colour-end", "Does colour noise last to the end?", "no end named", "off at epoch 67 of 91",
              1.0, 67 / 91, "colour_end"),
    Ambiguity("input-divisor", "Is the noisy input scaled down?", "no", "divided by 1.1 while noise is on",
              1.0, 1.1, "divide"),
    Ambiguity("initial-weights", "How large are the initial weights?", "0.01 in every layer (5)",
              "0.03 in conv3, conv4, conv5", (0.01,) * 8, tuple(layer.init_std_source for layer in LAYERS),
              "init_std"),
    Ambiguity("initial-biases", "Does fc8 start at bias 1?", "1 in hidden layers only (5)", "no", INIT_BIAS,
              INIT_BIAS, "init_bias"),
    Ambiguity("bias-rate", "Do biases learn at the rate of the weights?", "one rate (5)",
              "twice, and hardly ever lowered", 1.0, 2.0, "bias_lr_factor"),
    Ambiguity("bias-decay", "Do biases decay?", "the rule is given for weights", "no (layer.cu)", True, False,
              "bias_decay"),
    Ambiguity("equal-rates", "Is the rate equal in all layers?", "yes (5)", "conv1: a tenth from epoch 67",
              "equal", "equal until the freeze"),
    Ambiguity("conv1-freeze", "Does conv1 train to the end?", "nothing said", "frozen at epoch 72 of 91", 1.0,
              72 / 91, "conv1_freeze"),
    Ambiguity("schedule", "When has the error stopped improving?", "divide by 10 then, three times (5)",
              "by hand at 25, 51, 79; later four equal steps", "plateau", "four-step", "schedule"),
    Ambiguity("momentum-rate", "Is the rate inside the velocity?", "yes (5)", "yes (weights.cu)", "inside",
              "inside"),
    Ambiguity("dropout-scale", "Which phase does dropout scale?", "test, by 0.5 (4.2)",
              "test, by 0.5 (layer.cu)", 0.5, 0.5, "dropout"),
    Ambiguity("crop-count", "How many crops are there?", "1024, times 2 flips (4.1)",
              "33 x 33 = 1089, times 2", "33 x 33", "33 x 33"),
    Ambiguity("crop-chunk", "Is a crop drawn for every picture?", "random patches", "one for 32 pictures", 1,
              32, "chunk"),
    Ambiguity("mean-image", "Which mean is subtracted?", "that of each pixel (2)",
              "the centre of the mean image, wherever the crop is", "centre", "centre"),
    Ambiguity("pool-comparison", "What replaces overlapping pools?", "2x2, stride 2, same output size (3.4)",
              "that, with less padding in conv2 and conv5", True, True, "overlapping"),
    Ambiguity("ablation-data", "On which data are the gains measured?", "not said",
              "GPUs: 2010 test; LRN, pools: 2012 validation", "same data for both", "same data for both"),
    Ambiguity("cifar-net", "Which net is the four-layer CIFAR net?", "points to the project page",
              "none is exact; the 13 % and 11 % nets have two conv, two local layers", "three conv, one fc",
              "13 % net, LRN on and off"),
    Ambiguity("single-runs", "How many runs are behind a number?", "not said", "one", "several seeds",
              "several seeds"),
)
# fmt: on


def _show(value: object) -> str:
    """A value as table text: `1, 2`, `none`, `0.736`, `60,000,000`."""
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value or "-")


def _study(study: str, value: float | None, note: str) -> str:
    return f"{study}: " + ", ".join(_show(x) for x in (value, note) if x not in (None, ""))


def _table(head: str, rows: list[tuple]) -> str:
    columns = head.split(", ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_show, line)) + " |" for line in lines)


def ambiguity_table() -> str:
    """The ledger in markdown: a question, both answers, both readings, and the field that chooses."""
    rows = []
    for a in AMBIGUITIES:
        field = a.field and f"`{a.field}`"
        rows.append((a.question, a.paper_says, a.source_did, a.reading_paper, a.reading_source, field))
    return _table("question, the paper, the 2012 source, paper reading, source reading, field", rows)


def claim_table() -> str:
    """The register in markdown: the paper's number, the authors' log and later studies."""
    rows = []
    for c in CLAIMS:
        what, later = f"{c.quantity} ({c.unit})", "; ".join(_study(*study) for study in c.later)
        rows.append((f"`{c.id}`", c.section, c.statement, what, c.paper, c.log, c.log_note, later))
    return _table("id, section, claim, quantity, paper, 2012 log, about the log, later studies", rows)
