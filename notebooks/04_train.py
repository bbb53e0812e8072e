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
# **Question.** Does the net of the paper learn as described, from pixels to class probabilities, and
# what do its first layer and its errors look like?
#
# **The paper says** (sections 3 to 6): there are five convolutional and three fully connected layers with
# 60 million parameters, in two towers that exchange data in certain layers only. Training is stochastic
# gradient descent with momentum. One net has a top-5 error of 18.2 % on ILSVRC-2012, averaged over ten
# views of each image.
#
# **Two configs.** `paper` follows the text (docs/fidelity.md lists where it cannot). `source2012` is the
# net of run 145, which produced the paper's numbers, with the schedule of run 170; both files were released
# in 2025. The two differ in a dozen settings, which are listed below.
#
# **Run time.** `sample`: generated images, a few minutes on a laptop. `imagenette`: hours on a CPU,
# minutes on a GPU. `imagenet`: you must supply your own copy, and at least one GPU.

# %% [markdown]
# ## Parameters
#
# Change them here, or from a shell: `papermill notebooks/04_train.ipynb out.ipynb -p scale
# imagenette -p epochs 12`.

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
    folder="",  # a run below runs/ to show as it is now, e.g. while torchrun trains it; "": train here
    weights="",  # a run or a file of weights to start from; "": new ones
    data="",  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's images
    on_error="raise",  # raise or skip: what to do with images that cannot be decoded
    pictures=True,  # False leaves photographs out of the figures, for reports that are published
)

# %% [markdown]
# What this notebook uses of Python's libraries and of `alexlib`:

# %%
import inspect
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Code, Markdown
from scipy.stats import binomtest

# %%
from alexlib import figures, models
from alexlib.config import config_at, runs_root, scale_of
from alexlib.data import augment, prepare
from alexlib.models.two_gpu import crossings
from alexlib.study import features, runs, scorecard
from alexlib.training import loop, optim
from alexlib.training.machine import pick_towers

# %% [markdown]
# A wrong value causes an error here, before anything is loaded; the message lists the valid ones. A run
# with other fields than its config has their names in the name of its folder.

# %%
job = runs.Job.training(spec, scale, seed, options["weights"], epochs=epochs or None, **fields)
if options["folder"]:
    job = runs.Job.of(json.loads((runs_root() / options["folder"] / "config.json").read_text()))
chosen, device = scale_of(job.scale), pick_towers(options["device"], job.scale)

# %% [markdown]
# The settings in which the two configs differ. This run uses one of the two columns; every field can also
# be changed alone.

# %%
full = {name: config_at(name, "imagenet") for name in ("paper", "source2012")}
differ = full["paper"].changes(full["source2012"])
meaning = {row["field"]: row["meaning"] for row in job.config.table()}
table = [(field, *values, meaning[field]) for field, values in differ.items()]
pd.DataFrame(table, columns=["field", "paper", "source2012", "meaning"]).style.hide()

# %% [markdown]
# ## The images
#
# Images are packed when they are first used: the shorter side is scaled to 256 pixels, the central square
# is cut out, and all images are written to one file of bytes, which opens at once later. The net sees crops
# of 224 pixels in 0..255 minus the mean image. Nothing is divided by a standard deviation.

# %%
source, side = options["data"] or chosen.source, chosen.side_for(job.config)
training, test = prepare.load(source, side, options["on_error"])
classes = training.classes
job = replace(job, config=job.config.replace(classes=len(classes)))
config, left_out = job.config, len(training.skipped) + len(test.skipped)
Markdown(
    f"**{len(training):,}** training and **{len(test):,}** test images, {len(classes)} classes:"
    f" {training.origin}. {left_out} images were left out because they could not be decoded."
)

# %% [markdown]
# Three training images of each class, of ten classes at most:

# %%
per_class = min(3, np.bincount(training.labels).min())
indices = [np.flatnonzero(training.labels == label)[:per_class] for label in range(len(classes))[:10]]
indices = np.stack(indices, 1)
sheet = figures.image_rows(training.gather(indices), training.labels[indices], classes)
sheet if options["pictures"] else Markdown("*Photographs are left out of this report.*")

# %% [markdown]
# ## The net
#
# Figure 2 of the paper, layer by layer. *Neurons* are the outputs of layers with weights, *macs* the
# multiply-adds for one image. The two towers are the two halves of the feature maps of every layer: conv2,
# conv4 and conv5 read their own half only.

# %%
layers = pd.DataFrame(models.shapes_and_cost(full[spec]))
totals = layers[["neurons", "parameters", "macs"]].sum()
assert totals.to_dict() == {"neurons": 659_272, "parameters": 60_965_224, "macs": 724_406_816}
layers.style.hide().format(lambda count: f"{count:,}" if count else "", subset=list(totals.index))

# %% [markdown]
# The paper says 60 million parameters and 650,000 neurons. Its Figure 2 gives 253,440 neurons for conv1.
# This is not 55 x 55 x 96 = 290,400, the only size that the next layer fits.

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
# layers only. `models.build(config, ("cuda:0", "cuda:1"))` is that net. Without a second GPU both towers
# can be on one device; the copies are then made all the same.
#
# The table has what is copied from one device to the other in a training step, for one image, counted from
# the net (a test counts the real copies). Without cross-talk between the towers, only the images and the
# scores would be copied.

# %%
crossing = pd.DataFrame(crossings(config)) if config.net.towers == 2 else pd.DataFrame()
crossing.style.hide().format(thousands=",")

# %%
copied = crossing.get(["forward", "backward"], pd.DataFrame()).sum().sum() * config.train.batch
Markdown(f"For a mini-batch of {config.train.batch} images **{copied / 1e6:.1f} MB** are copied.")

# %% [markdown]
# ### Local response normalisation, on three numbers
#
# $$b_i = a_i \Big/ \Big(k + \alpha \sum_{j=i-n/2}^{i+n/2} a_j^2\Big)^{\beta}$$
#
# Three feature maps at one position, with $k = 2$, $\alpha = 10^{-4}$, $\beta = 0.75$ and $n = 3$. A large
# neighbour makes the activation of a feature map smaller. (The parser of 2012 divides $\alpha$ by $n$, and
# so does torch.)

# %%
a = torch.tensor([10.0, 200.0, 50.0])
sums = torch.tensor([10.0**2 + 200**2, 10.0**2 + 200**2 + 50**2, 200.0**2 + 50**2])
by_hand = a / (2 + 1e-4 * sums) ** 0.75
by_hand

# %%
maps = a.view(1, 3, 1, 1)
by_layer = models.layers.LocalResponseNorm(n=3)(maps).flatten()
by_torch = F.local_response_norm(maps, 3, alpha=3 * 1e-4, beta=0.75, k=2).flatten()
torch.testing.assert_close(by_layer, by_hand)
torch.testing.assert_close(by_torch, by_hand)

# %% [markdown]
# ### The update rule
#
# $$v \leftarrow 0.9\,v - 0.0005\,\varepsilon\,w - \varepsilon\,g, \qquad w \leftarrow w + v$$
#
# The learning rate $\varepsilon$ is a factor inside the velocity $v$. After the rate is lowered, the old
# velocity, which was built up at the old rate, has an effect for some more steps. One weight and three
# steps; the rate is lowered before the last one:

# %%
w, v, g = 1.0, 0.0, 2.0
steps = []
for rate in (0.1, 0.1, 0.01):
    v = 0.9 * v - 0.0005 * rate * w - rate * g
    w = w + v
    steps.append(w)
steps

# %%
weight = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.ones_(weight.weight)
optimizer = optim.make_optimizer(weight, full["paper"].train)
for rate in (0.1, 0.1, 0.01):
    optim.set_learning_rates(optimizer, rate, rate)
    weight.weight.grad = torch.tensor([[g]])
    optimizer.step()
np.testing.assert_allclose(weight.weight.item(), steps[-1], rtol=1e-6)

# %% [markdown]
# The library uses torch's fused step and rescales its momentum buffer whenever the rate changes:

# %%
Code(inspect.getsource(optim.set_learning_rates), language="python")

# %% [markdown]
# ## Before training: activations and gradients
#
# The paper draws all weights from N(0, 0.01). Run 145 used a standard deviation of 0.03 in conv3 to conv5.
# One mini-batch through both untrained nets shows the effect on the sizes of the activations, layer by
# layer, and of the gradients.

# %%
some = np.linspace(0, len(training) - 1, 64).astype(int)
pixels, labels = torch.tensor(training.gather(some)), torch.tensor(training.labels[some])
mean = augment.centre_crop(torch.tensor(training.mean), config.net.input)
x = augment.to_input(augment.centre_crop(pixels, config.net.input), mean)

# %%
changed = fields | {"epochs": epochs or None, "classes": len(classes)}
both = {name: config_at(name, job.scale, **changed) for name in full} | {config.name: config}
at_start = {}
for name, one in both.items():
    torch.manual_seed(job.seed)
    at_start[name] = features.signals(models.build(one), x, labels)
figures.signal_sizes(at_start)

# %% [markdown]
# ## Training
#
# There is one loop, in `alexlib.training.loop.fit`: random crops and mirror images, minus the mean, plus
# colour noise; then forward pass, loss, backward pass, update. Some training images are held out as a
# validation set for the learning curves and for the schedule `plateau`. The test images are used once, at
# the end. If a run was interrupted, running this cell again resumes it; a finished run is opened. A run
# that is trained by another process (option `folder`) is shown as it is now: run this cell and the
# following ones again to follow it.

# %%
if options["folder"]:
    run = runs.weights_so_far(options["folder"], training, test, device)
    assert run.row["history"], "the first epoch of this run has not ended yet: try again later"
else:
    run = runs.run(job, training, test, device=device)

# %%
history = run.row["history"]
Markdown(
    ("Trained now" if run.trained_now else "Opened")
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
# In the tests of the paper the softmax is averaged over ten views: the four corners, the centre, and the
# mirror images of these. With five classes or fewer, the top-5 error is always 0 and is left out.

# %%
measures, n = ("top1", "top5")[: 1 + (len(classes) > 5)], len(test)
errors = []
for measure in measures:
    for views, found in run.row["metrics"].items():
        ends = binomtest(round(found[measure] * n), n).proportion_ci(method="wilson")
        numbers = (100 * x for x in (found[measure], ends.low, ends.high))
        errors.append((f"{measure.replace('p', 'p-')}, {views}", *numbers))
errors = pd.DataFrame(errors, columns=["test error, %", "value", "low", "high"])

# %% [markdown]
# What ten views gain is measured as a difference on the same test images, so that its interval is
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
# other colour-specific. Each kernel is scaled to its own range here.

# %%
first_layer = run.model.conv1.weight.detach().float().cpu()
figures.kernels(first_layer, config.net.towers)

# %% [markdown]
# The *colour* of a kernel is the share of its energy that lies off the grey axis; a kernel without colour
# has 0. *p* is the probability that the means of two towers differ as much as here, or more, if the kernels
# are assigned to the towers at random. The figure has all runs of this scale that are on record.

# %%
found = []
for row in runs.read(scale=job.scale):
    if "colour" in row and row["history"]:
        name = f"{row['study'][:2]} {row['variant']}, seed {row['seed']}"
        found.append((name, *row["colour"]["means"], row["colour"]["p"]))
found = pd.DataFrame(found, columns=["run", "tower 1", "tower 2", "p"])
figures.tower_colours(found) if len(found) else Markdown("*No run is on record yet.*")

# %% [markdown]
# ### The speed on one device and on two
#
# Training images per second of this net, on one device and with one tower on each of two, measured in
# turns (the median of three, after one turn to warm up). If the two devices are the same one, the
# difference is the cost of the division itself.

# %%
first = device.split(",")[0]
places = {"one device": first, "two devices": device if "," in device else f"{first},{first}"}
places = places if config.net.towers == 2 else {"one device": first}
part = training.subset(range(min(len(training), 20 * config.train.batch)))
once, nothing = config.replace(epochs=1, target=0.0), training.subset([])

# %%
nets = {name: models.build(config, p.split(",") if "," in p else None) for name, p in places.items()}
speeds = []
for turn in range(4):
    for name, net in nets.items():
        (epoch,) = loop.fit(net, part, nothing, once, seed=turn, device=first, progress=False)
        speeds.append({"net": name, "turn": turn, "images/s": epoch["pictures_per_second"]})

# %%
speed = pd.DataFrame(speeds).query("turn > 0").groupby("net")["images/s"].median()
table = pd.DataFrame({"devices": places, "images/s": speed, "ratio": speed / speed["one device"]})
table.style.format(precision=2)

# %% [markdown]
# ## Predictions for test images
#
# The five most probable classes of some test images, averaged over ten views. The name of the true class
# is above the image, and its bar is green.

# %%
shown = np.random.default_rng(job.seed).choice(len(test), min(len(test), 6), replace=False)
probabilities = run.probabilities.get("ten", run.probabilities["centre"])[shown]
figures.predictions(test.gather(shown), test.labels[shown], probabilities, classes, options["pictures"])

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
# of steps, and `sample` also changes the width. Only ImageNet itself can show which of the two configs is
# closer to the paper's numbers. Next: notebook 05 looks into the net that was trained here.
