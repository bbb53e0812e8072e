# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 Training AlexNet
#
# **You need:** the paper's sections 3 to 6, notebooks 00 to 03, and PyTorch's `nn` and `autograd`.
#
# **You will have:** the net and the training loop built by hand and checked against the library; a trained
# net, its errors with one view and with ten, its first layer, and its answer for an image of your own.
#
# **Time:** 95 s at the sample scale, measured on two cores; most of it is training. `imagenette`: hours on a
# CPU, minutes on a GPU. `imagenet`: you must supply your own copy, and at least one GPU.
#
# **Question.** Does the net of the paper learn as described, from pixels to class probabilities, and
# what do its first layer and its errors look like?
#
# **The paper says** (sections 3 to 6): five convolutional and three fully connected layers have 60 million
# parameters, in two towers that exchange data in certain layers only. Training is stochastic gradient descent
# with momentum. One net has a top-5 error of 18.2 % on the validation images of ILSVRC-2012, with
# predictions averaged over ten views.
#
# **Two configs.** `paper` follows the text (docs/fidelity.md lists where it cannot). `source2012` is the
# net of run 145, which produced the paper's numbers, with the schedule of run 170.

# %% [markdown]
# ## Parameters
#
# Here, or from a shell: `papermill notebooks/04_train.ipynb out.ipynb -p scale imagenette -p epochs 12`.

# %% tags=["parameters"]
scale: str = "sample"  # sample, imagenette128, miniimagenet, imagenette or imagenet
spec: str = "source2012"  # source2012 or paper: the config
epochs: int = 0  # passes through the training images; 0: the scale's own number
seed: int = 0  # of the initial weights, the validation set, the order and the augmentation
fields: dict = {}  # other fields of the config, e.g. {"batch": 64, "lr": 0.002, "precision": "fp32"}
options: dict = {}  # rarer settings: see the next cell

# %%
from alexlib.notebook import parameters

options = parameters(
    globals(),
    device="auto",  # auto, cpu, cuda or cuda:1; two with a comma between them get one tower each
    folder="",  # a run below runs/ to open, e.g. one that torchrun trained; "": the run of these settings
    weights="",  # a run or a file of weights to start from; "": new ones
    data="",  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's images
    on_error="raise",  # raise or skip: what to do with images that cannot be decoded
    pictures=True,  # False leaves photographs out of the figures, for reports that are published
)

# %% [markdown]
# What this notebook uses:

# %%
import inspect
import io
import json
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Code, Markdown, display
from PIL import Image, ImageOps
from scipy.stats import binomtest
from torch import nn

# %%
import alexlib
from alexlib import figures, models
from alexlib.config import config_at, runs_root, scale_of
from alexlib.data import augment, prepare
from alexlib.study import features, runs, scorecard
from alexlib.training import loop, optim
from alexlib.training.machine import pick_towers

# %% [markdown]
# A wrong value causes an error here. Fields that differ from the config's are in the name of the run.

# %%
job = runs.Job.training(spec, scale, seed, options["weights"], epochs=epochs or None, **fields)
if options["folder"]:
    job = runs.Job.of(json.loads((runs_root() / options["folder"] / "config.json").read_text()))
chosen, device = scale_of(job.scale), pick_towers(options["device"])
device = device if job.config.net.towers == 2 else device.split(",")[0]

# %% [markdown]
# The settings in which the two configs differ. This run uses one of the two columns, apart from what its
# scale or its parameters change.

# %%
full = {name: config_at(name, "imagenet") for name in ("paper", "source2012")}
differ = full["paper"].changes(full["source2012"])
meaning = {row["field"]: row["meaning"] for row in job.config.table()}
table = [(field, *values, meaning[field]) for field, values in differ.items()]
table = pd.DataFrame(table, columns=["field", "paper", "source2012", "meaning"]).style.hide()
table.set_properties(**(left := {"text-align": "left"}))
table.format(lambda value: f"{value:.3g}" if isinstance(value, float) else value)

# %% [markdown]
# ## The images
#
# Images are packed when they are first used: the shorter side is scaled (to 256 pixels in the paper), the
# central square is cut out, and all images are written to one file of bytes, which later opens at once. The
# net sees crops (224 pixels in the paper) with values in 0..255, minus the mean image. Nothing is divided by
# a standard deviation.

# %%
source, side = options["data"] or chosen.source, chosen.side_for(job.config)
training, test = prepare.load(source, side, options["on_error"])
classes = training.classes
job = replace(job, config=job.config.replace(classes=len(classes)))
config, left_out = job.config, len(training.skipped) + len(test.skipped)
Markdown(
    f"**{len(training):,}** training and **{len(test):,}** test images of {side} pixels, {len(classes)}"
    f" classes: {training.origin}. The crops have {config.net.input} pixels. {left_out} images were left"
    " out because they could not be decoded."
)

# %% [markdown]
# ## The net, built by hand
#
# ### Local response normalisation
#
# $$b_i = a_i \Big/ \Big(k + \alpha \sum_{j=i-n/2}^{i+n/2} a_j^2\Big)^{\beta}$$
#
# $a_i$ and $b_i$ are the activations of map $i$ before and after, at one position. The sum is over $n$
# neighbouring maps; $n / 2$ is rounded down, and maps that do not exist are left out. Each tower normalises
# its own maps only.


# %% tags=["by-hand"]
def lrn(a, n=5, k=2.0, alpha=1e-4, beta=0.75):  # a: (images, maps, height, width)
    squares = F.pad(a**2, (0, 0, 0, 0, n // 2, n // 2))  # n // 2 maps of zeros on both sides
    sums = sum(squares[:, j : j + a.shape[1]] for j in range(n))
    return a / (k + alpha * sums) ** beta


def lrn_in_towers(a):
    return torch.cat([lrn(half) for half in a.chunk(2, 1)], 1)


# %% [markdown]
# Three feature maps at one position, with $n = 3$. Maps 1 and 2 have the same activation; map 2, beside the
# large one, has the smaller output. The library and torch give the same numbers. (The parser of 2012 divides
# $\alpha$ by $n$, and so does torch.) `maps` has the size of conv1's feature maps, in two towers.

# %% tags=["by-hand"]
three = torch.tensor([50.0, 50.0, 200.0]).view(1, 3, 1, 1)
assert torch.allclose(lrn(three, n=3), models.layers.LocalResponseNorm(n=3)(three))
by_torch = F.local_response_norm(three, 3, alpha=3 * 1e-4, beta=0.75, k=2)
assert torch.allclose(lrn(three, n=3), by_torch)
maps = 100 * torch.randn(2, 96, 55, 55, generator=torch.Generator().manual_seed(seed))
assert torch.allclose(lrn_in_towers(maps), models.layers.LocalResponseNorm(towers=2)(maps))
pd.DataFrame({"a": three.flatten(), "b": lrn(three, n=3).flatten()}).style.format(precision=1)

# %% [markdown]
# ### A grouped convolution is two small ones
#
# In conv2, the kernels of each tower read the maps of their own tower. `groups=2` does this in one layer.
# By hand: one convolution on each half of the maps, with half of the kernels.

# %%
conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
halves = zip(maps.chunk(2, 1), conv2.weight.chunk(2), conv2.bias.chunk(2), strict=True)
two_small = torch.cat([F.conv2d(*half, padding=2) for half in halves], 1)
assert torch.allclose(conv2(maps), two_small, rtol=1e-4, atol=1e-3)

# %% [markdown]
# ### AlexNet
#
# The net of Figure 2; its numbers of kernels and units correspond to `width` 1. The comments are the shapes
# at that width for an image of 224 x 224 pixels. Three zero rows and columns make it 227 x 227, to fit conv1.


# %% tags=["by-hand"]
class ByHand(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        a, b, c, d = (max(1, round(width * count)) for count in (48, 128, 192, 2048))  # in one tower
        self.conv1 = nn.Conv2d(3, 2 * a, 11, stride=4)
        self.conv2 = nn.Conv2d(2 * a, 2 * b, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(2 * b, 2 * c, 3, padding=1)  # reads both towers
        self.conv4 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(2 * c, 2 * b, 3, padding=1, groups=2)
        self.fc6 = nn.LazyLinear(2 * d)  # counts its inputs when it sees the first ones
        self.fc7 = nn.Linear(2 * d, 2 * d)
        self.fc8 = nn.Linear(2 * d, classes)

    def forward(self, x):  # 3 x 224 x 224
        edge = -(x.shape[3] - 11) % 4
        x = F.relu(self.conv1(F.pad(x, (0, edge, 0, edge))))  # 96 x 55 x 55
        x = self.pool(lrn_in_towers(x))  # 96 x 27 x 27
        x = F.relu(self.conv2(x))  # 256 x 27 x 27
        x = self.pool(lrn_in_towers(x))  # 256 x 13 x 13
        x = F.relu(self.conv3(x))  # 384 x 13 x 13
        x = F.relu(self.conv4(x))  # 384 x 13 x 13
        x = F.relu(self.conv5(x))  # 256 x 13 x 13
        x = self.pool(x).flatten(1)  # 256 x 6 x 6 = 9216
        x = self.dropout(F.relu(self.fc6(x)))  # 4096
        x = self.dropout(F.relu(self.fc7(x)))  # 4096
        return self.fc8(x)  # the scores of 1000 classes

    def pool(self, x):
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)

    def dropout(self, x):
        return x * torch.empty_like(x).bernoulli_(0.5) if self.training else x / 2


# %% [markdown]
# The library's net has the same layers under the same names. With its weights loaded, `ByHand` gives the same
# scores. Both nets have the config `paper` here, with the width and the input of this run;
# `source2012` has other norms (exercise 5).

# %%
some = np.linspace(0, len(training) - 1, 64).astype(int)
pixels, labels = torch.tensor(training.gather(some)), torch.tensor(training.labels[some])
mean = augment.centre_crop(torch.tensor(training.mean), config.net.input)
x = augment.to_input(augment.centre_crop(pixels, config.net.input), mean)

# %% tags=["by-hand"]
plain = {"crop": "centre", "flip": False, "colour": "none"}  # no augmentation
paper = config_at("paper", job.scale, classes=len(classes), **plain).replace(
    width=config.net.width, input=config.net.input, lr=0.002, precision="fp32"
)
torch.manual_seed(job.seed)
library, by_hand = models.build(paper).eval(), ByHand(paper.net.width, len(classes)).eval()
by_hand.load_state_dict(library.state_dict())
with torch.no_grad():
    scores = by_hand(x[:8])
    assert torch.allclose(scores, library(x[:8]), rtol=1e-4, atol=1e-5)

# %% [markdown]
# ### Layer by layer
#
# The table lists the layers of Figure 2. *Neurons* are the outputs of layers with weights, *macs* the
# multiply-adds for one image. The two towers are the two halves of the feature maps of every layer.

# %%
layers = pd.DataFrame(models.shapes_and_cost(full[spec]))
totals = layers[["neurons", "parameters", "macs"]].sum()
assert totals.to_dict() == {"neurons": 659_272, "parameters": 60_965_224, "macs": 724_406_816}
table = layers.style.hide().set_properties(subset=["stage", "output"], **left)
table.format(lambda count: f"{count:,}" if count else "", subset=list(totals.index))

# %% [markdown]
# The paper says 60 million parameters and 650,000 neurons. Its Figure 2 gives 253,440 neurons for conv1.
# This is not 55 x 55 x 96 = 290,400, the only number that agrees with the input of the next layer.

# %%
here = pd.DataFrame(models.shapes_and_cost(config))
Markdown(
    f"The net of this run (width {config.net.width:g}): **{here.parameters.sum():,}** parameters,"
    f" **{here.neurons.sum():,}** neurons, **{here.macs.sum():,}** multiply-adds for one image."
)

# %% [markdown]
# ### Two towers on two devices
#
# In section 3.2 each GPU holds half of the kernels of every layer, and the GPUs exchange data in certain
# layers only. `models.build(config, ("cuda:0", "cuda:1"))` is that net. The table shows how many bytes a
# training step copies between the two devices for one image, computed from the net's layers. Without
# cross-talk between the towers, only the images and the scores would be copied.

# %%
crossing = pd.DataFrame(models.two_gpu.crossings(config)) if config.net.towers == 2 else pd.DataFrame()
copied = crossing.get(["forward", "backward"], pd.DataFrame()).sum().sum() * config.train.batch
display(Markdown(f"For a mini-batch of {config.train.batch} images **{copied / 1e6:.1f} MB** are copied."))
crossing.style.hide().format(thousands=",")

# %% [markdown]
# ## A training loop, built by hand
#
# ### The update rule
#
# $$v \leftarrow 0.9\,v - 0.0005\,\varepsilon\,w - \varepsilon\,g, \qquad w \leftarrow w + v$$
#
# $w$ is a weight, $g$ the gradient of the mean loss of the mini-batch with respect to it. The velocity $v$
# contains the learning rate $\varepsilon$ as a factor. After the rate is lowered, the velocity that was built
# up at the old rate still has an effect for some steps. torch's SGD keeps $-v / \varepsilon$, which the
# library rescales whenever the rate changes. One weight and three steps, by hand and with the library; the
# rate is lowered before the last step:

# %% tags=["by-hand"]
weight = nn.Linear(1, 1, bias=False)
nn.init.ones_(weight.weight)
optimizer, steps = optim.make_optimizer(weight, full["paper"].train), []
w, v, g = 1.0, 0.0, 2.0
for rate in (0.1, 0.1, 0.01):
    v = 0.9 * v - 0.0005 * rate * w - rate * g
    w = w + v
    optim.set_learning_rates(optimizer, rate, rate)
    weight.weight.grad = torch.tensor([[g]])
    optimizer.step()
    np.testing.assert_allclose(weight.weight.item(), w, rtol=1e-6)
    steps.append((rate, v, w))
pd.DataFrame(steps, columns=["rate", "v", "w"]).style.hide().format("{:.4g}")

# %% [markdown]
# ### Thirty steps
#
# Forward pass, loss, gradients, update: training consists of nothing else. `batches` has the indices of
# the images of each mini-batch.


# %% tags=["by-hand"]
def train_by_hand(net, x, labels, batches, rate):
    losses, velocities = [], [torch.zeros_like(w) for w in net.parameters()]
    net.train()  # dropout drops units
    for step, batch in enumerate(batches):
        torch.manual_seed(step)  # of dropout
        loss = F.cross_entropy(net(x[batch]), labels[batch])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for w, v, g in zip(net.parameters(), velocities, gradients, strict=True):
                v.copy_(0.9 * v - 0.0005 * rate * w - rate * g)
                w.add_(v)
        losses.append(loss.item())
    return losses


# %% [markdown]
# Thirty mini-batches of 16 images, from 64 images of the first and the last class. The library's `train_step`
# repeats the first three steps. With the same weights, images and dropped units, its losses are the same.

# %% tags=["by-hand"]
of_class = [np.flatnonzero(training.labels == label)[:32] for label in (0, len(classes) - 1)]
pair = np.concatenate(of_class)
two_pixels, two_labels = torch.tensor(training.gather(pair)), torch.tensor(training.labels[pair])
two_x = augment.to_input(augment.centre_crop(two_pixels, config.net.input), mean)
batches = torch.randint(len(pair), (30, 16), generator=torch.Generator().manual_seed(seed))
torch.manual_seed(job.seed)
library = models.build(paper)
by_hand.load_state_dict(library.state_dict())
by_hand_losses = train_by_hand(by_hand, two_x, two_labels, batches, paper.train.lr)

whole_mean, optimizer = torch.tensor(training.mean), optim.make_optimizer(library, paper.train)
draws = augment.draw(16, training.side, config.net.input, paper.augment, torch.Generator())
for step, batch in enumerate(batches[:3]):
    torch.manual_seed(step)
    images = two_pixels[batch], two_labels[batch], whole_mean
    loss, wrong = loop.train_step(library, optimizer, *images, None, paper, draws)
    np.testing.assert_allclose(by_hand_losses[step], loss.item(), rtol=1e-3)

# %%
figure, axis = figures.new_figure(7, 3)
axis.plot(range(1, 31), by_hand_losses, color=figures.BLUE, marker="o", ms=3)
for value, text in ((np.log(len(classes)), f"ln {len(classes)}"), (np.log(2), "ln 2")):
    axis.axhline(value, color=figures.GREY, lw=0.8, ls="--")
    axis.text(30.5, value, text, va="center")
axis.set(xlabel="steps", ylabel="cross-entropy, nats", ylim=0, xlim=(0, 30.3))
axis.set_title("Loss of the net by hand, n = 16 images a step")
figure

# %% [markdown]
# If all classes have equal probability, the loss is $\ln$ (number of classes). The net learns in a few steps
# that only two classes occur; this alone gives a loss of $\ln 2$. Telling the two apart takes more steps.
#
# The step of the library is the same, with augmentation before it:

# %%
Code(inspect.getsource(loop.train_step), language="python")

# %% [markdown]
# `fit` calls `train_step` for all mini-batches of all epochs, lowers the learning rate, measures the errors
# after each epoch and saves checkpoints. This notebook calls `fit` in the section *Training*.

# %%
Code(inspect.getsource(loop.fit), language="python")

# %% [markdown]
# ## Before training: activations and gradients
#
# The paper draws all weights from N(0, 0.01) (0.01 is the standard deviation). Run 145 used a standard
# deviation of 0.03 in conv3 to conv5. One mini-batch through both untrained nets shows the effect on the
# sizes of the activations and of the gradients, layer by layer.

# %%
changed = fields | {"epochs": epochs or None, "classes": len(classes)}
both = {name: config_at(name, job.scale, **changed) for name in full} | {config.name: config}
at_start = {}
for name, one in both.items():
    torch.manual_seed(job.seed)
    at_start[name] = features.signals(models.build(one), x, labels)

# %%
figures.signal_sizes(at_start)

# %% [markdown]
# ## Training
#
# Some training images are held out as a validation set for the learning curves and for the schedule
# `plateau`. The test images are used once, at the end. If a run was interrupted, running this cell again
# resumes it; a finished run is opened, not trained. If another process is training the run, this
# cell waits; `python -m alexlib runs` shows the progress.

# %%
run = runs.run(job, training, test, device=device, name=options["folder"] or None)

# %%
history = run.row["history"]
Markdown(
    ("Trained now" if run.trained_now else "Opened, not trained")
    + f": `{run.folder.name}`, {len(history)} of at most {config.train.epochs} epochs,"
    f" {run.row['seconds'] / 60:.1f} minutes, {run.row['pictures_per_second']:.0f} images/s"
    f" on {run.row['device']}."
)

# %% [markdown]
# Two kinds of training error are measured. The one *during the epoch* is measured while the net learns,
# with augmentation and dropout, and can therefore lie above the validation error. The one *in eval mode* is
# measured after the epoch, like the validation error. The curves begin at the error of a random guess.

# %%
panels = {"train_top1": "Training error, during the epoch", "plain_top1": "Training error, eval mode"}
panels |= {"val_top1": "Validation error"}
measured = {key: title for key, title in panels.items() if history[0].get(key) is not None}
figures.learning_curves({job.variant: [history]}, 1 - 1 / len(classes), measured)

# %%
losses = [key for key in ("train_loss", "plain_loss", "val_loss") if history[0].get(key) is not None]
figure, axis = figures.new_figure(7, 3)
colours = [figures.GREY, figures.BLUE, figures.RED]
pd.DataFrame(history).plot(ax=axis, x="epoch", y=losses, marker="o", ms=3, color=colours)
axis.set(xlabel="epochs", ylabel="cross-entropy, nats", ylim=0, title="Loss")
axis.xaxis.set_major_locator(figures.MaxNLocator(integer=True))
axis.legend([panels[key.replace("loss", "top1")].replace(" error", "") for key in losses])
figure

# %% [markdown]
# ## One view or ten
#
# When testing, the paper averages the softmax over ten views: the four corners, the centre, and the
# mirror images of these. With five classes or fewer, the top-5 error is always 0 and is left out.

# %%
measures, n = ("top1", "top5")[: 1 + (len(classes) > 5)], len(test)
errors = []
for measure in measures:
    for views, found in run.row["metrics"].items():
        ends = binomtest(round(found[measure] * n), n).proportion_ci(method="wilson")
        numbers = (100 * x for x in (found[measure], ends.low, ends.high))
        errors.append((f"{measure.replace('p', 'p-')}, {views}", *numbers))
errors = pd.DataFrame(errors, columns=[f"test error, %, n = {n:,} images", "value", "low", "high"])

# %% [markdown]
# The gain from ten views is measured as a difference on the same test images, so its interval is
# narrower than those of the two errors.

# %%
gains = []
for measure in measures if "ten" in run.probabilities else ():
    wrong = {v: loop.ranks(p, run.labels) >= int(measure[3]) for v, p in run.probabilities.items()}
    difference = 100.0 * (wrong["centre"] * 1.0 - wrong["ten"])
    value, half = difference.mean(), 1.96 * difference.std(ddof=1) / n**0.5
    gains.append((measure.replace("p", "p-"), value, value - half, value + half))
gains = pd.DataFrame(gains, columns=["centre minus ten views, points", "value", "low", "high"])

# %%
figure, axes = figures.new_figure(9, 2.4, 1, 2, width_ratios=(3, 2))
for axis, frame, colour in zip(axes, (errors, gains), (figures.BLUE, figures.RED), strict=True):
    bars = [frame.value - frame.low, frame.high - frame.value]
    axis.errorbar(frame.value, frame.iloc[:, 0], xerr=bars, fmt="o", color=colour, capsize=3)
    axis.set_xlabel(frame.columns[0])
    axis.margins(y=0.3)
    axis.invert_yaxis()
axes[1].axvline(0, color=figures.BLACK, lw=0.8)
figure

# %% [markdown]
# ## The first layer
#
# The paper's Figure 3 shows 96 kernels of 11 x 11 x 3, the upper half from one GPU, the lower half from the
# other. It says that in every run the kernels of one tower become largely colour-agnostic and those of the
# other colour-specific. Each kernel is scaled to its own range here. After
# a short training most of them still look like noise. Notebook 05 measures the colour.

# %%
figures.kernels(run.model.conv1.weight.detach().float().cpu(), config.net.towers)

# %% [markdown]
# ## The speed on one device and on two
#
# Training images per second of this net, on one device and with one tower on each of two, measured
# alternately (the median of three turns, after one warm-up turn). If the two devices are the same one, the
# difference is the cost of splitting the net.

# %%
first = device.split(",")[0]
places = {"one device": first, "two devices": device if "," in device else f"{first},{first}"}
places = places if config.net.towers == 2 else {"one device": first}
nets = {name: models.build(config, p.split(",") if "," in p else None) for name, p in places.items()}
part = training.subset(range(min(len(training), 5 * config.train.batch)))
once, nothing = config.replace(epochs=1, target=0.0, schedule="constant"), training.subset([])

# %%
speeds = []
for turn in range(4):
    for name, net in nets.items():
        (epoch,) = loop.fit(net, part, nothing, once, seed=turn, device=first, progress=False)
        speeds.append({"net": name, "turn": turn, "images/s": epoch["pictures_per_second"]})

# %%
speed = pd.DataFrame(speeds).query("turn > 0").groupby("net")["images/s"].median()
table = pd.DataFrame({"devices": places, "images/s": speed, "ratio": speed / speed["one device"]})
table.style.format({"images/s": "{:.0f}", "ratio": "{:.2f}"})

# %% [markdown]
# ## Predictions for test images
#
# The five most probable classes of some test images, averaged over ten views. The name of the true class is
# above the image, and its bar is green. A bar across the whole panel is a probability of 1.

# %%
shown = np.random.default_rng(job.seed).choice(len(test), min(len(test), 6), replace=False)
probabilities = run.probabilities.get("ten", run.probabilities["centre"])[shown]
figures.predictions(test.gather(shown), test.labels[shown], probabilities, classes, options["pictures"])

# %% [markdown]
# ## Your own image
#
# In JupyterLab, choose an image file with the button below. The net sees its central square, scaled as the
# other images are. Without a browser, a test image is used instead. The answer is for the centre view.

# %%
net, example = alexlib.load(run.folder), io.BytesIO()
Image.fromarray(test.gather(shown[:1])[0]).save(example, "PNG")


def answer(content):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))  # upright
    pixels = np.array(ImageOps.fit(image.convert("RGB"), (net.side, net.side)))[None]
    probabilities, names = net.predict(pixels), [*net.classes, "your image"]
    return figures.predictions(pixels, [-1], probabilities, names, options["pictures"])


answer(example.getvalue())

# %%
button = widgets.FileUpload(accept="image/*", description="your image")
said, drawn = widgets.Label(), widgets.Image(width=260)


def upload(change):
    try:
        answer(change["new"][0]["content"]).savefig(file := io.BytesIO(), format="png")
        said.value, drawn.value = "", file.getvalue()
    except (OSError, ValueError):
        said.value = "This file cannot be read as an image."


# %%
upload({"new": [{"content": example.getvalue()}]})  # what the button does
assert drawn.value and not said.value
button.observe(upload, "value")
widgets.VBox([button, said, drawn])

# %% [markdown]
# ## Checks that hold at every scale

# %%
metrics = run.row["metrics"]
assert all(np.isfinite(row["train_loss"]) for row in history)
assert all(0 <= m["top5"] <= m["top1"] <= 1 and m["n"] == len(test) for m in metrics.values())
again = loop.predict(run.model, test.subset(shown), config, device=first)
np.testing.assert_allclose(again, run.probabilities["centre"][shown], atol=0.02)

# %% [markdown]
# ## Paper, 2012 log, later studies, this run
#
# The error rates of the paper are for ImageNet's 1000 classes; other scales have other tasks and do not
# test them. The scatter over seeds is unknown for a single run, so no effect gets a verdict from it.

# %%
entries = scorecard.card([run.row], job.scale == "sample" or runs.are_evidence([run.row]))
lines = [
    scorecard.cells(entry["claim"], next(iter(entry["lines"]), None))
    for entry in entries
    if entry["claim"].rule in ("ten-views", "error")
]
pd.DataFrame(lines).drop(columns=["detectable", "where", "device"]).style.hide()

# %% [markdown]
# The errors of this run. Their 95 % intervals are over the test images only, not over seeds.

# %%
errors.style.hide().format(precision=2)

# %%
Markdown(
    f"Code {run.row['commit']}, torch {run.row['versions']['torch']}, {run.row['device']},"
    f" seed {run.row['seed']}, started {run.row['started']},"
    f" training images {run.row['data']['train']}."
)

# %% [markdown]
# ## Limits and next
#
# One seed says nothing about the scatter: in the logs of 2012, almost equal runs differ by as much as some
# of the paper's effects (claim `run-scatter` of the register). Smaller scales change the task and the number
# of steps, and most of them the width or the size of the images. Only ImageNet itself can show which of the
# two configs is closer to the paper's numbers. Next: notebook 05 looks into the net that was trained here.
#
# ## Try it
#
# Write your prediction down first, then run. Answers: `notebooks/solutions/04_train`.
#
# 1. **LRN.** What happens to the three outputs of `lrn` if the activation of 200 is 2000 instead? For a
#    single map, without neighbours, does a larger activation always give a larger output?
# 2. **Groups.** How many weights does conv2 have with `groups=1`, and with `groups=4`? Do the multiply-adds
#    change by the same factor?
# 3. **The update rule.** The rate is divided by 10 before the third of three steps. If only the `lr` of
#    `torch.optim.SGD` is changed, is this step longer or shorter than with the paper's rule?
# 4. **The learning rate.** Train `ByHand(1 / 16, 10)` for 30 steps with the rates 0.0002, 0.002 and 2.
#    Which loss is the lowest at the end? What does the loss do at the highest rate? (Load the weights of
#    `models.build(paper.replace(width=1 / 16))` into it first; use `two_x`, `two_labels` and `batches`.)
# 5. **The other config.** Change `ByHand` into the net of `source2012`: alpha of both LRNs is 2e-5; layer 1
#    has LRN, pool, ReLU in this order; layer 2 has a `SpatialResponseNorm` before its pool. Check the scores
#    against the library.
# 6. **No answer "none".** Give the net an image of none of its classes, e.g. noise. What is the lowest value
#    that its highest probability can have? Look for an image about which the net is certain, but wrong.
