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
# **Question.** What happens to a picture on its way into the net, and how much does it help?
#
# **The paper says** (section 4.1): random 224 x 224 crops and their mirror images enlarge the
# training set 2048 times, and without them the net overfits substantially; noise along the
# principal components of colour lowers the top-1 error by over one point; both are made while
# the GPU trains, so they cost nothing. In testing, ten views are averaged.
#
# **What we will see.** How many crops there really are; the colour noise in the reading of the
# text and in that of the code of 2012, on one picture; the ten views; a picture to play with;
# and the effect of crops with flips and of colour noise, measured by leaving each out.
#
# **Run time.** `sample`: about two minutes, most of it training. Photographs: the runs take as
# long as their epochs; give `share` and `width` to shorten them.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
scale: str = "sample"  # sample, imagenette128, miniimagenet, imagenette or imagenet
spec: str = "source2012"  # source2012 or paper: which reading of AlexNet is trained
epochs: int = 6  # of each of the runs at the end; 0: the scale's own
seeds: int = 1  # runs of each variant, seeds 0, 1, ...; intervals need two at least
share: float = 1.0  # of the training pictures that the runs use: few of them overfit sooner
batch: int = 0  # pictures in a minibatch; 0: the scale's own
lr: float = 0.0  # learning rate at the start; 0: the scale's own
width: float = 0.0  # fraction of the kernels of every layer; 0: the scale's own
validation: float = 0.2  # share of those pictures held out for the curves
precision: str = "bf16"  # bf16 or fp32 matrices; weights and losses are always fp32
devices: str = "auto"  # auto, cpu, cuda, cuda:1
data: str = ""  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's pictures
on_error: str = "raise"  # raise or skip: what to do with pictures that cannot be decoded
pictures: bool = True  # False draws a generated picture in place of photographs, to publish a report

# %%
import inspect

import numpy as np
import pandas as pd
import torch
from IPython.display import Code, Markdown

from alexold import augment, batches, config, diagnostics, effects, gallery, paper, sample, study, transforms
from alexold import data as sets

# %% [markdown]
# A wrong value fails here, before anything is loaded, with the list of valid ones.

# %%
device = study.pick_device(devices)
given = dict(batch=batch, lr=lr, width=width, epochs=epochs)
chosen = {name: value for name, value in given.items() if value}
base = config.spec_at(spec, scale, validation=validation, precision=precision, **chosen)
size = base.net.input

# %%
training, test = sets.load(
    data or config.scale_of(scale).source, config.scale_of(scale).side, on_error=on_error
)
base = base.replace(classes=len(training.classes))
side = training.side
picture = training.gather([4])[0] if pictures else sample.picture(2012, "train", 4, side)[0]
left_out = len(training.skipped) + len(test.skipped)
Markdown(
    f"{len(training):,} training pictures, {len(test):,} for testing: {training.origin};"
    f" {left_out} left out, not decodable."
)

# %% [markdown]
# The settings of section 4.1 in the two readings of this study:

# %%
readings = {name: s.augment for name, s in config.SPECS.items()}
meaning = {row["field"]: row["meaning"] for row in base.rows() if row["part"] == "augment"}
table = [(field, *(getattr(a, field) for a in readings.values()), text) for field, text in meaning.items()]
pd.DataFrame(table, columns=["field", *readings, "meaning"]).style.hide().format(precision=3)

# %% [markdown]
# ## Crops and mirror images
#
# The paper counts $32 \times 32 \times 2 = 2048$. A window of 224 pixels has 33 places on a side
# of 256, 0 to 32: the code draws from all of them, and $33 \times 33 \times 2 = 2178$.

# %%
places = 256 - 224 + 1
assert places**2 * 2 == 2178 and (places - 1) ** 2 * 2 == paper.CONSTANTS["crops_and_flips"].value == 2048
gallery.crops(picture, size)

# %% [markdown]
# The library draws the places of a whole batch, then cuts:

# %%
Code(inspect.getsource(augment.random_windows), language="python")

# %% [markdown]
# All places are as likely as each other, the edges too:

# %%
top, left, mirrored = augment.random_windows(
    100_000, side, size, config.PAPER.augment, batches.generator(0, 0, "look")
)
gallery.place_counts(top, left, size, side)

# %% [markdown]
# The 2012 code drew one place and one flip for 32 pictures in a row, four in a minibatch of 128.
# That is `chunk`; the pictures of one batch then have much in common.

# %%
counts = {}
for name, settings in readings.items():
    windows = augment.random_windows(128, side, size, settings, batches.generator(0, 0, "look"))
    counts[name] = len(torch.stack(windows).unique(dim=1).T)
pd.DataFrame([counts], index=["different windows in a batch of 128"])

# %% [markdown]
# A window by hand and by the library, and its mirror image:

# %%
one = torch.tensor(picture)[None]
by_library = augment.crop(one, torch.tensor([5]), torch.tensor([20]), torch.tensor([True]), size)
by_hand = picture[5 : 5 + size, 20 : 20 + size][:, ::-1]
assert np.array_equal(by_library[0], by_hand)

# %% [markdown]
# ## Colour noise, on three numbers
#
# To every pixel of a picture the same three numbers are added,
#
# $$\sum_i \alpha_i s_i\, p_i, \qquad \alpha_i \sim N(0,\, 0.1)$$
#
# $p_i$ are the principal components of colour (notebook 00). The text says $s_i = \lambda_i$,
# the variance along $p_i$; the code used the root, $s_i = \sqrt{\lambda_i}$. A variance has a
# unit: with pixels in 0..255 the text would add thousands of grey levels, so it is read with
# pixels in 0..1 here.

# %%
values, vectors = torch.tensor(training.eigenvalues), torch.tensor(training.eigenvectors)
axes = {reading: augment.colour_axes(values, vectors, reading) for reading in ("root", "eigenvalue")}
alpha = torch.tensor([0.1, -0.1, 0.1], dtype=torch.float64)
by_hand = sum(alpha[i] * values[i].sqrt() * vectors[:, i] for i in range(3))
torch.testing.assert_close(axes["root"] @ alpha, by_hand)
by_hand

# %% [markdown]
# Many draws have mean 0 and the covariance that was asked for; every picture has one shift.

# %%
draws = augment.colour_noise(100_000, axes["root"], 0.1, batches.generator(0, 0, "look"))
stds = pd.DataFrame({"drawn": (draws @ vectors).std(0), "0.1 x root of the eigenvalue": 0.1 * values.sqrt()})
np.testing.assert_allclose(stds["drawn"], stds.iloc[:, 1], rtol=0.02)
stds.set_axis(["smallest", "second", "largest"]).style.format(precision=2)

# %% [markdown]
# ### Both readings, and the copied constants, on the same picture
#
# The numbers above each column are $(\alpha_1, \alpha_2, \alpha_3)$, the smallest component
# first. The first two columns are two standard deviations of the largest component alone, the
# others drawn at random. "Copied" uses the constants of notebook 00 as scripts do.

# %%
copied = torch.tensor(paper.COPIED_VECTORS, dtype=torch.float64).T
signs = (copied * vectors).sum(0).sign()  # an axis may point either way
copied = copied * signs * torch.tensor(paper.COPIED_EIGENVALUES) * 255
alphas = np.vstack([[[0, 0, -0.2], [0, 0, 0.2]], np.random.default_rng(1).normal(0, 0.1, (4, 3))])
rows_shown = {"2012 code: root": axes["root"], "text: eigenvalue": axes["eigenvalue"], "copied": copied}
gallery.colour_readings(picture, rows_shown, alphas)

# %% [markdown]
# The same noise in a torchvision pipeline of your own: `alexold.transforms`.

# %%
noise = transforms.ColourNoise(
    training.eigenvalues, training.eigenvectors, generator=batches.generator(0, 1, "look")
)
shifted = noise(torch.zeros(1, 3, 2, 2))
expected = augment.colour_noise(1, axes["root"].float(), 0.1, batches.generator(0, 1, "look"))
torch.testing.assert_close(shifted[0, :, 1, 1], expected[0])

# %% [markdown]
# ## Ten views
#
# In testing nothing is random: four corners, the centre, and their mirror images. The net's ten
# softmax outputs are averaged.

# %%
gallery.ten_views(picture, size)

# %%
ours = torch.stack(list(augment.views(one, size, "ten")))[:, 0]
theirs = torch.stack(transforms.TenViews(size)(one[0].permute(2, 0, 1)))
assert torch.equal(ours, theirs.permute(0, 2, 3, 1)) and torch.equal(ours[5:], ours[:5].flip(2))

# %% [markdown]
# ## Try it
#
# In JupyterLab, move the window and the three coefficients (2012 reading). The figure after it is
# for readers without a kernel.


# %%
def redraw(top, left, mirrored, smallest, second, largest):
    shift = axes["root"].numpy() @ [smallest, second, largest]
    return gallery.one_window(picture, top, left, mirrored, shift, size)


# %%
import ipywidgets as widgets

coefficient = dict(min=-0.4, max=0.4, step=0.05, value=0.0, continuous_update=False)
place = dict(min=0, max=side - size, value=(side - size) // 2, continuous_update=False)
moves = {name: widgets.IntSlider(**place, description=name) for name in ("top", "left")}
moves["mirrored"] = widgets.Checkbox(description="mirrored")
for name in ("smallest", "second", "largest"):
    moves[name] = widgets.FloatSlider(**coefficient, description=name)


# %% [markdown]
# A move draws the picture anew:


# %%
def move(_=None):
    shown.value = gallery.png(redraw(**{name: widget.value for name, widget in moves.items()}))


# %%
shown = widgets.Image(width=600)
for widget in moves.values():
    widget.observe(move, "value")
move()
widgets.VBox([*moves.values(), shown])

# %% [markdown]
# The same for one setting:

# %%
redraw(top=0, left=side - size, mirrored=True, smallest=0.1, second=-0.1, largest=0.2)

# %% [markdown]
# ## What it costs
#
# The paper made the batches on the CPU while the GPU trained. Here they are made on the device
# itself; the time of a training batch, beside that of the plain centre crop and of the step.

# %%
import timeit

import torch.nn.functional as F

from alexold import nets, train

# %%
n = min(base.train.batch, len(training))
pixels, labels = next(batches.Feed(training, device)(batches.order(len(training), n, seed=0, epoch=0)))
mean, colour = torch.tensor(training.mean, device=device), train.colour_axes(training, base, device)
plain = augment.to_input(augment.centre_crop(pixels, size), augment.centre_crop(mean, size))
model = nets.AlexNet(base).to(device, memory_format=torch.channels_last)


# %%
def step():
    with train.autocast(device, precision):
        scores = model(plain).float()
    F.cross_entropy(scores, labels).backward()


# %% [markdown]
# Both ways to make a batch, and one step of the net:

# %%
draws = batches.generator(0, 0, "time")
timed = {
    "augmented batch": lambda: augment.training_input(pixels, mean, colour, size, base.augment, draws),
    "centre crop": lambda: augment.to_input(
        augment.centre_crop(pixels, size), augment.centre_crop(mean, size)
    ),
    "forward and backward": step,
}
seconds = {name: timeit.repeat(made, number=1, repeat=7) for name, made in timed.items()}

# %% [markdown]
# Milliseconds for a batch, the median of seven:

# %%
costs = pd.DataFrame({"ms for a batch": {name: 1000 * np.median(s) for name, s in seconds.items()}})
costs.style.format(precision=1)

# %%
Markdown(diagnostics.augmentation_cost(*seconds.values(), batch=n, device=device))

# %% [markdown]
# ## What it gains
#
# One net with everything, one without crops and flips (always the centre), one without colour
# noise; the same seeds, so the same initial weights and held-out pictures. Before anything is
# trained, the settings in which each differs from the baseline:

# %%
variants = {
    "baseline": {},
    "no-crops-flips": {"crop": "centre", "flip": False},
    "no-colour-noise": {"colour": "none"},
}
specs = {name: base.replace(**fields) for name, fields in variants.items()}
pd.DataFrame(
    {name: {f: new for f, (_, new) in base.changes(s).items()} for name, s in specs.items()}
).T.fillna("as baseline")

# %%
from alexold import contrasts

few = training if share >= 1 else training.holdout(1 - share, seed=0)[0]
found = study.grid("01_augmentation", specs, range(seeds), scale, few, test, device=device)
Markdown(
    f"{len(found)} runs of {len(found[0]['history'])} epochs on {len(few):,} pictures, of which"
    f" {validation:.0%} are held out; tested on {len(test):,} pictures. Width {base.net.width:g},"
    f" on {found[0]['device']}."
)

# %%
contrasts.variant_curves(found)

# %% [markdown]
# Both errors are measured alike: in eval mode (no dropout), centre view, no augmentation. Rows from
# before that was so hold the running error of an epoch, on images as they were shown. What counts
# is the distance from the test error, and the test error itself.


# %%
Code(inspect.getsource(effects.overfitting) + inspect.getsource(effects.test_error), language="python")

# %% [markdown]
# Each effect is the difference of the means over seeds, without minus with. Ten views are
# augmentation themselves, so the error of the centre view comes first.

# %%
table = effects.variant_effects(found, evidence=study.rows.are_evidence(found))
known = sum(min(row["n"]) > 1 for row in table)
contrasts.forest(table, f"{len(table)} effects, {known} of at least two runs in each arm")

# %% [markdown]
# ## Paper and this study
#
# Effects in percentage points, "without" minus "with"; in the intervals seeds and test images both
# count (docs/protocol.md). The test error is that of ten views averaged. The 2012 logs
# hold no such pairs of runs.

# %%
columns = ["name", "paper", "value", "low", "high", "n", "detectable", "verdict"]
pd.DataFrame(effects.told(table))[columns].style.hide().format(precision=2, na_rep="-")

# %%
errors = pd.DataFrame(
    [(r["variant"], r["seed"], effects.test_error(r), effects.training_error(r)) for r in found],
    columns=["variant", "seed", "test error, %", "training error, %"],
)
errors.pivot(index="variant", columns="seed").style.format(precision=1, na_rep="-")

# %% [markdown]
# ## Checks that hold at every scale

# %%
assert {(r["variant"], r["seed"]) for r in found} == {(v, s) for v in specs for s in range(seeds)}
assert all(np.isfinite(h["train_loss"]) for r in found for h in r["history"])
assert len({r["data"]["train"] for r in found}) == 1 and len({len(r["history"]) for r in found}) == 1

# %% [markdown]
# ## Limits and next
#
# Short runs on few pictures say whether an effect is there, not how large it is after ninety
# epochs of ImageNet. With colour noise the 2012 code also divides its input by 1.1 and ends both
# before the end of the run; `no-colour-noise` leaves out all of it. Notebook 03 measures these
# and the other parts the paper credits at larger scales; notebook 04 trains the net itself.
