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
# **You need:** the paper (section 6.1) and notebook 04. The net trained there is opened; if there is none, it
# is trained first, which takes as long as in notebook 04.
#
# **You will have:** a measure with an interval for each statement of section 6.1, and the images that
# maximally activate any first-layer kernel, and any unit of a layer of your choice.
#
# **Time:** 30 s at the sample scale after notebook 04, measured on two cores. `imagenette`: two minutes on a
# CPU. `imagenet`: a GPU; the activations of each training image take 16 kB of memory, and the option `among`
# limits their number.
#
# **Question.** What do the first kernels, the last hidden layer and single units of a trained net
# respond to?
#
# **The paper says** (section 6.1, Figures 3 and 4): the first layer learns kernels for one frequency and
# orientation, and blobs of colour. In every run the kernels of one tower are nearly without colour and
# those of the other are not. Images whose 4096 activations in the last hidden layer are close show the same
# things, even if their pixels differ a lot. Short binary codes of these activations would make the search
# fast, and should be better than codes of pixels.

# %% [markdown]
# ## Parameters
#
# The same parameters as in notebook 04 select its run; a finished run is opened, not trained again.

# %% tags=["parameters"]
scale: str = "sample"  # sample, imagenette128, miniimagenet, imagenette or imagenet
spec: str = "source2012"  # source2012 or paper: the config
epochs: int = 0  # passes through the training images; 0: the scale's own number
seed: int = 0  # of the run, and of what is drawn at random here
fields: dict = {}  # other fields of the config, e.g. {"batch": 64, "lr": 0.002, "precision": "fp32"}
options: dict = {}  # rarer settings: see the next cell

# %%
from alexlib.notebook import parameters

options = parameters(
    globals(),
    device="auto",  # auto, cpu, cuda or cuda:1; two with a comma between them train one tower each
    folder="",  # a run below runs/ to open; "": the run of these settings
    weights="",  # weights to look at in place of the run: another run, or a file that others made
    queries=500,  # test images whose neighbours are looked for, drawn at random; 0: all
    among=0,  # training images among which they are looked for, drawn at random; 0: all
    layer="conv5",  # conv1 to conv5, fc6 to fc8: the layer whose units are shown
    data="",  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's images
    on_error="raise",  # raise or skip: what to do with images that cannot be decoded
    pictures=True,  # False leaves photographs out of the figures, for reports that are published
)

# %% [markdown]
# What this notebook uses from Python's libraries and from `alexlib`:

# %%
import inspect
import io
import json
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
import pandas as pd
import scipy
import torch
import torch.nn.functional as F
import torchvision
from IPython.display import Code, Markdown

# %%
from alexlib import figures, models, weights
from alexlib.config import runs_root, scale_of
from alexlib.data import prepare
from alexlib.data.images import generator
from alexlib.study import features, measures, runs, scorecard, verdicts
from alexlib.training import loop
from alexlib.training.machine import pick_towers

# %% [markdown]
# A wrong value causes an error here, before anything is loaded; the message lists the valid ones.

# %%
job = runs.Job.training(spec, scale, seed, epochs=epochs or None, **fields)
if options["folder"]:
    job = runs.Job.of(json.loads((runs_root() / options["folder"] / "config.json").read_text()))
chosen, device = scale_of(job.scale), pick_towers(options["device"])

# %%
layer, show_images = options["layer"], options["pictures"]
if layer not in features.LAYERS:
    raise ValueError(f"layer {layer!r}: valid ones: {', '.join(features.LAYERS)}")
lengths, bits = (8, 16, 32, 64, 128, 256), 32  # of codes; the closing table compares those of 32 bits

# %% [markdown]
# ## The net and the images

# %%
others = options["weights"]
net = weights.load(others) if others else None
side = net.side if others else chosen.side_for(job.config)  # of the images, pixels
training, test = prepare.load(options["data"] or chosen.source, side, options["on_error"])
if min(len(training), options["among"] or 6) < 6 or len(test) < 9 or options["queries"] == 1:
    raise ValueError("expected at least 6 training images (also in `among`), 9 test images and 2 `queries`")
job = replace(job, config=job.config.replace(classes=len(training.classes)))
if not others:
    run = runs.run(job, training, test, device=device, name=options["folder"] or None)

# %%
net = net or weights.load(run.folder)
net.model.to(device.split(",")[0])
size, towers = len(net.mean), getattr(getattr(net.model, "net", None), "towers", 1)


# %%
def drawn(images, count):
    """Indices of some of the images, at random, in ascending order; 0: all."""
    order = torch.randperm(len(images), generator=generator(seed, len(images), "drawn"))
    return order[: count or len(images)].sort().values.numpy()


# %% [markdown]
# The *queries* are the test images whose neighbours are looked for.

# %%
asked_rows = drawn(test, options["queries"])
asked, searched = test.subset(asked_rows), training.subset(drawn(training, options["among"]))
Markdown(
    f"**{net.origin}**, {towers} tower{'s' * (towers > 1)}, input of {size} x {size} pixels,"
    f" {len(net.classes)} classes. **{len(asked):,}** of {len(test):,} test images are queries; their"
    f" neighbours are looked for among **{len(searched):,}** of {len(training):,} training images:"
    f" {training.origin}."
)

# %% [markdown]
# ## The first layer (Figure 3)
#
# Kernels of 11 x 11 x 3, one tower above the other, each scaled to its own range. The paper describes two
# kinds. The rules for both leave out the mean of each colour, so a uniform tint does not count:
#
# - A **grating** (black frame) has at least half of its energy at one non-zero frequency and orientation
#   (within 1 cycle per kernel), and at most half of that at the same frequency turned by 90 degrees.
# - A **colour blob** (red frame) is not a grating and has at least half of its energy off the grey axis
#   (red = green = blue) at 2 cycles per kernel or fewer.

# %%
kernels = net.model.conv1.weight.detach().float().cpu()
kinds = features.kinds(kernels)
figures.kernels(kernels, towers, kinds)

# %% [markdown]
# The two shares of energy for each kernel, and for 2,000 kernels of white noise (before training, all kernels
# are white noise). Dashed: one half.

# %%
noise = torch.randn(2000, *kernels.shape[1:], generator=generator(seed, 0, "kernels"))
energy, noise_energy = features.kernel_energy(kernels), features.kernel_energy(noise)
figure, axis = figures.new_figure(7, 3.2)
axis.plot(*noise_energy, ".", ms=2, color=figures.PALE, label=f"white noise, n = {len(noise):,}")
for kind, colour in {"neither": figures.GREY, "blob": figures.RED, "grating": figures.BLACK}.items():
    label = f"{kind}, n = {(kinds == kind).sum()}"
    axis.plot(*energy[:, kinds == kind], "o", ms=5, mec="white", mew=0.5, color=colour, label=label)
axis.plot([0.5, 0.5, 0.5, 0], [0, 1, 0.5, 0.5], "k--", lw=0.8)
axis.set(xlim=(0, 1), xlabel="share of energy at one frequency and orientation")
axis.set(ylim=(0, 1), ylabel="share of energy off the\ngrey axis, low frequency")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %%
share = pd.Series(kinds).value_counts(normalize=True).reindex(["grating", "blob", "neither"], fill_value=0)
share.to_frame(f"share of {len(kinds)} kernels").style.format("{:.1%}")

# %% [markdown]
# ## Colour and the two towers
#
# The paper speaks of every run. The figure shows all runs of this scale that are on record, with the seed
# and the number of updates. *Colour* is the mean share of a kernel's energy off the grey axis. *p* is the
# probability that the two means differ as much as here, or more, if the kernels are assigned to the
# towers at random. The claim is judged only for runs of at least 84,000 updates, a tenth of the paper's
# 840,000 (`docs/protocol.md`, section 6); a shorter run is not evidence for or against it.

# %%
found = []
for row in [] if others else runs.read(scale=job.scale):
    if "colour" in row and row["history"]:
        name = f"{row['study'][:2]} {row['variant']}, seed {row['seed']}" + ", GPU" * measures.on_gpu(row)
        found.append((name, row["history"][-1]["step"], *row["colour"]["means"], row["colour"]["p"]))
for colour in models.tower_colour(net.model).values() if others else ():
    found.append((net.origin, None, *colour["means"], colour["p"]))
colours = pd.DataFrame(found, columns=["run", "updates", "tower 1", "tower 2", "p"])
colours = colours.drop_duplicates(ignore_index=True)

# %% [markdown]
# One row for each run, with the mean colour of each tower:

# %%
figure, axis = figures.new_figure(8, 0.3 * len(colours) + 1.2)
axis.set_yticks(colours.index, [f"{r.run}, p = {r.p:.2g}" for r in colours.itertuples()])
for tower in ("tower 1", "tower 2"):
    axis.plot(colours[tower], colours.index, "o", color=figures.COLOURS[tower], label=tower)

# %%
axis.set(xlabel="mean share of a kernel's energy off the grey axis", xlim=0)
axis.legend(bbox_to_anchor=(1, 1))
axis.set_ylim(len(colours) - 0.5, -0.5)
figure if len(colours) else Markdown("*There is no run with two towers.*")

# %% [markdown]
# The same for this run, after each epoch. If the towers specialise, the two curves separate.

# %%
coloured = [epoch for epoch in ([] if others else run.row["history"]) if "colour" in epoch]
means = [epoch["colour"]["means"] for epoch in coloured]
curves = pd.DataFrame(means, [epoch["step"] for epoch in coloured], ["tower 1", "tower 2"])

# %%
figure, axis = figures.new_figure(8, 2.6)
for tower in curves:
    axis.plot(curves[tower], "o-", ms=3, color=figures.COLOURS[tower], label=tower)

# %%
axis.set(xlabel="updates", ylabel="mean colour", xlim=0, ylim=0)
axis.legend()
figure if len(curves) else Markdown("*This run has no colour values for its epochs.*")

# %% [markdown]
# How many runs are long enough for the claim:

# %%
updates = "an unknown number of" if others else f"{run.row['history'][-1]['step']:,}"
long_runs = int((colours.updates.fillna(0) >= verdicts.UPDATES).sum())
Markdown(
    f"This net was trained with **{updates} updates**. Runs above with at least {verdicts.UPDATES:,} updates:"
    f" **{long_runs}** of {len(colours)}" + (": no verdict." if not long_runs else ".")
)

# %% [markdown]
# ## Predictions for test images (Figure 4, left)
#
# All test images go through the net once (centre view), and the output of every layer is kept (only the
# largest value of each feature map). The figure shows the five most probable classes of eight images drawn at
# random. The name of the true class is above the image, and its bar is green. A bar across the whole
# panel is a probability of 1.

# %%
made = features.activations(net, test, features.LAYERS)
class_of = weights.match(net, test)  # the net's class for each class of these images; -1: none
unknown = [name for name, label in zip(test.classes, class_of, strict=True) if label < 0]
class_of[class_of < 0] = len(net.classes) + np.arange(len(unknown))
class_names, true = [*net.classes, *unknown], class_of[test.labels]
probabilities = np.pad(made["fc8"].softmax(1), ((0, 0), (0, len(unknown))))

# %%
shown = np.random.default_rng(seed).choice(len(test), min(len(test), 8), replace=False)
figures.predictions(test.gather(shown), true[shown], probabilities[shown], class_names, show_images)

# %%
errors = loop.score(probabilities, true)
rates = f"top-1 error **{errors['top1']:.1%}**, top-5 error **{errors['top5']:.1%}**"
rates = "no error rate, as the net does not know all classes" if unknown else rates
Markdown(
    f"Centre view, {errors['n']:,} test images: {rates}. Classes of these images that the net does not"
    f" know: {len(unknown)}. {', '.join(unknown[:9])}"
)

# %% [markdown]
# ## Neighbours, on three numbers
#
# The distance between two images is the distance between their vectors $x$ and $y$:
#
# $$d(x, y) = \Big(\sum_i (x_i - y_i)^2\Big)^{1/2}$$
#
# *Precision* is the share of the nearest images that are of the query's class. Below are a query of class 0
# and five other vectors. The third one is the nearest. The first two are next, both at a distance of 5. The
# two nearest are therefore the third one and one of the first two. The third one is of class 0; of the first
# two, one is: the precision is $(1 + 1/2) / 2$.

# %%
query, five = torch.zeros(1, 3), torch.tensor([[3.0, 4, 0], [0, 0, 5], [0, 1, 0], [9, 0, 0], [0, 9, 9]])
tiny, of_class = torch.cdist(query, five), torch.tensor([[True, False, True, False, False]])
by_hand = ((five - query) ** 2).sum(1).sqrt()
assert torch.allclose(tiny[0], by_hand)
assert tiny.argmin() == 2 and features.precision(tiny, of_class, 1) == 1
assert features.precision(tiny, of_class, 2) == (1 + 1 / 2) / 2
pd.DataFrame({"vector": [1, 2, 3, 4, 5], "class 0": of_class[0], "distance": tiny[0]}).style.hide().format(
    precision=2
)

# %%
Code(inspect.getsource(features.precision), language="python")

# %% [markdown]
# ## Nearest neighbours (Figure 4, right)
#
# The vectors are the outputs of the last hidden layer after its ReLU (4096 numbers in the paper, fewer in a
# narrow net), and for comparison the pixels of the same central windows, minus the mean image. The
# distances from all queries to all training images are computed in parts.


# %%
def inputs(images, device="cpu"):
    """The input of the net for images, in parts: float32 (n, 3, size, size)."""
    for rows in torch.arange(len(images)).split(128):
        yield net.input(images.gather(rows.numpy())).to(device)


# %%
fc7, base = made["fc7"].relu()[asked_rows], features.activations(net, searched, ["fc7"])["fc7"].relu()
asked_pixels = torch.cat([x.flatten(1) for x in inputs(asked)])
away = {"features": torch.cdist(fc7, base)}
away["pixels"] = torch.cat([torch.cdist(asked_pixels, x.flatten(1)) for x in inputs(searched)], 1)
near = {name: distance.topk(6, largest=False).indices for name, distance in away.items()}


# %%
def beside(rows):
    found = np.concatenate([near[name][rows] for name in near], 1)  # (rows, 12)
    pixels = np.concatenate([asked.gather(rows)[:, None], searched.gather(found)], 1)
    labels, heads = asked.labels[rows], {0: "test image", 1: "by features", 7: "by pixels"}
    shown = np.concatenate([labels[:, None], searched.labels[found]], 1)
    return figures.image_rows(pixels, shown, test.classes, labels, heads, None, show_images)


# %% [markdown]
# Five queries drawn at random, each with the six training images that are nearest to it by features, and
# the six that are nearest by pixels. Green frames: of the query's class.

# %%
beside(np.random.default_rng(seed).choice(len(asked), min(len(asked), 5), replace=False))

# %% [markdown]
# In JupyterLab, choose another query (the number of the test image among the queries):


# %%
def png(figure):
    figure.savefig(file := io.BytesIO(), format="png")
    return file.getvalue()


# %%
number = widgets.IntSlider(max=len(asked) - 1, description="query", continuous_update=False)
neighbours = widgets.Image(value=png(beside([0])), width=1000)
number.observe(lambda change: setattr(neighbours, "value", png(beside([change.new]))), "value")
vars(number.comm).pop("_reply_subshell_id", None)  # else ipykernel 7.4 answers after the last cell
widgets.VBox([number, neighbours])

# %% [markdown]
# The precision for all queries, against the number of nearest images counted. The bands are 95 %
# intervals over queries.

# %%
same = torch.from_numpy(asked.labels)[:, None] == torch.from_numpy(searched.labels)
ks, chance = [k for k in (1, 2, 6, 20, 100) if k <= len(searched)], same.double().mean().item()
shares = {
    name: torch.stack([features.precision(distance, same, k) for k in ks], 1).numpy()
    for name, distance in away.items()
}
xlabel = f"number of nearest training images (n = {len(asked):,} queries)"
figures.precision_curves(ks, shares, {"chance": chance}, xlabel)

# %% [markdown]
# The paper adds that these neighbours are generally not close pixel by pixel. How many training images are
# nearer to the query by pixels than its neighbour by features? If both distances gave the same order, at most
# five. If pixels said nothing about the features, every share would be equally frequent (dashed).

# %%
chosen_distance = away["pixels"].gather(1, near["features"])  # (queries, 6)
ranks = torch.stack(
    [(away["pixels"] < one[:, None]).double().mean(1) for one in chosen_distance.T], 1
).numpy()
figure, axis = figures.new_figure(6.5, 3)
axis.ecdf(100 * ranks.ravel(), color=figures.RED, label="neighbours\nby features")
axis.plot([0, 100], [0, 1], "k--", lw=0.8, label="images\nat random")
axis.set(xlabel="training images that are nearer by pixels, %", ylabel="share of neighbours")
axis.set(title=f"Median: {100 * np.median(ranks):.1f} %, n = {ranks.size:,} neighbours", xlim=(0, 100))
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# ## Short codes, on three numbers
#
# A code has one bit for each axis $a_j$. Bit $j$ tells on which side of the mean $m$ a vector $x$ lies:
# it is 1 if $(x - m) \cdot a_j > 0$. The distance between two codes is the number of bits in which they
# differ (Hamming distance). Three axes and two vectors:

# %%
axes = torch.tensor([[1.0, 0, 1], [0, 1, 1]])  # (2, 3): each column is an axis
two = (torch.tensor([[2.0, -1.0], [-1.0, -3.0]]) @ axes > 0).float()  # the mean is 0
assert two.tolist() == [[1, 0, 1], [0, 0, 0]]
assert torch.cdist(two[:1], two[1:], p=0).item() == 2

# %% [markdown]
# ## Short codes of features and of pixels
#
# The paper proposes an auto-encoder but did not try it. A linear one learns the axes of largest variance
# (PCA). Axes drawn at random are not learned at all. Both are tried on features, and on the pixels of images
# shrunk to 32 x 32. Many short codes have equal distances from a query; the precision is then the mean over
# all choices among them.
#
# Horizontal lines: the same vectors without codes. A code does not depend on the length of the vector minus
# the mean, so the precision for distances by angle is also drawn.
#
# The pixels of the shrunk images, and a function for the precision of codes, for any vectors and any axes:

# %%
small = [torch.cat([F.adaptive_avg_pool2d(x, 32).flatten(1) for x in inputs(i)]) for i in (asked, searched)]


# %%
def precisions(queries, base, axes):
    """The precision at six of codes of each length, (Q, lengths)."""
    mine, theirs = (((x - base.mean(0)) @ axes > 0).float() for x in (queries, base))
    away = [torch.cdist(mine[:, :n], theirs[:, :n], p=0) for n in lengths]
    return torch.stack([features.precision(distance, same, 6) for distance in away], 1).numpy()


# %% [markdown]
# Both kinds of axes for both kinds of vectors:

# %%
code_shares, longest = {}, max(lengths)
for name, (queries, vectors) in {"features": (fc7, base), "pixels": small}.items():
    torch.manual_seed(seed)
    learned = torch.pca_lowrank(vectors, min(longest + 64, *vectors.shape), niter=8)[2][:, :longest]
    at_random = torch.randn(vectors.shape[1], longest, generator=generator(seed, 0, "codes"))
    code_shares[f"{name}, learned axes"] = precisions(queries, vectors, learned)
    code_shares[f"{name}, random axes"] = precisions(queries, vectors, at_random)

# %%
angle = 1 - F.normalize(fc7 - base.mean(0)) @ F.normalize(base - base.mean(0)).T
without = {"features": away["features"], "features, by angle": angle, "pixels": torch.cdist(*small)}
levels = {name: features.precision(d, same, 6).mean().item() for name, d in without.items()}
xlabel = f"bits of a code (n = {len(asked):,} queries)"
figures.precision_curves(lengths, code_shares, levels | {"chance": chance}, xlabel)

# %% [markdown]
# The means behind the curves, by number of bits:

# %%
means = pd.DataFrame({name: share.mean(0) for name, share in code_shares.items()}, index=lengths).T
means.style.format(precision=3)

# %%
units, kept = fc7.shape[1], means.loc["features, learned axes", bits] / levels["features"]
ahead = [n for n in lengths if means[n]["features, random axes"] > means[n]["features, learned axes"]]
ahead = ", ".join(map(str, ahead))
Markdown(
    f"{units:,} real numbers take {4 * units:,} bytes for each image, and {bits} bits take {bits // 8} bytes,"
    f" a factor of {32 * units // bits:,}. With learned axes these bits keep **{kept:.0%}** of the precision."
    f" Numbers of bits for which random axes do better than learned ones: {ahead or 'none'}. (Each learned"
    " axis has one bit, however little the vectors vary along it.)"
)

# %% [markdown]
# ## Images that maximally activate a unit
#
# Units of the layer named above, drawn at random from those that at least one test image activates, and the
# eight test images that activate each of them most. The white frame is the receptive field of the
# unit where its activation is largest. Green frames: images of the most frequent class of the eight.


# %%
def most_active(units, layer=layer):
    places, boxes = features.exciting(net, test, layer, made[layer], units)
    inner = slice((test.side - size) // 2, (test.side + size) // 2)
    windows, labels = test.gather(places.numpy())[:, :, inner, inner], test.labels[places.numpy()]
    wanted = [np.bincount(row).argmax() for row in labels]
    return figures.image_rows(windows, labels, test.classes, wanted, (), boxes, show_images)


# %%
alive = {name: (values.amax(0) > 0).numpy() for name, values in made.items()}
units = np.random.default_rng(seed).permutation(np.flatnonzero(alive[layer]))[:5]
figure = most_active(units)
for axis, unit in zip(figure.axes[::8], units, strict=False):
    axis.set_ylabel(f"{layer}, {unit}")
figure

# %% [markdown]
# In JupyterLab, click the number of a first-layer kernel; the numbers run row by row through the
# figure of the kernels above, one tower after the other. The panel shows the kernel and the eight test images
# that activate it most.


# %%
def enlarged(kernel):
    figure, axis = figures.new_figure(1.4, 1.5)
    values = kernels[kernel] - kernels[kernel].min()
    axis.imshow((values / values.max()).permute(1, 2, 0), interpolation="nearest")
    axis.set(title=f"{kernel}: {kinds[kernel]}", xticks=[], yticks=[])
    return png(figure)


def show(kernel):
    clicked.value, excited.value = enlarged(kernel), png(most_active([kernel], "conv1"))


# %%
style = {"button_width": "3em"}
buttons = widgets.ToggleButtons(options=range(len(kernels)), style=style, layout={"width": "60em"})
clicked, excited = widgets.Image(width=140), widgets.Image(width=800)
show(0)
buttons.observe(lambda change: show(change.new), "value")
vars(buttons.comm).pop("_reply_subshell_id", None)
widgets.VBox([buttons, widgets.HBox([clicked, excited])])

# %% [markdown]
# Or choose another unit of the layer named above, by its number:

# %%
unit = widgets.IntSlider(max=made[layer].shape[1] - 1, description="unit", continuous_update=False)
strongest = widgets.Image(value=png(most_active([0])), width=800)
unit.observe(lambda change: setattr(strongest, "value", png(most_active([change.new]))), "value")
vars(unit.comm).pop("_reply_subshell_id", None)
widgets.VBox([unit, strongest])

# %% [markdown]
# How many of these images are of one class? For every unit of every layer: the share of the commonest class
# among the nine test images that activate it most. Boxes: quartiles of the units of a layer, with the median;
# triangles: means. Units of fc8 are the classes themselves. Dashed: the mean for images at random.


# %%
def purity(values):
    classes = torch.from_numpy(test.labels)[values.topk(9, dim=0).indices]
    return (classes == classes.mode(0).values).double().mean(0)


# %%
purities = {name: purity(values[:, alive[name]]).numpy() for name, values in made.items()}
at_random = purity(torch.randn(len(test), 1000, generator=generator(seed, 0, "codes"))).mean().item()
figure, axis = figures.new_figure(7, 3)
axis.boxplot(list(purities.values()), tick_labels=list(purities), showmeans=True, showfliers=False)
axis.axhline(at_random, color=figures.BLACK, lw=0.8, ls="--")
axis.set(ylim=(0, 1.02), ylabel="share of one class among\na unit's nine images")
axis.set_xticklabels([f"{name}\nn = {len(values):,}" for name, values in purities.items()])
figure

# %% [markdown]
# ## Weights that others trained
#
# The option `weights` names another run or a file; this notebook then looks at that net instead. Two kinds
# of files that others made can be read. Neither of them can run code when it is read.
#
# - **Caffe** (`bvlcalexnet-12.onnx` of the ONNX Model Zoo): the net of the paper with two towers, trained
#   without colour noise.
# - **torchvision** (`alexnet-owt-7be5be79.pth`, or a checkpoint of a script that trains its `alexnet`): *not*
#   the net of 2012. It has one tower, fewer kernels in most layers and no response normalisation; its pixels
#   are in 0..1 and divided by standard deviations.
#
# The two files named here know the 1000 classes of ILSVRC-2012 and expect images of 256 pixels. Caffe's
# images were squashed to a square; here the central square is used. The classes of the test images are
# matched to the net's by WordNet id (a class folder like `n02086240`), or else by name.

# %%
paper = weights.foreign.CAFFE.defaults.replace(precision="auto")  # the paper's: all fields at their default
with torch.device("meta"):
    vision, ours = torchvision.models.alexnet(), models.AlexNet(paper.net)
theirs = [module.weight for module in vision.modules() if hasattr(module, "weight")]
pairs = [(ours.get_submodule(n).weight, other) for n, other in zip(features.LAYERS, theirs, strict=True)]
shapes = [[" x ".join(map(str, weight.shape)) for weight in pair] for pair in pairs]
columns = ["paper and Caffe: weights", "torchvision: weights"]
text = {"text-align": "left"}
pd.DataFrame(shapes, index=features.LAYERS, columns=columns).style.set_properties(**text)

# %% [markdown]
# The fields in which Caffe's net differs from the text of the paper. In addition, its norms sum over feature
# maps of both towers, and its dropout doubles the outputs that it keeps in training, instead of halving all
# outputs in testing.

# %%
differ = paper.changes(weights.foreign.CAFFE)
table = [(field, *(f"{value:g}" for value in values)) for field, values in differ.items()]
pd.DataFrame(table, columns=["field", "paper", "Caffe"]).style.hide().set_properties(subset=["field"], **text)

# %% [markdown]
# ## Checks that hold at every scale

# %%
distance = (base.double() - fc7[0].double()).square().sum(1)
assert distance[near["features"][0]].max() <= (1 + 1e-4) * distance.kthvalue(6).values
everything = features.precision(away["features"][:9], same[:9], len(searched))
torch.testing.assert_close(everything, same[:9].double().mean(1))

# %%
assert others or abs(errors["top1"] - run.row["metrics"]["centre"]["top1"]) < 0.02
assert all(((x >= 0) & (x <= 1)).all() for x in [*shares.values(), *code_shares.values(), ranks])
assert (features.kinds(noise) == "neither").mean() >= 0.99
assert fc7.shape[1] == net.model.fc7.out_features
assert all(x.shape == (len(test), len(net.model.get_submodule(name).bias)) for name, x in made.items())

# %% [markdown]
# ## Paper and this study
#
# The rules were fixed before the measurement, except the rule for *such kernels*, which was corrected later
# (`docs/protocol.md`).
#
# - *Share of runs* (colour of the towers): the runs of at least 84,000 updates whose towers differ in colour
#   with p < 0.05. A single run in which they do not refutes the claim; for a verdict in its favour, the whole
#   interval must lie above one half.
# - *Such kernels*: the share of gratings and colour blobs, minus their share in white noise.
# - *Same-class share*: the precision for features minus that for pixels, for the same queries.
# - *Rank by pixels*: the median over all neighbours, in % of the training images; "not close" means more
#   than 1 %.
#
# Intervals are over runs, kernels or queries; those over kernels or queries are for one trained net.


# %%
def with_interval(difference):
    """The mean over queries with its 95 % interval: value, low, high."""
    settings = {"n_resamples": 10_000, "method": "percentile", "rng": 0, "batch": 100}
    found = scipy.stats.bootstrap((difference,), np.mean, **settings).confidence_interval
    return difference.mean(), found.low, found.high


# %%
six, at = {name: share[:, ks.index(6)] for name, share in shares.items()}, lengths.index(bits)
codes = {name: code_shares[f"{name}, learned axes"][:, at] for name in six}
measured = {
    "neighbours": with_interval(100 * (six["features"] - six["pixels"])),
    "binary-codes": with_interval(100 * (codes["features"] - codes["pixels"])),
}
before = 100 * (features.kinds(noise) != "neither").mean()
selective = verdicts.proportion(int((kinds != "neither").sum()), len(kinds))
measured["conv1-kernels"] = [x - before for x in selective]

# %%
draws = (np.random.default_rng(i).choice(100 * ranks, len(ranks)) for i in range(1000))
ends = np.quantile([np.median(draw) for draw in draws], (0.025, 0.975))
measured["neighbours-pixels"] = [100 * np.median(ranks), *ends]
pd.DataFrame(measured, index=["value", "low", "high"]).T.style.format(precision=2)

# %% [markdown]
# The measurements are put on record, where notebook 06 finds them. This is not done for an unfinished run, or
# for weights that others trained. A row already on record is not written again, so a value that was withdrawn
# stays withdrawn.

# %%
values = {id: [float(x) for x in bounds] for id, bounds in measured.items()}
about = {"study": "05_features", "scale": job.scale, "run": {} if others else measures.key(run.row)}
about |= {"queries": len(asked), "among": len(searched), "measured": values}
if not (others or runs.read(**about)):
    runs.append(about | runs.provenance(device.split(",")[0]))

# %% [markdown]
# The claims of section 6.1 and what this study says about them. For weights that others trained there is
# no verdict.

# %%
rows = runs.read(scale=job.scale) if job.scale == "sample" else runs.everything()
rows = [row for row in rows if row["scale"] == job.scale and "colour" in row]
rows += [row for row in ([] if others else [run.row, about]) if row not in rows]
listed = job.scale == "sample" or bool(others) or runs.are_evidence([run.row])
entries = scorecard.card([] if others else rows, listed)
lines = [
    scorecard.cells(entry["claim"], line)
    for entry in entries
    if entry["claim"].notebook == "05_features"
    for line in entry["lines"][:1] or [None]
]
table = pd.DataFrame(lines).drop(columns=["2012 log", "detectable", "device"])
words = [column for column in ("claim", "verdict", "quantity", "where") if column in table]
table.style.hide().set_properties(subset=words, **text)

# %% [markdown]
# ## Limits and next
#
# The features of a net that was trained on some classes work well for these classes; the precision here says
# nothing about images of other classes. Neighbours are judged by their class only, whereas readers of the
# paper judge them by eye. The activations are those of one run; only the colours of the towers are compared
# between runs, and a short run may end before its towers differ. A linear auto-encoder is the simplest
# one. Next: notebook 06 puts the verdicts of all notebooks side by side.

# %% [markdown]
# ## Try it
#
# Write down what you expect before you run anything. Answers: `notebooks/solutions/05_features.ipynb`.
#
# 1. **A kernel of your own.** What kind does `features.kinds` give for a wave $\cos(2 \pi \cdot 3 x / 11)$ of
#    11 x 11 pixels in three equal colours? For the same wave turned by 30 degrees, for the sum of a
#    horizontal and a vertical wave, for a kernel that is red on the left and green on the right, and for one
#    that is red in the middle and green around it? Write down five kinds.
# 2. **A number.** What is the precision if *all* training images count as neighbours, $k$ = `len(searched)`?
#    Write it down, then run `features.precision`.
# 3. **Colour of noise.** What share of the energy of a white-noise kernel is off the grey axis? Write down a
#    number, then measure it for 2,000 kernels with `models.colourfulness`. How probable is p < 0.05 for two
#    towers that were not trained?
# 4. **Shuffled pixels.** The pixels of the net's input (after the crop) are shuffled, in the same way for
#    each image. What happens to the nearest neighbours by pixels, and to those by features? Write down both,
#    then run.
# 5. **Codes without a mean.** What happens to a code of features on random axes if the mean is not
#    subtracted? Think of features after a ReLU: none is negative. Write it down, then compare the two
#    precisions.
# 6. **Your own experiment.** How good are the features of a net that was not trained, compared with pixels?
#    Write down which is better, then build a net with `models.build` and measure the precision at six.
