# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 ReLU and tanh
#
# **Question.** How much faster does a net with ReLUs learn than the same net with tanh units?
#
# **The paper** (section 3.1, Figure 1): a four-layer convolutional net reaches 25 % training error on
# CIFAR-10 *six times* faster with ReLUs. There was no regularisation of any kind, and the learning rates were
# chosen independently, to make each net learn as fast as possible. The size of the effect varies with the
# architecture, but nets with ReLUs are consistently several times faster.
#
# **The paper does not say** which four-layer net, which learning rates, and how many runs. The 2012 code has
# no net with tanh units. This notebook uses its conv-conv-conv-fc example for CIFAR-10, which has four layers
# as the paper counts them. Two other nets (`stack`) show whether the architecture
# matters.
#
# **You need:** the paper, sections 3.1 and 5, and the chain rule.
#
# **You will have:** a net of two layers and its training by hand; Figure 1 of the paper, measured again.
#
# **Time:** 60 s at the `sample` scale, measured on two cores. `cifar10`: minutes on a GPU, hours without.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
scale: str = "sample"  # sample or cifar10
stack: str = "four-layer"  # four-layer, local or 80-seconds: one of the 2012 nets
activations: str = "relu,tanh"  # the last is compared with the first; others: scaled_tanh, leaky_relu, gelu
learning_rates: str = "0.001,0.003,0.01"  # tried for each; extended if the best one is at an edge
seeds: int = 2  # runs of each at its best rate: seeds 1, 2, ...; the search has seed 0
options: dict = {}  # rarer settings: see the next cell

# %%
from alexlib.notebook import parameters

options = parameters(
    globals(),
    epochs=0,  # of a run that does not reach 25 % earlier; 0: the scale's own number
    workers=2,  # runs at a time
    precision="",  # auto, bf16 or fp32; "": the scale's own
    device="auto",  # auto, cpu, cuda or cuda:1
)

# %%
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from alexlib import figures, models
from alexlib.config import FIGURE1, config_at, scale_of
from alexlib.data import augment, prepare
from alexlib.study import features, race, runs, scorecard
from alexlib.training import machine
from alexlib.training.loop import fit
from alexlib.training.optim import make_optimizer

# %% [markdown]
# A wrong value causes an error here, before anything is loaded; the message lists the valid ones.

# %%
device, here = machine.pick_device(options["device"]), scale_of(scale)
names = [name.strip() for name in activations.split(",")]
rates = sorted({float(rate) for rate in learning_rates.split(",")})
if len(names) < 2 or len(rates) < 2 or seeds < 1:
    raise ValueError("expected two or more activations and learning rates, and one seed or more")

# %% [markdown]
# The config of each net, and the images:

# %%
fields = {name: options[name] or None for name in ("precision", "epochs")}
base = config_at(FIGURE1, scale, stack=stack, input=24 if stack == "local" else None, **fields)
base = machine.resolved(base, device)
configs = {name: base.replace(activation=name) for name in names}

# %%
training, test = prepare.load(here.source, here.side_for(base))
chance, target = 1 - 1 / len(training.classes), base.train.target
Markdown(
    f"**{len(training):,}** training images of {training.side} pixels, {len(training.classes)} classes:"
    f" {training.origin}. The target is a training error of {target:.0%}."
)

# %% [markdown]
# ## The two functions on three numbers
#
# $$f(x) = \max(0, x), \quad f'(x) = [x > 0] \qquad\qquad f(x) = \tanh x, \quad f'(x) = 1 - \tanh^2 x$$
#
# The slope of tanh is almost zero where its input is far from zero: such a unit is saturated. A ReLU has
# a slope of 1 or 0. In both cases the gradient from the layer above is multiplied by the slope.


# %% tags=["by-hand"]
def relu(x):
    return torch.where(x > 0, x, 0.0), (x > 0).to(x)  # f(x), f'(x)


def tanh(x):
    y = 1 - 2 / (torch.exp(2 * x) + 1)
    return y, 1 - y**2


# %%
x, by_hand = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True), {"relu": relu, "tanh": tanh}
for name, f in by_hand.items():
    y = models.layers.ACTIVATIONS[name]()(x)
    torch.testing.assert_close(f(x), (y, torch.autograd.grad(y.sum(), x)[0]))
table = {name: f(x)[1].tolist() for name, f in by_hand.items()}
pd.DataFrame(table, index=["f'(-2)", "f'(0.5)", "f'(3)"]).T.style.format(precision=4)

# %% [markdown]
# All activations of this comparison, and their derivatives:

# %%
x = torch.linspace(-4, 4, 401, requires_grad=True)
figure, axes = figures.new_figure(9, 3, 1, 2)
for name, style in figures.styles(names).items():
    y = models.layers.ACTIVATIONS[name]()(x)
    axes[0].plot(x.detach(), y.detach(), **style)
    axes[1].plot(x.detach(), torch.autograd.grad(y.sum(), x)[0], **style)
axes[0].set(title="Activation", xlabel="input", ylim=(-1.5, 3))
axes[1].set(title="Derivative", xlabel="input")
axes[0].legend()
figure

# %% [markdown]
# ## A net of two layers by hand
#
# A mini-batch of 256 training images; the pixels of each are one row of `X`:

# %%
some = np.linspace(0, len(training) - 1, 256).astype(int)
pixels, labels = torch.tensor(training.gather(some)), torch.tensor(training.labels[some])
crops = [augment.centre_crop(t, base.net.input) for t in (pixels, torch.tensor(training.mean))]
batch = augment.to_input(*crops)
X = batch.flatten(1).double() / 255  # (256, inputs)

# %% [markdown]
# The forward pass, the loss (cross-entropy), its gradient by the chain rule, and the update of section 5.
# $W_1$ is (units, inputs) and $W_2$ (classes, units), $y_i$ is the class of image $i$ of $n$:
#
# $$h = f(X W_1^T + b_1), \quad p = \mathrm{softmax}(h W_2^T + b_2), \quad
# L = -\tfrac{1}{n} \sum_i \log p_{i, y_i}$$


# %% tags=["by-hand"]
def loss_and_gradient(weights, X, labels, f):
    W1, b1, W2, b2 = weights
    h, slope = f(X @ W1.T + b1)  # (n, units)
    scores = h @ W2.T + b2  # (n, classes)
    log_p = scores - torch.logsumexp(scores, 1, keepdim=True)
    true = F.one_hot(labels, len(b2))  # (n, classes): 1 for the class of the image, else 0
    loss = -(log_p * true).sum() / len(X)
    d_scores = (log_p.exp() - true) / len(X)  # the gradient of the loss with respect to the scores
    d_z = (d_scores @ W2) * slope  # the same for z = X W1.T + b1, (n, units)
    return loss.item(), [d_z.T @ X, d_z.sum(0), d_scores.T @ h, d_scores.sum(0)]  # of W1, b1, W2, b2


def update(weights, velocities, gradients, lr, momentum=0.9, decay=0.0005):
    for w, v, g in zip(weights, velocities, gradients, strict=True):
        v[:] = momentum * v - decay * lr * w - lr * g
        w += v


# %% [markdown]
# The same net built from torch's layers, with autograd and the library's activations and update rule.
# Losses and weights must be equal after each of 30 steps. (This does not compare speeds: there is only one
# learning rate and one start.)


# %%
def start(name, units=64):
    torch.manual_seed(0)
    rule = base.replace(lr=0.1, decay=0.0005, bias_lr_factor=1.0, bias_decay=True).train
    first, second = nn.Linear(X.shape[1], units), nn.Linear(units, len(training.classes))
    net = nn.Sequential(first, models.layers.ACTIVATIONS[name](), second).double()
    return net, make_optimizer(net, rule), [w.detach().clone() for w in net.parameters()]


# %%
losses = {name: [] for name in by_hand}
for name, f in by_hand.items():
    net, optimizer, weights = start(name)
    velocities = [0 * w for w in weights]
    for _ in range(30):
        loss, gradients = loss_and_gradient(weights, X, labels, f)
        update(weights, velocities, gradients, lr=0.1)
        losses[name].append(loss)
        optimizer.zero_grad()
        (expected := F.cross_entropy(net(X), labels)).backward()
        optimizer.step()
        assert np.isclose(loss, expected.item()) and all(map(torch.allclose, weights, net.parameters()))
pd.DataFrame(losses, index=range(1, 31)).iloc[[0, 9, 19, 29]].rename_axis("step").style.format(precision=3)

# %% [markdown]
# ## The net of Figure 1
#
# Layer by layer. The initial weights are those of the 2012 file, the same for every activation.

# %%
parameters = {"four-layer": 89_578, "local": 1_116_490, "80-seconds": 145_578}
whole = FIGURE1.replace(stack=stack, input=24 if stack == "local" else 32)
assert sum(row["parameters"] for row in models.shapes_and_cost(whole)) == parameters[stack]
pd.DataFrame(models.shapes_and_cost(base)).style.hide().format(thousands=",")

# %% [markdown]
# ## The learning rate of each
#
# The rule is that of the protocol (docs/protocol.md). One run is made for each rate (seed 0). The best
# rate is the one that reaches the target in the fewest epochs or, if none does, the one that ends with the
# lowest training error. If it is at an edge of the grid, the grid is extended, three times at most.


# %%
def job(name, rate, seed):
    config = configs[name].replace(lr=rate)
    return runs.Job("02_relu_vs_tanh", f"{name}-lr{rate:g}", config, scale, seed)


# %%
def rows_at(rates, seeds):
    """The rows of the runs with these learning rates, {activation: [rate, ...]}, and seeds."""
    jobs = [job(name, rate, seed) for name in rates for rate in rates[name] for seed in seeds]
    return list(runs.grid(jobs, training, test, device=device, workers=options["workers"]).row)


# %%
def tried(name, rates):
    rows = rows_at({name: rates}, [0])
    return {row["config"]["train"]["lr"]: row["history"] for row in rows}


# %% [markdown]
# The search, and the epochs to the target at each rate. `inf`: the run did not reach it; -: not tried.

# %%
rows_at(dict.fromkeys(names, rates), [0])  # all at once, then what the rule adds
searches = {name: race.search(partial(tried, name), rates, target, chance) for name in names}
best = {name: rate for name, (rate, _) in searches.items()}

# %%
found = {
    name: {rate: race.reached(history, target, chance) for rate, history in histories.items()}
    for name, (_, histories) in searches.items()
}
table = pd.DataFrame(found).sort_index()
table.rename_axis("learning rate").style.format(precision=1, na_rep="-").format_index("{:g}")

# %% [markdown]
# ## Activations and gradients by layer
#
# The same mini-batch goes through the nets, before training and after an epoch at each net's best rate.
# The figure shows the standard deviations of each layer's output before the non-linearity and of the gradient
# of the loss with respect to it. A tanh unit whose input is beyond about 3 is saturated. Look at both panels:
# a saturated layer need not have the smaller gradient. Small gradients alone do not explain the difference.


# %%
def after(name, epochs):
    torch.manual_seed(0)
    model = models.build(configs[name])
    config = configs[name].replace(epochs=epochs, lr=best[name], target=0.0)
    fit(model, training, training.subset([]), config, progress=False)
    return features.signals(model, batch, labels)


# %% [markdown]
# Before training and after an epoch:

# %%
looks = [(name, epochs) for name in names for epochs in (0, 1)]
sizes = {f"{name}, epochs: {epochs}": after(name, epochs) for name, epochs in looks}

# %%
figures.signal_sizes(sizes)

# %% [markdown]
# ## Figure 1
#
# Training error against epochs, each activation at its own best rate: every run (thin) and the mean (thick).
# The error of an epoch is the mean over its mini-batches during training, as in the 2012 code.

# %%
all_of_them = rows_at({name: [best[name]] for name in names}, range(1, seeds + 1))
counted = {n: [row for row in all_of_them if row["config"]["net"]["activation"] == n] for n in names}
histories = {name: [row["history"] for row in rows] for name, rows in counted.items()}
title = f"Training error, {training.name}"
figures.learning_curves(histories, chance, {"train_top1": title}, target)

# %% [markdown]
# Epochs to the target, run by run. A run that ends above the target never reaches it (`inf`).

# %%
epochs = {n: [race.reached(h, target, chance) for h in some] for n, some in histories.items()}
table = pd.DataFrame(epochs, index=[f"seed {seed}" for seed in range(1, seeds + 1)]).T
table.insert(0, "learning rate", pd.Series(best))
table.style.format("{:.1f}").format("{:g}", subset="learning rate")

# %% [markdown]
# ## How many times faster
#
# The ratio of the geometric means of the epochs, the last activation over the first, with Welch's 95 %
# interval on the logarithms of the epochs. If a run never reached the target, all its epochs are counted,
# and the ratio is then only a bound; if this happens in both groups, there is no ratio.

# %%
slow, fast = counted[names[-1]], counted[names[0]]
sooner = race.sooner(slow, fast, target)
ratio = sooner.shown()

# %%
found = runs.read("02_relu_vs_tanh", scale)
same = [row for row in found if row["config"]["net"]["stack"] == stack]
card = scorecard.card(same, runs.are_evidence(same))
claimed = (names[0], names[-1]) == ("relu", "tanh")
judged = [e for e in card if claimed and e["claim"].rule == "race" and e["lines"]]

# %%
text = (
    f"To reach {target:.0%} training error, {names[-1]} takes {sooner.bound} **{ratio['value']:.1f}**"
    f" times as many epochs as {names[0]} (95 % interval {ratio['low']:.1f} to {ratio['high']:.1f},"
    f" {len(slow)} and {len(fast)} runs)."
)
if sooner.bound == "unknown":
    text = "There is no ratio: in both groups a run ended above the target."
paper = (f" The paper: {e['claim'].paper:g} times. Verdict: **{e['verdict']}**." for e in judged)
Markdown(text + "".join(paper))

# %% [markdown]
# ### The ratio depends on the target
#
# The same runs (with the learning rates that are best for the target above) give a different ratio at each
# training error.

# %%
higher = [error for error in (0.5, 0.45, 0.4, 0.35, 0.3) if target < error < chance]
by_target = {error: race.sooner(slow, fast, error) for error in [*higher, target]}
shown = pd.DataFrame({error: e.shown() for error, e in by_target.items() if not e.bound}).T

# %% [markdown]
# Only targets that all runs reached are shown.

# %%
figure, axis = figures.new_figure(6, 3)
if len(shown):
    ends = [shown.value - shown.low, shown.high - shown.value]
    axis.errorbar(100 * shown.index, shown.value, yerr=np.nan_to_num(ends, posinf=0), fmt="o")
axis.set(xlabel="training error to be reached, %", ylabel=f"epochs, {names[-1]} / {names[0]}")
axis.set(xlim=(53, 100 * target - 3), title=f"Ratios, 95 % intervals, n = {len(slow)} + {len(fast)} runs")
figure if len(shown) else Markdown("**No target here was reached by all runs.**")

# %% [markdown]
# ## In seconds
#
# The duration of an epoch differs too. The table has the median training speed of the runs; they may have
# shared their machine with other work.

# %%
frame = runs.rows([row for rows in counted.values() for row in rows])
frame["activation"] = frame.variant.str.partition("-lr")[0]
pace = frame.groupby("activation", sort=False).images_per_second.median()

# %%
mean = pd.Series({name: np.exp(np.mean(np.log(e))) for name, e in epochs.items()})
seconds = pd.DataFrame({"images/s": pace, "seconds to the target": mean * len(training) / pace})
seconds.style.format(precision=0)

# %% [markdown]
# ## Does it depend on the net?
#
# All nets with runs on record at this scale, by the same rule: the best rate of seed 0, then the other
# seeds at that rate. Other nets are run with `stack="local"` or `stack="80-seconds"`.

# %%
everything = runs.read("02_relu_vs_tanh", scale)
at_best = race.at_best_rates(everything, base)
stacks = [s for s in parameters if {(s, names[0]), (s, names[-1])} <= set(at_best)]
nets = {s: race.sooner(at_best[s, names[-1]], at_best[s, names[0]], target) for s in stacks}

# %%
table = pd.DataFrame({s: e.shown() | {"bound": e.bound, "runs": str(e.n)} for s, e in nets.items()}).T
table[["bound", "value", "low", "high", "runs"]].style.format(precision=1)

# %% [markdown]
# ## Checks

# %%
assert all(len({r["seed"] for r in rows}) == len(rows) == seeds for rows in counted.values())
assert all(0 <= h["train_top1"] <= 1 for rows in counted.values() for r in rows for h in r["history"])
assert all(best[name] in searches[name][1] for name in names)
assert ratio["low"] <= ratio["value"] <= ratio["high"] and by_target[target] == sooner
assert stack in stacks

# %% [markdown]
# ## Try it
#
# Write down what you expect first, then run. The answers are in `solutions/02_relu_vs_tanh.ipynb`.
#
# 1. What happens to the slope of tanh if its input goes from 3 to 6? To a gradient after five such layers?
# 2. What happens to the gradient of $W_1$ if all weights are 30 times larger, with tanh and with ReLUs?
# 3. What happens to a layer of ReLUs if all its biases are -100? Can it recover by training?
# 4. What happens if $f(x) = x$? Write this net as one matrix.
# 5. What happens if all weights of the first layer start with the same number?
# 6. An experiment: which activation needs fewer steps at its best of five rates? Which still
#    learns at larger rates?

# %% [markdown]
# ## Limits and next
#
# The paper's net, learning rates and number of runs are unknown. Our rates were chosen by the quantity that
# is reported, as in the paper, with one run for each rate; the runs that count have other seeds. The grid of
# rates is coarse, so a finer one may change the ratio. The training error is measured during training,
# so it is a mean over an epoch. The interval includes the variation over seeds, but not that from the choice
# of the rates. Next: notebook 03, the other parts of the net.
