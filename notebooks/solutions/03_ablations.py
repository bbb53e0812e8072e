# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 03 Ablations
#
# The exercises are at the end of notebook 03. They are solved here with tiny nets.

# %%
import itertools

import numpy as np
import pandas as pd
import torch
from torch import nn

from alexlib.data import synthetic
from alexlib.models.layers import Dropout, LocalResponseNorm
from alexlib.study import variants, verdicts

# %% [markdown]
# ## 1. A number
#
# 2012: both means fall to a tenth of the mean input, to 0.15. torch: both stay at 1.5. The ratio is $1 - p =
# 0.1$. The first assertion of the last cell fails, because its numbers are those of $p = 0.5$. So does the
# last one: the factor 0.5 stands for $p = 0.5$. The functions agree with the layers for any $p$.

# %%
torch.manual_seed(0)
x, p = 1 + torch.rand(100_000), 0.9
layers = {"2012": Dropout(p), "torch": nn.Dropout(p)}
means = {
    name: [layer.train()(x).mean().item(), layer.eval()(x).mean().item()] for name, layer in layers.items()
}
assert np.allclose(means["2012"], 0.15, atol=0.01) and np.allclose(means["torch"], 1.5, atol=0.05)

# %%
pd.DataFrame(means, index=["in training", "in testing"]).T.style.format("{:.2f}")

# %% [markdown]
# ## 2. A norm
#
# The outputs fall. For large activations the constant $k$ matters little, and the denominator grows like the
# activations to the power $2 \beta = 1.5$. The output is then proportional to the activations to the power
# $1 - 1.5 = -0.5$. With $k = 0$ this holds exactly, with a factor of $10^{-0.5} = 0.316$. With $k = 2$ the
# factor is larger, most of all for map 1, whose neighbours are small.

# %%
a = torch.tensor([2.0, 2.0, 10.0]).reshape(1, 3, 1, 1)
norms = {k: LocalResponseNorm(n=3, k=k, alpha=0.1, beta=0.75) for k in (2.0, 0.0)}
factors = {f"k = {k:g}": (norm(10 * a) / norm(a)).flatten().tolist() for k, norm in norms.items()}
assert np.allclose(factors["k = 0"], 10**-0.5)
assert all(0.316 < factor < 0.8 for factor in factors["k = 2"])

# %%
pd.DataFrame(factors, index=["map 1", "map 2", "map 3"]).T.style.format("{:.3f}")

# %% [markdown]
# With the paper's $\alpha = 10^{-4}$ the constant $k = 2$ is larger than the sums of small activations. The
# norm then only multiplies by $2^{-0.75} = 0.59$, and strong activations are lowered more.

# %% [markdown]
# ## 3. What a check sees
#
# `dropout=0.0`: the dropout layers. `lrn_n=9`: the norms. `momentum=0.5`: nothing! The check compares the
# built nets, the weight decay and the training images. It does not look at the momentum or the learning rate,
# so it cannot prove that such a variant differs.

# %%
base = variants.baseline("sample", input=64, width=1 / 16)
changes = {"dropout": 0.0, "lrn_n": 9, "momentum": 0.5}
found = {key: set(variants.proof(base, base.replace(**{key: value}))) for key, value in changes.items()}
assert found == {"dropout": {"dropout"}, "lrn_n": {"norms"}, "momentum": set()}

# %%
table = {f"{key} = {changes[key]}": ", ".join(names) or "nothing" for key, names in found.items()}
pd.DataFrame({"change": table.keys(), "differs in": table.values()}).style.hide()

# %% [markdown]
# ## 4. Halving
#
# For one layer it is the geometric mean, exactly (after the probabilities are scaled to sum to 1). The
# logarithm of a softmax is linear in the scores, up to a constant; the mean of the scores over all masks is
# the score of the halved inputs. The arithmetic mean is different.


# %% tags=["by-hand"]
def mean_of_nets(scores):
    """The geometric and the arithmetic mean of the probabilities of many nets."""
    logs = scores.log_softmax(-1)
    return logs.mean(0).softmax(-1), logs.exp().mean(0)


torch.manual_seed(0)
inputs, weights = torch.randn(8), 2 * torch.randn(8, 3)
masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)))  # (256, 8)
geometric, arithmetic = mean_of_nets((masks * inputs) @ weights)
halved = (inputs / 2 @ weights).softmax(-1)

# %%
assert len(masks) == 256 and torch.allclose(halved, geometric, atol=1e-5)
assert not torch.allclose(halved, arithmetic, atol=0.01)
rows = {"halved net": halved, "geometric mean": geometric, "arithmetic mean": arithmetic}
pd.DataFrame(rows, index=["class 1", "class 2", "class 3"]).T.style.format("{:.3f}")

# %% [markdown]
# With two layers and a ReLU between them it is neither: the mean of a ReLU is not the ReLU of a mean. The
# halved net is still nearer to the geometric mean than a single net with dropout is, on average. The paper
# calls it "a reasonable approximation". Here are all 65,536 pairs of masks of 8 inputs and 8 hidden units;
# the distance is the total variation.

# %% tags=["by-hand"]
between = torch.randn(8, 8) / 2
hidden = ((masks * inputs) @ between).relu()  # (256, 8)
scores = (masks[:, None] * hidden) @ weights  # (256, 256, 3)
geometric, _ = mean_of_nets(scores.flatten(0, 1))
halved = ((inputs / 2 @ between).relu() / 2 @ weights).softmax(-1)
distance = (halved - geometric).abs().sum() / 2
single = ((scores.softmax(-1) - geometric).abs().sum(-1) / 2).mean()
assert 1e-4 < distance < single


# %%
print(f"halved net: {distance:.3f}, a single net on average: {single:.3f}")

# %% [markdown]
# ## 5. Two seeds
#
# With one seed there is no interval: nothing shows how much a run varies over seeds. With three instead of
# two seeds, and three variants, the interval is about 37 % narrower: the standard error is multiplied by
# $\sqrt{2/3}$, and Student's factor falls from 3.18 to 2.45, as there are 6 degrees of freedom instead of 3.
# (The variation over test images is left out here.)

# %%
widths = {}
for n in (1, 2, 3):
    arms = [np.arange(n) - (n - 1) / 2 for _ in range(3)]  # three variants
    arms = [arm / arm.std(ddof=1) if n > 1 else arm for arm in arms]  # a standard deviation of 1 point
    low, high = verdicts.difference(arms[:2], arms).interval()
    widths[n] = high - low
assert np.isinf(widths[1]) and abs(widths[3] / widths[2] - 0.63) < 0.01


# %%
print({f"{n} seeds": f"{width:.1f} points" for n, width in widths.items()})

# %% [markdown]
# ## 6. Your own experiment
#
# One of many: two classes of generated images (discs and stripes), 40 for training, a net with two hidden
# layers. The training error is 0 in both cases: 200 steps on 40 images are enough even with dropout. Both
# nets overfit: about 40 % of the test images are misclassified. The test errors differ by about one point, in
# favour of dropout. Three seeds cannot tell whether this holds in general: the interval over test images and
# seeds would have to exclude zero.


# %%
def images(split, n):
    pixels = [synthetic.image(2012, split, 10 * (i // 2) + 7 * (i % 2), 16)[0] for i in range(n)]
    x = torch.tensor(np.array(pixels)).float().flatten(1) / 128 - 1
    return x, torch.arange(n) % 2


train, test = images("train", 40), images("test", 400)


# %% tags=["by-hand"]
def errors_after_training(p, seed, steps=200):
    """Training and test error in eval mode, %, of a small net with dropout p."""
    torch.manual_seed(seed)
    layers = [nn.Linear(768, 200), nn.ReLU(), Dropout(p), nn.Linear(200, 200), nn.ReLU(), Dropout(p)]
    net = nn.Sequential(*layers, nn.Linear(200, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(train[0]), train[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    return [100 * (net(x).argmax(1) != y).float().mean().item() for x, y in (train, test)]


# %% [markdown]
# Three seeds each:

# %%
results = {p: np.array([errors_after_training(p, seed) for seed in range(3)]) for p in (0.0, 0.5)}
means = {f"dropout {p:g}": found.mean(0) for p, found in results.items()}

# %%
assert all(found[:, 0].max() == 0 and found[:, 1].min() > 25 for found in results.values())
pd.DataFrame(means, index=["training error, %", "test error, %"]).T.style.format("{:.1f}")

# %% [markdown]
# The difference by the rule of this study. For the variance from the 400 test images an upper bound is used,
# the variance if the two nets had been tested on different images:

# %%
arms = [results[p][:, 1] for p in (0.0, 0.5)]
images_part = sum(error * (100 - error) / 400 for error in (arm.mean() for arm in arms))
effect = verdicts.difference(arms, arms, images_part, 400)
low, high = effect.interval()
assert low < 0 < high and abs(effect.value) < 5
print(f"without minus with dropout: {effect.value:+.1f} points, 95 % interval from {low:.1f} to {high:.1f}")
