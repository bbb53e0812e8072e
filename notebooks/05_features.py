# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 What the net has learned
#
# **Question.** What do the first kernels, the last hidden layer and single units of a trained net
# stand for?
#
# **The paper says** (section 6.1, Figures 3 and 4): the first layer learns kernels for one
# frequency and orientation and blobs of colour; in every run one tower comes out nearly without
# colour, the other with. Pictures whose 4096 activations of the last hidden layer are close show
# the same things, even when their pixels are far apart. Short binary codes of those activations
# would make the search fast, and better than codes of pixels.
#
# **What we will see.** Each of these as a number with an interval; and what excites a unit, layer
# by layer. The net is that of notebook 04, or one that others trained.
#
# **Run time.** `sample`: half a minute, after notebook 04 (else its net is trained first).
# `imagenette`: two minutes on a CPU. `imagenet`: a GPU; features of a training picture take 16 kB of
# memory, `among` bounds them.

# %% [markdown]
# ## Parameters
#
# Those of notebook 04 choose its run; a finished one is opened, not trained again.

# %% tags=["parameters"]
scale: str = "sample"  # sample, imagenette128, miniimagenet, imagenette or imagenet
spec: str = "source2012"  # source2012 or paper: which reading of AlexNet
epochs: int = 0  # passes through the training pictures; 0: the scale's own
batch: int = 0  # pictures in a minibatch; 0: the scale's own
seed: int = 0  # of the run, and of what is drawn at random here
precision: str = "bf16"  # bf16 or fp32 matrices; weights and losses are always fp32
devices: str = "auto"  # auto, cpu, cuda, cuda:1; two with a comma between to train: cuda:0,cuda:1
data: str = ""  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's pictures
on_error: str = "raise"  # raise or skip: what to do with pictures that cannot be decoded
pictures: bool = True  # False leaves photographs out of the figures, for reports that are published
folder: str = ""  # a run under runs/ to look at as it stands; "" is the run of these settings
weights: str = ""  # a file of weights by others (torchvision's .pth, Caffe's .npy) in place of a run
queries: int = 500  # test pictures that look for neighbours, at random; 0: all
among: int = 0  # training pictures among which they look, at random; 0: all
layer: str = "conv5"  # conv1 to conv5, fc6 to fc8: whose units are shown with what excites them

# %%
import inspect

import numpy as np
import pandas as pd
import torch
from IPython.display import Code, Markdown

from alexold import config, feature_plots, features, foreign, glimpse, plots, retrieval, study, towers, train
from alexold import data as sets

# %% [markdown]
# A wrong value fails here, before anything is loaded, with the list of valid ones.

# %%
scale = glimpse.settings(folder)["scale"] if folder else scale
device, seed, lengths = study.pick_towers(devices, scale), study.pick_seed(seed), (8, 16, 32, 64, 128, 256)
bits = 32  # the length of codes that the closing table compares
chosen = {"epochs": epochs or None, "batch": batch or None, "precision": precision}
reading, chosen_scale = config.spec_at(spec, scale, **chosen), config.scale_of(scale)
assert layer in features.LAYERS, f"layer {layer!r}: valid ones: {', '.join(features.LAYERS)}"

# %% [markdown]
# ## The net and the pictures

# %%
training, test = sets.load(data or chosen_scale.source, chosen_scale.side, on_error=on_error)
reading = reading.replace(classes=len(training.classes))
if folder:
    run = glimpse.glimpse(folder, training, test, device)
elif not weights:
    run = study.run("04_train", spec, reading, scale, training, test, seed=seed, device=device)
net = foreign.load(weights) if weights else features.of_run(run, training)
net = net.to(device.split(",")[0])

# %%
asked_rows = features.drawn(len(test), queries, seed)
asked, searched = test.subset(asked_rows), training.subset(features.drawn(len(training), among, seed))
Markdown(
    f"**{net.origin}**, {net.towers} tower{'s' * (net.towers > 1)}, windows of {net.size} pixels,"
    f" {len(net.classes)} classes. **{len(asked):,}** of {len(test):,} test pictures look for neighbours"
    f" among **{len(searched):,}** of {len(training):,} training pictures: {training.origin}."
)

# %% [markdown]
# ## The first layer (Figure 3)
#
# Kernels of 11 x 11 x 3, a tower above the other, each scaled to its own range. The paper describes two
# kinds, and the rule for both leaves out the mean of each colour, so that a flat tint does not count:
#
# - A **grating** has half of its energy or more at one non-zero frequency and orientation (within 1 cycle
#   per kernel), and at most half of that at the same frequency turned by 90 degrees.
# - A **colour blob** is no grating and has half of its energy or more off the grey axis (red = green = blue)
#   at 2 cycles per kernel or fewer.
#
# Kernels that count come first in each tower, in a frame of their kind's colour.

# %%
kernels = net.layer("conv1").weight.detach().float().cpu()
kinds = features.kinds(kernels)
feature_plots.kernels(kernels, kinds, net.towers)

# %% [markdown]
# The two shares of energy for each kernel, and for 2,000 kernels of white noise, as all kernels are before
# training. Dashed: one half.

# %%
energy, noise = (features.kernel_energy(k) for k in (kernels, features.white_noise(kernels, 2000, seed)))
feature_plots.kernel_energy(energy, noise, kinds)

# %%
pd.Series(features.kernel_kinds(kernels), name="share of kernels").to_frame().style.format("{:.1%}")

# %% [markdown]
# ## Colour and the two towers
#
# The paper speaks of every run: here are all runs of this scale that are on record, with their number of
# updates. *Colour* is the share of a kernel's energy off the grey axis. *p*: how often kernels dealt out at
# random would differ in colour as much as those of the two towers, or more. The claim is judged only for
# runs of at least 84,000 updates, a tenth of the paper's 840,000 (`docs/protocol.md`, section 6); a run with
# fewer says nothing for or against it.

# %%
from alexold import findings, tower_plots, verdicts

colours = findings.colours(scale)
if weights:
    colours = [findings.colour_row(net.origin, colour) for colour in towers.colour(net.model).values()]
tower_plots.colour_figure(colours) if colours else Markdown("*There is no run with two towers.*")

# %%
long_runs = [row for row in colours if (row["updates"] or 0) >= verdicts.UPDATES]
updates = "an unknown number of" if weights else f"{run.row['history'][-1]['step']:,}"
Markdown(
    f"This net was trained with **{updates} updates**. Runs above with at least {verdicts.UPDATES:,} updates:"
    f" **{len(long_runs)}** of {len(colours)}" + (": no verdict." if not long_runs else ".")
)

# %% [markdown]
# ## What it says about test pictures (Figure 4, left)
#
# All test pictures go through the net once, centre view; every layer's output is kept, of each map
# the strongest value. The five most probable classes of eight pictures drawn at random; the true
# class, named on top, in orange.

# %%
made = features.activations(net, test, features.LAYERS)
names = [*net.classes, *(name for name in test.classes if name not in net.classes)]
true = np.array([names.index(name) for name in test.classes])[test.labels]
unknown = len(names) - len(net.classes)  # classes of these pictures that the net was not trained for
probabilities = np.pad(made["fc8"].softmax(1), ((0, 0), (0, unknown)))

# %%
shown = np.random.default_rng(seed).choice(len(test), 8, replace=False)
plots.predictions(test.gather(shown), true[shown], probabilities[shown], names, pictures)

# %%
errors = train.score(probabilities, true)
Markdown(
    f"Centre view, {errors['n']:,} test pictures: top-1 error **{errors['top1']:.1%}**, top-5 error"
    f" **{errors['top5']:.1%}**. Classes of these pictures that the net does not know: {unknown}."
)

# %% [markdown]
# ## Neighbours, on three numbers
#
# Two pictures are as far apart as their vectors $x$ and $y$:
#
# $$d(x, y) = \Big(\sum_i (x_i - y_i)^2\Big)^{1/2}$$
#
# *Precision* is the share of the nearest that are of the query's class. Below, a query of class 0 and
# five others. The third is nearest, the first two come next, both 5 away. Of the two nearest, one is
# the third, of class 0, and the other one of a pair of which one is of class 0: the precision is
# $(1 + 1/2) / 2$.

# %%
query, others = torch.zeros(1, 3), torch.tensor([[3.0, 4, 0], [0, 0, 5], [0, 1, 0], [9, 0, 0], [0, 9, 9]])
tiny = retrieval.search(query, others, [0], [0, 1, 0, 1, 1], ks=(1, 2))
assert tiny.nearest[0, 0] == 2 and tiny.precision.tolist() == [[1, (1 + 1 / 2) / 2]]
torch.cdist(query, others)

# %%
Code(inspect.getsource(retrieval.precision), language="python")

# %% [markdown]
# ## Nearest neighbours (Figure 4, right)
#
# The vectors are what the last hidden layer puts out after its ReLU, 4096 numbers in the paper and
# fewer in a narrow net; beside them the pixels of the same windows, minus the mean image. Distances of
# all pairs are computed block by block, in bounded memory.

# %%
fc7, base = made["fc7"].relu()[asked_rows], features.activations(net, searched, ["fc7"])["fc7"].relu()
ks, classes = (1, 2, 6, 20, 100), (asked.labels, searched.labels)
by_features = retrieval.search(fc7, base, *classes, ks)
pixels = [features.Pixels(images, net.size) for images in (asked, searched)]
by_pixels = retrieval.search(*pixels, *classes, ks, others=by_features.nearest[:, :6])


# %%
def beside(rows):
    found = {"features": by_features, "pixels": by_pixels}
    near = {name: features.pictures_at(searched, f.nearest[rows, :6]) for name, f in found.items()}
    return feature_plots.neighbours(asked.gather(rows), asked.labels[rows], near, test.classes, pictures)


# %% [markdown]
# Five test pictures drawn at random, each with the six training pictures that are nearest to it:

# %%
beside(np.random.default_rng(seed).choice(len(asked), 5, replace=False))

# %% [markdown]
# In JupyterLab, pick another test picture:

# %%
import ipywidgets as widgets

from alexold import gallery

picture = widgets.IntSlider(max=len(asked) - 1, description="picture", continuous_update=False)
neighbours = widgets.Image(width=1000)


# %%
def pick(_=None):
    neighbours.value = gallery.png(beside([picture.value]))


# %%
picture.observe(pick, "value")
pick()
widgets.VBox([picture, neighbours])

# %% [markdown]
# The same for all queries: precision against the number of nearest that count. The bands are 95 %
# intervals over queries.

# %%
chance = retrieval.chance(*classes).mean()
feature_plots.precision_curves(ks, {"features": by_features.precision, "pixels": by_pixels.precision}, chance)

# %% [markdown]
# The paper adds that these neighbours are generally not close pixel by pixel. So: how many training
# pictures are nearer to the query by pixels than its neighbour by features? None, if both measures
# said the same; half of them, if pixels said nothing.

# %%
feature_plots.pixel_ranks(by_pixels.ranks)

# %% [markdown]
# ## Short codes, on three numbers
#
# A code keeps, for each of some axes $a_j$, on which side of the mean $m$ a vector lies: bit $j$ is
# $(x - m) \cdot a_j > 0$. Codes are compared by the number of bits in which they differ, their Hamming
# distance. Three axes, two vectors:

# %%
middle, axes = torch.zeros(2), torch.tensor([[1.0, 0, 1], [0, 1, 1]])
two = retrieval.codes(torch.tensor([[2.0, -1.0], [-1.0, -3.0]]), middle, axes)
assert two.tolist() == [[True, False, True], [False, False, False]]
assert retrieval.hamming(two[:1], two[1:]).item() == 2

# %% [markdown]
# ## Short codes of features and of pixels
#
# The paper proposes an auto-encoder, and did not try it. A linear one learns the axes of largest
# variance (PCA); axes drawn at random, once, learn nothing. Both are tried on features, and on the pixels
# of pictures shrunk to 32 x 32. Many short codes are equally far from a query; the precision is then the
# mean over all choices among them.
#
# Dashed: the same vectors without codes. A vector's length leaves no trace in its code, so the line to
# reach is also drawn for distances by angle.

# %%
small = [features.Pixels(images, net.size, 32)[:] for images in (asked, searched)]
shares = {}
for name, vectors in {"features": (fc7, base), "pixels": small}.items():
    learned = retrieval.learned_axes(vectors[1], max(lengths), seed)
    random = retrieval.random_axes(vectors[1].shape[1], max(lengths), seed)
    for kind, axes in {"learned": learned, "random": random}.items():
        shares[name, kind] = retrieval.code_precision(*vectors, *classes, axes, lengths)

# %%
six = by_features.precision[:, ks.index(6)]
by_angle = retrieval.search(fc7 - base.mean(0), base - base.mean(0), *classes, (6,), measure=retrieval.angle)
small_six = retrieval.search(*small, *classes, (6,)).precision
levels = {"features": six.mean(), "features, by angle": by_angle.precision.mean(), "pixels": small_six.mean()}
feature_plots.code_curves(lengths, shares, levels | {"chance": chance}, bits)

# %%
at, means = lengths.index(bits), {pair: share.mean(0) for pair, share in shares.items()}
kept = means["features", "learned"][at] / six.mean()
ahead = means["features", "random"] > means["features", "learned"]
Markdown(
    f"{fc7.shape[1]:,} real numbers take {4 * fc7.shape[1]:,} bytes a picture, {bits} bits {bits // 8}: one"
    f" {32 * fc7.shape[1] // bits:,}th. With learned axes they keep **{kept:.0%}** of the precision. Random"
    f" axes do better than learned ones at {', '.join(map(str, np.array(lengths)[ahead])) or 'no number of'}"
    " bits: each axis has one bit, however little varies along it."
)

# %% [markdown]
# The means behind the curves, by bits:

# %%
pd.DataFrame({", ".join(pair): values for pair, values in means.items()}, index=lengths).T.style.format(
    precision=3
)

# %% [markdown]
# ## What excites a unit
#
# Units of the layer named above, drawn at random among those that any test picture excites, and the
# eight test pictures that excite each most. The white frame in a picture is what the unit sees of it
# where it is strongest.

# %%
alive = {name: values.amax(0) > 0 for name, values in made.items()}
units = np.random.default_rng(seed).permutation(np.flatnonzero(alive[layer]))[:5]
excited = features.exciting(net, test, layer, made[layer], units)
feature_plots.exciting(*excited, [f"{layer}, {unit}" for unit in units], test.classes, pictures)

# %% [markdown]
# In JupyterLab, pick another unit:

# %%
unit = widgets.IntSlider(max=made[layer].shape[1] - 1, description="unit", continuous_update=False)
strongest = widgets.Image(width=800)


# %%
def excite(_=None):
    found = features.exciting(net, test, layer, made[layer], [unit.value])
    figure = feature_plots.exciting(*found, [f"{layer}, {unit.value}"], test.classes, pictures)
    strongest.value = gallery.png(figure)


# %%
unit.observe(excite, "value")
excite()
widgets.VBox([unit, strongest])

# %% [markdown]
# How much of one class are such pictures? For every unit of every layer, the share of the commonest
# class among its nine. Units of fc8 are the classes themselves.

# %%
purities = {name: features.purity(made[name][:, alive[name]], test.labels) for name in features.LAYERS}
at_random = features.purity(retrieval.random_axes(len(test), 1000, seed), test.labels)
feature_plots.purity_by_layer(purities, at_random.mean(), 9)

# %% [markdown]
# ## Weights that others trained
#
# `weights` names a file, and this notebook looks at that net instead. Two kinds are read, each into the
# net it belongs to. Nothing in a file is run: torch's are read by its loader for weights alone, a
# .npy, which is a pickle, by one that makes arrays of floats and refuses everything else.
#
# - **Caffe**, as TensorFlow's users pass it on (`bvlc_alexnet.npy`): the two towers of the paper, trained
#   without colour noise. Kernels are stored as (row, column, in, out), colours from blue to red.
# - **torchvision** (`alexnet-owt-7be5be79.pth`): *not* the net of 2012. One tower, fewer kernels in most
#   layers, no response normalisation, pixels in 0..1 divided by standard deviations.
#
# Both know the 1000 classes of ILSVRC-2012 and expect pictures of 256 pixels; Caffe's were squashed to a
# square, where here the centre is kept.

# %%
import torchvision

from alexold import nets

with torch.device("meta"):
    vision, ours = torchvision.models.alexnet(), nets.AlexNet(config.PAPER)
shapes = [
    (name, ours.get_submodule(name).weight.shape, vision.get_submodule(theirs).weight.shape)
    for name, theirs in foreign.VISION_LAYERS.items()
]
pd.DataFrame(
    [(name, *(" x ".join(map(str, s)) for s in pair)) for name, *pair in shapes],
    columns=["layer", "paper and Caffe: weights", "torchvision: weights"],
).style.hide()

# %% [markdown]
# Where Caffe's net differs from the text of the paper. Its norms also sum over maps of both towers, and
# its dropout multiplies in training instead of halving in testing.

# %%
differ = config.PAPER.changes(foreign.CAFFE)
table = [(field, *(f"{value:g}" for value in values)) for field, values in differ.items()]
pd.DataFrame(table, columns=["field", "paper", "Caffe"]).style.hide()

# %% [markdown]
# ## Checks that hold at every scale

# %%
query, k = fc7[0].double(), len(searched)
away = (base.double() - query).square().sum(1)
assert away[by_features.nearest[0, :6]].max() <= (1 + 1e-4) * away.kthvalue(6).values
everything = retrieval.search(fc7[:9], base, classes[0][:9], classes[1], (k,)).precision[:, 0]
np.testing.assert_allclose(everything, retrieval.chance(*classes)[:9])

# %%
assert weights or abs(errors["top1"] - run.row["metrics"]["centre"]["top1"]) < 0.02
assert all(((values >= 0) & (values <= 1)).all() for values in [*shares.values(), by_pixels.ranks])
assert (features.kinds(features.white_noise(kernels, 2000)) == "neither").mean() >= 0.99
assert fc7.shape[1] == net.layer("fc7").out_features
assert all(values.shape == (len(test), net.layer(name).weight.shape[0]) for name, values in made.items())

# %% [markdown]
# ## Paper and this study
#
# The rules were fixed before the measurement, but that for *such kernels*, which was corrected later
# (`docs/protocol.md`). *Share of runs*: those of at least 84,000 updates whose towers differ in colour
# with p < 0.05; one run in which they do not refutes the claim, and in its favour all of the interval must
# lie above one half. *Such kernels*: gratings and colour blobs, minus their share of white noise.
# *Same-class share*: differences of precision of the same queries, features minus pixels, in points. *Rank
# by pixels*: the median of all neighbours, in % of the training images; "not close" asks for more than
# 1 %. Intervals are over runs, over kernels or over queries; the last two are of one trained net.

# %%
from alexold import stats

effects = {
    "neighbours": (six, by_pixels.precision[:, ks.index(6)]),
    "binary-codes": (shares["features", "learned"][:, at], shares["pixels", "learned"][:, at]),
}
measured = {claim: [100 * x for x in stats.paired(*pair)] for claim, pair in effects.items()}
measured["conv1-kernels"] = features.selectivity(kernels, seed)
measured["neighbours-pixels"] = stats.median(100 * by_pixels.ranks)

# %% [markdown]
# What was measured goes on record, where notebook 06 finds it; not so for a run given by its `folder`, which
# may be unfinished, or for weights that others trained.

# %%
if not (folder or weights):
    features.record(run, measured, len(asked), len(searched), device.split(",")[0])
if long_runs:
    measured["colour-towers"] = findings.colours_apart([row["p"] for row in long_runs])
pd.DataFrame(findings.compare_features(measured, scale)).style.hide().format(na_rep="-", precision=2)

# %% [markdown]
# ## Limits and next
#
# Features of a net trained for some classes are good at those classes: the precision here says nothing
# about pictures of others. Neighbours are judged by class alone, where the paper's reader judges by
# eye. Activations are those of one run; only the colours of the towers are compared between runs, and
# a short run may end before its towers part. A linear code is the least of auto-encoders. Next:
# notebook 06 puts the verdicts of all notebooks side by side.
