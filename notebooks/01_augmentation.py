# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 Augmentation
#
# **Question.** What happens to an image on its way into the net, and how much does it help?
#
# **The paper says** (section 4.1): random 224 x 224 crops and their mirror images enlarge the training
# set 2048 times, and without them the net overfits substantially. Noise along the principal components
# of colour lowers the top-1 error by over one point. The CPU makes both while the GPU trains, so they
# cost no time. In testing, the predictions for ten views of an image are averaged.
#
# **What we will see.** How many crops there really are; the colour noise of the text and that of the
# code of 2012 on the same image; the ten views; an image with controls to change the augmentation; and
# the effect of crops with flips and that of colour noise, each measured by leaving it out.
#
# **You need:** the paper, section 4.1, and the colour components of notebook 00.
#
# **You will have:** crop, flip and colour noise as three functions of a single image, with the same results
# as the library's functions for mini-batches; and the effects of augmentation on a small net.
#
# **Time:** 50 s (65 s the first time) at the `sample` scale, measured on two cores. This scale has crops of
# 128 pixels from images of 146; `fields={"input": 224, "validation": 0.2}` gives the paper's sizes.
# With photographs, the time depends on the epochs of the runs; the option `share` and the field `width`
# reduce it.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
scale: str = "sample"  # sample, imagenette128, miniimagenet, imagenette or imagenet
spec: str = "source2012"  # source2012 or paper: the config that is trained
epochs: int = 2  # of each run at the end; 0: the scale's own
seeds: int = 1  # runs of each variant, with seeds 0, 1, ...; an interval needs at least two
fields: dict = {"validation": 0.2}  # fields of the config to change: batch, lr, width, ...
options: dict = {}  # rarer settings, explained in the next cell: device, share, data, on_error, pictures

# %%
from alexlib.notebook import parameters

options = parameters(
    globals(),
    device="auto",  # auto, cpu, cuda or cuda:1
    share=1.0,  # of the training images that the runs use; with fewer images a net overfits sooner
    data="",  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's images
    on_error="raise",  # raise or skip: what to do with images that cannot be decoded
    pictures=True,  # False shows a generated image instead of a photograph, to publish a report
)

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Code, Markdown

from alexlib import figures, paper
from alexlib.config import config_at, scale_of
from alexlib.data import augment, synthetic
from alexlib.data.images import generator
from alexlib.data.prepare import load
from alexlib.models import build
from alexlib.study import measures, runs, scorecard
from alexlib.training import loop, machine

# %% [markdown]
# A wrong value causes an error in the next cell, before anything is loaded; the message lists the valid ones.

# %%
device = machine.pick_device(options["device"])
base = config_at(spec, scale, epochs=epochs or None, **fields)
size = base.net.input

# %%
place = scale_of(scale)
training, test = load(options["data"] or place.source, place.side_for(base), options["on_error"])
base, side = base.replace(classes=len(training.classes)), training.side
own = training.gather([min(4, len(training) - 1)])[0]
image = own if options["pictures"] else synthetic.image(2012, "train", 4, side)[0]
Markdown(
    f"{len(training):,} training images, {len(test):,} test images: {training.origin};"
    f" {len(training.skipped) + len(test.skipped)} left out because they could not be decoded."
)

# %% [markdown]
# The settings of section 4.1 in the two configs of this study:

# %%
settings = {name: config_at(name, scale).augment for name in ("paper", "source2012")}
table = pd.DataFrame({name: vars(one) for name, one in settings.items()})
table["meaning"] = pd.Series({row["field"]: row["meaning"] for row in base.table()})
table.style.format(precision=3)

# %% [markdown]
# ## Crops and mirror images
#
# The paper counts $32 \times 32 \times 2 = 2048$ crops with their mirror images. A crop of 224 pixels
# has 33 positions on a side of 256, 0 to 32. The code of 2012 draws from all of them, which makes
# $33 \times 33 \times 2 = 2178$.

# %%
positions = 256 - 224 + 1
assert positions**2 * 2 == 2178
assert (positions - 1) ** 2 * 2 == paper.CONSTANTS["crops_and_flips"].value == 2048

# %% [markdown]
# A crop and a mirror image are one line each:


# %% tags=["by-hand"]
def crop(image, top, left, size):
    return image[top : top + size, left : left + size]


def flip(image):
    return image[:, ::-1]  # the columns in reverse order


# %% [markdown]
# All positions of the upper left corner (white) at the scale of this notebook, and three crops at random
# positions; the last one is mirrored.

# %%
positions = side - size + 1
bare = {"xticks": [], "yticks": [], "frame_on": False}
figure, axes = figures.new_figure(8, 2.4, 1, 4, subplot_kw=bare)
axes[0].imshow(image)
axes[0].plot(*np.mgrid[:positions, :positions].reshape(2, -1), ".", ms=0.7, color="white", alpha=0.6)
corners = np.random.default_rng(0).integers(positions, size=(3, 2))
for axis, colour, (top, left) in zip(axes[1:], ("blue", "red", "black"), corners, strict=True):
    axes[0].add_patch(plt.Rectangle((left, top), size, size, fill=False, ec=colour, lw=1.5))
    cut = crop(image, top, left, size)
    axis.imshow(flip(cut) if colour == "black" else cut)
    axis.set_xlabel(f"top {top}, left {left} pixels", color=colour)
figure

# %% [markdown]
# The library draws the positions for a whole mini-batch, and then cuts out the crops:

# %%
Code(inspect.getsource(augment.random_windows), language="python")

# %% [markdown]
# All positions are equally likely, including those at the edge. Left: how often each one was drawn. Right:
# how many positions were drawn a given number of times, and a Poisson distribution (line).

# %%
from scipy import stats

windows = augment.random_windows(100_000, side, size, settings["paper"], generator(0, 0, "look"))
drawn = np.zeros((positions, positions), int)
np.add.at(drawn, (windows[0], windows[1]), 1)
times, how_many = np.unique(drawn, return_counts=True)
figure, axes = figures.new_figure(8, 2.6, 1, 2)
figure.colorbar(axes[0].imshow(drawn, cmap="Greys", vmin=0), label="draws")
axes[0].set(xlabel="column of the crop", ylabel="row")
axes[1].bar(times, how_many, width=1, color=figures.PALE)
axes[1].plot(times, positions**2 * stats.poisson(drawn.mean()).pmf(times), color=figures.RED)
axes[1].set(xlabel="draws of a position", ylabel="positions")
figure

# %% [markdown]
# The 2012 code drew one position and one flip for every 32 successive images (the field `chunk`), which
# makes four draws in a mini-batch of 128. The images of a mini-batch are therefore less varied.

# %%
counts = {}
for name, setting in settings.items():
    windows = augment.random_windows(128, side, size, setting, generator(0, 0, "look"))
    counts[name] = len(torch.stack(windows).unique(dim=1).T)
pd.DataFrame([counts], index=["different crops in a mini-batch of 128"]).style

# %% [markdown]
# `augment.crop` crops a mini-batch at once. The two functions above, image by image, give the same result:

# %%
eight = torch.tensor(training.gather(np.arange(len(training))[:8]))  # (8, side, side, 3)
windows = augment.random_windows(len(eight), side, size, settings["paper"], generator(0, 1, "look"))
by_library = augment.crop(eight, *windows, size)
for pixels, top, left, mirrored, expected in zip(eight.numpy(), *windows, by_library, strict=True):
    cut = crop(pixels, top, left, size)
    assert np.array_equal(flip(cut) if mirrored else cut, expected)

# %% [markdown]
# ## Colour noise
#
# The same three numbers are added to every pixel of an image,
#
# $$\sum_i \alpha_i s_i\, p_i, \qquad \alpha_i \sim N(0,\, 0.1)$$
#
# 0.1 is a standard deviation, and $p_i$ are the principal components of colour (notebook 00). In the text
# $s_i = \lambda_i$, the variance along $p_i$; in the code it is the root, $s_i = \sqrt{\lambda_i}$. A
# variance depends on the unit of the pixels: with pixels in 0..255 the noise of the text would have a
# standard deviation of more than a thousand grey levels. The config `paper` therefore takes the variance of
# pixels in 0..1.

# %%
values, vectors = torch.tensor(training.eigenvalues), torch.tensor(training.eigenvectors)
noise_axes = {reading: augment.colour_axes(values, vectors, reading) for reading in ("root", "eigenvalue")}


# %% [markdown]
# By hand, with the root, for one image:


# %% tags=["by-hand"]
def colour_noise(image, alpha):
    shift = sum(alpha[i] * values[i].sqrt() * vectors[:, i] for i in range(3))  # red, green and blue
    return image + shift


alpha = torch.tensor([0.1, -0.1, 0.1], dtype=torch.float64)
by_hand = colour_noise(torch.zeros(1, 1, 3), alpha)
assert torch.allclose(augment.colour_noise(alpha, noise_axes["root"]), by_hand)
Markdown("This adds R {:+.1f}, G {:+.1f}, B {:+.1f} grey levels to every pixel.".format(*by_hand.flatten()))

# %% [markdown]
# ### The three together
#
# The library draws all random numbers of a mini-batch first (`augment.draw`). `augment.training_input`
# then makes the input of the net: crops, minus the centre of the mean image, plus the noise. The three
# functions do the same image by image. (The code of 2012 also divides the sum by 1.1.)

# %%
mean, config = torch.tensor(training.mean), base.replace(chunk=1, colour="root", divide=1.0)
draws = augment.draw(len(eight), side, size, config.augment, generator(0, 2, "look"))
by_library = augment.training_input(eight, mean, noise_axes["root"].float(), size, config.augment, draws)


# %% tags=["by-hand"]
def to_input(image, top, left, mirrored, alpha):
    cut = crop(image, top, left, size)
    cut = flip(cut) if mirrored else cut
    centred = torch.tensor(cut.copy()) - augment.centre_crop(mean, size)
    return colour_noise(centred, alpha).permute(2, 0, 1)  # (3, size, size)


by_hand = torch.stack([to_input(*one) for one in zip(eight.numpy(), *draws, strict=True)])
assert torch.allclose(by_library, by_hand.float(), atol=1e-3)  # grey levels

# %% [markdown]
# The mean of many draws is 0, and their covariance is that of the formula above. Each image has one
# shift. The standard deviations along the components:

# %%
alphas = 0.1 * torch.randn(100_000, 3, generator=generator(0, 0, "look"))
shifts = augment.colour_noise(alphas, noise_axes["root"])  # (100000, 3)
drawn = pd.DataFrame(
    {"drawn": (shifts @ vectors).std(0), "0.1 x root of the eigenvalue": 0.1 * values.sqrt()}
)
np.testing.assert_allclose(drawn["drawn"], drawn.iloc[:, 1], rtol=0.02)
drawn.set_axis(["smallest", "second", "largest"]).style.format(precision=2)

# %% [markdown]
# ### Both kinds of noise, and the copied constants, on the same image
#
# The numbers above each column are $(\alpha_1, \alpha_2, \alpha_3)$, starting with the smallest component;
# the numbers below each image are the shift. The first two columns are two standard deviations of the
# largest component alone; the others are drawn at random. "Copied" uses the constants of notebook 00
# in the same way as training scripts do.

# %%
copied = torch.tensor(paper.COPIED_VECTORS, dtype=torch.float64).T
signs = (copied * vectors).sum(0).sign()  # an axis may point either way
copied = copied * signs * torch.tensor(paper.COPIED_EIGENVALUES) * 255
kinds = {
    "2012 code: root": noise_axes["root"],
    "text: eigenvalue": noise_axes["eigenvalue"],
    "copied": copied,
}
alphas = np.vstack([[[0, 0, -0.2], [0, 0, 0.2]], np.random.default_rng(1).normal(0, 0.1, (4, 3))])
shifts = np.stack([alphas @ matrix.numpy().T for matrix in kinds.values()])  # (3 kinds, 6, 3)


# %%
def shifted(image, shift):
    return (image + shift).round().clip(0, 255).astype(np.uint8)


# %%
tinted = shifted(image, shifts[:, :, None, None])  # (3, 6, side, side, 3)
whole = shifts.reshape(-1, 3).round().astype(int)
texts = ["R {:+d}, G {:+d}, B {:+d}".format(*shift) for shift in whole]
heads = {i: "{:.2f}, {:.2f}, {:.2f}".format(*alpha) for i, alpha in enumerate(alphas)}
figure = figures.image_rows(tinted, np.arange(len(texts)).reshape(len(kinds), -1), texts, heads=heads)
figure.set_size_inches(9, 5)
for axis, name in zip(figure.axes[:: len(alphas)], kinds, strict=True):
    axis.set_ylabel(name)
figure

# %% [markdown]
# The same noise as a transform for torchvision, for use in other projects:

# %%
from torchvision.transforms import v2


class ColourNoise(v2.Transform):  # of float images (3, H, W); axes: from augment.colour_axes
    def __init__(self, axes, generator=None):
        super().__init__()
        self.axes, self.generator = axes.float(), generator

    def transform(self, image, params):
        alpha = 0.1 * torch.randn(3, generator=self.generator)
        return image + (self.axes @ alpha)[:, None, None]


# %%
noise = ColourNoise(noise_axes["root"], generator(0, 1, "look"))
alpha = 0.1 * torch.randn(1, 3, generator=generator(0, 1, "look"))
expected = augment.colour_noise(alpha, noise_axes["root"].float())
torch.testing.assert_close(noise(torch.zeros(3, 2, 2))[:, 1, 1], expected[0])

# %% [markdown]
# ## Ten views
#
# In testing nothing is random. There are ten views: the four corners, the centre, and their mirror
# images. The net's ten softmax outputs are averaged.

# %%
one = torch.tensor(image)[None]
ten = torch.cat(list(augment.views(one, size, "ten")))  # (10, size, size, 3)
names = ["top left", "top right", "bottom left", "bottom right", "centre"]
names += [f"{name}, mirrored" for name in names]
figure = figures.image_rows(ten.view(2, 5, size, size, 3).numpy(), np.arange(10).reshape(2, 5), names)
figure.set_size_inches(8, 3.6)
figure

# %% [markdown]
# These are the views of torchvision's `TenCrop`, which has the mirrored ones in another order.

# %%
theirs = torch.stack(v2.TenCrop(size)(one[0].permute(2, 0, 1))).permute(0, 2, 3, 1)
assert torch.equal(ten, theirs[[0, 1, 2, 3, 4, 6, 5, 8, 7, 9]]) and torch.equal(ten[5:], ten[:5].flip(2))

# %% [markdown]
# ## An image with controls
#
# In JupyterLab, the controls move the crop and set the three coefficients (noise of the 2012 code; in
# training they are drawn with a standard deviation of 0.1). The controls work while later cells are still
# training. The image after them is for readers of a report, in which the controls do not work.

# %%
import io

import ipywidgets as widgets
from PIL import Image, ImageDraw


# %%
def noisy_crop(top, left, mirrored, *alpha):
    cut = crop(image, top, left, size)
    return shifted(flip(cut) if mirrored else cut, noise_axes["root"].numpy() @ alpha)


def panel(top, left, mirrored, *alpha):
    whole, corner = Image.fromarray(image), (side - size) // 2
    ImageDraw.Draw(whole).rectangle((left, top, left + size - 1, top + size - 1), outline="red", width=2)
    frame = np.full_like(image, 255)
    frame[corner:, corner:][:size, :size] = noisy_crop(top, left, mirrored, *alpha)
    return Image.fromarray(np.hstack([whole, frame])).resize((640, 320))


# %%
look = dict(style={"description_width": "300px"}, layout={"width": "640px"})
pixel = dict(min=0, max=side - size, value=(side - size) // 2, **look)
names = ["top edge of the crop, pixels", "left edge of the crop, pixels"]
controls = [widgets.IntSlider(description=name, **pixel) for name in names]
controls.append(widgets.Checkbox(description="mirrored", **look))
for name in ("smallest", "second", "largest"):
    text = f"coefficient, {name} axis (0.1 = 1 std)"
    controls.append(widgets.FloatSlider(0, min=-0.4, max=0.4, step=0.05, description=text, **look))

# %% [markdown]
# Changing a control redraws the image:


# %%
def png(panel):
    panel.save(file := io.BytesIO(), format="png", compress_level=1)
    return file.getvalue()


def change(_=None):
    now = [control.value for control in controls]
    shown.value, shift = png(panel(*now)), noise_axes["root"].numpy() @ now[3:]
    below.value = "noise: R {:+.0f}, G {:+.0f}, B {:+.0f} grey levels".format(*shift)


# %%
shown, below = widgets.Image(width=640), widgets.Label()
for control in controls:
    control.observe(change, "value")
    vars(control.comm).pop("_reply_subshell_id", None)  # else ipykernel 7.4 answers after the last cell
change()
widgets.VBox([*controls, shown, below])

# %% [markdown]
# The image for one setting of the controls: top edge 0, left edge at its maximum, mirrored, coefficients
# 0.1, -0.1 and 0.2.

# %%
panel(0, side - size, True, 0.1, -0.1, 0.2)

# %% [markdown]
# ## What it costs
#
# In the paper the CPU made the mini-batches while the GPU trained. Here they are made on the device
# that trains. We measure the time to make an augmented mini-batch and one of plain centre crops, and the
# time of a forward and a backward pass.

# %%
import timeit

import torch.nn.functional as F

n = min(base.train.batch, len(training))
first = torch.randperm(len(training), generator=generator(0, 0, "order"))[:n]
pixels = torch.from_numpy(training.gather(first)).to(device)
labels = torch.from_numpy(training.labels[first]).to(device)
mean, colour = torch.tensor(training.mean, device=device), loop.colour_axes(training, base, device)
model, random = build(base).to(device, memory_format=torch.channels_last), generator(0, 0, "time")


# %%
def augmented():
    draws = augment.draw(n, side, size, base.augment, random)
    return augment.training_input(pixels, mean, colour, size, base.augment, draws)


def plain():
    return augment.to_input(augment.centre_crop(pixels, size), augment.centre_crop(mean, size))


# %%
x = plain()


def step():
    with machine.autocast(device, base.train.precision):
        scores = model(x).float()
    F.cross_entropy(scores, labels).backward()


# %% [markdown]
# Python continues while a GPU is still computing, so we wait for the GPU. The times are in milliseconds
# for a mini-batch, medians of seven repeats.


# %%
def seconds(work):
    def finished():
        work()
        torch.cuda.synchronize() if "cuda" in device else None

    return timeit.repeat(finished, number=1, repeat=7)


# %%
works = {"augmented mini-batch": augmented, "centre crops": plain, "forward and backward": step}
times = {name: seconds(work) for name, work in works.items()}
medians = {name: np.median(repeats) for name, repeats in times.items()}
pd.DataFrame({"ms for a mini-batch": medians}).mul(1000).style.format(precision=1)

# %% [markdown]
# Augmentation has a measurable cost if the augmented mini-batches take longer than the centre crops
# according to a one-sided rank test at 5 % (Mann and Whitney).

# %%
made, cropped, trained = medians.values()
test_of_ranks = stats.mannwhitneyu(*list(times.values())[:2], alternative="greater")
slower = made > cropped and test_of_ranks.pvalue < 0.05
cost = f"{(made + trained) / (cropped + trained) - 1:.1%}" if slower else "no measurable time"
Markdown(
    f"{n / (made + trained):.0f} training images/s with augmentation, {n / (cropped + trained):.0f} without"
    f" (mini-batches of {n} on `{device}`): augmentation adds **{cost}**."
)

# %% [markdown]
# ## What it gains
#
# We train one net with all of the augmentation, one without crops and flips (always the centre crop),
# and one without colour noise. Runs with the same seed have the same initial weights and the same
# validation images. First, the settings in which each variant differs from the baseline:

# %%
variants = {
    "baseline": {},
    "no-crops-flips": {"crop": "centre", "flip": False},
    "no-colour-noise": {"colour": "none"},
}
configs = {name: base.replace(**changes) for name, changes in variants.items()}
differences = {
    name: {field: new for field, (_, new) in base.changes(config).items()} for name, config in configs.items()
}
pd.DataFrame(differences).T.fillna("as baseline").style

# %%
share = options["share"]
few = training if share >= 1 else training.holdout(1 - share, seed=0)[0]
jobs = [
    runs.Job("01_augmentation", name, config, scale, seed)
    for seed in range(seeds)
    for name, config in configs.items()
]
found = runs.grid(jobs, few, test, device=device)

# %%
Markdown(
    f"{len(found)} runs of {found.epochs[0]} epochs on {len(few):,} images, of which"
    f" {base.train.validation:.0%} are held out for validation; tested on {len(test):,} images."
    f" Width {base.net.width:g}, on {found.device[0]}."
)

# %% [markdown]
# The training error is measured in eval mode, on the centre crop, without augmentation. Older rows do
# not have it in every epoch. If one of them is shown, the figure has the running error of all runs: the mean
# over an epoch, in training mode and with augmentation.

# %%
histories = {name: [r["history"] for r in group.row] for name, group in found.groupby("variant", sort=False)}
in_eval_mode = all(epoch.get("plain_top1") is not None for row in found.row for epoch in row["history"])
running = {"train_top1": "Training error, running"}
panels = {"plain_top1": "Training error, eval mode"} if in_eval_mode else running
chance = 1 - 1 / len(training.classes)
figures.learning_curves(histories, chance, panels | {"val_top1": "Validation error"})

# %% [markdown]
# Overfitting is the test error minus the training error. Both are measured in eval mode (without
# dropout), on the centre crop, without augmentation. The test error itself matters too; it is measured
# with ten views.

# %%
Code(
    inspect.getsource(measures.overfitting) + "\n\n" + inspect.getsource(measures.test_error),
    language="python",
)

# %% [markdown]
# Each effect is a difference of means over seeds, "without" minus "with". Using ten views is itself a
# kind of augmentation, so the effect on the error of the centre view is shown too.

# %%
rows = list(found.row)
effects = scorecard.effects(rows, runs.are_evidence(rows))
repeated = sum(min(effect["n"]) > 1 for effect in effects)
figures.forest(effects, f"{len(effects)} effects, {repeated} of at least two runs in each arm")

# %% [markdown]
# ## Paper and this study
#
# Effects in percentage points, "without" minus "with". The intervals include the uncertainty from seeds
# and from test images (docs/protocol.md). The test error is measured with ten views. The 2012 logs contain
# no such pairs of runs.

# %%
table = pd.DataFrame(effects)[["name", "paper", "value", "low", "high", "n", "detectable", "verdict"]]
table["n"] = [" + ".join(map(str, n)) for n in table["n"]]
table = table.astype({"paper": float}).replace([np.inf, -np.inf], np.nan)
table.style.hide().format(precision=2, na_rep="-")

# %% [markdown]
# The errors of all runs by seed, in per cent: on the test images (ten views) and on training images.

# %%
errors = found.rename(columns={"top1": "test error, %", "training": "training error, %"})
errors = errors.pivot(index="variant", columns="seed", values=["test error, %", "training error, %"])
errors.rename_axis(None).style.format(precision=1, na_rep="-")

# %% [markdown]
# ## Checks that hold at every scale

# %%
assert set(zip(found.variant, found.seed, strict=True)) == {(v, s) for v in configs for s in range(seeds)}
assert all(np.isfinite(epoch["train_loss"]) for row in found.row for epoch in row["history"])
assert len({row["data"]["train"] for row in found.row}) == 1 and found.epochs.nunique() == 1
assert {effect["variant"] for effect in effects} == {*configs} - {"baseline"}

# %% [markdown]
# ## Try it
#
# Write down what you expect first, then run. The answers are in `solutions/01_augmentation.ipynb`.
#
# 1. What happens to the number of different crops, including mirror images, if a crop from an image of
#    256 pixels has 192 pixels instead of 224? And with 255?
# 2. What happens to the mean image if mirror images are added to the training set? And to the colour
#    components?
# 3. What happens to the number of different crops in a mini-batch of 128 if `chunk` is 1, 32 or 128?
# 4. What happens to an image if the text of the paper is taken literally, with the variance of pixels in
#    0..255? What share of its channel values ends up at 0 or 255?
# 5. Does the order of noise and flip matter? Does the order of crop and flip matter? Try it with the three
#    functions. For arrays, add `colour_noise(torch.zeros(1, 1, 3), alpha).numpy()` to an image.
# 6. An experiment: train a small net on few images, with and without random crops and flips (`models.build`,
#    `loop.fit` and `loop.evaluate`). What happens to its training error and to its test error?

# %% [markdown]
# ## Limits and next
#
# A short run on few images measures an effect at this length of training only. Augmentation slows down
# learning, so it can raise the error of a short run, but lower the error after ninety epochs of ImageNet.
# While it adds colour noise, the 2012 code also divides its input by 1.1, and it stops both before the
# end of the run. The variant `no-colour-noise` leaves out all of this. Notebook 03 measures these and
# the other parts of the method at larger scales; notebook 04 trains the net itself.
