# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 05 What the net has learned
#
# The exercises are at the end of notebook 05. They are solved here on 400 generated images of 64 pixels, with
# a tiny net that was not trained.

# %%
import math

import numpy as np
import pandas as pd
import torch

from alexlib import models
from alexlib.config import SOURCE2012
from alexlib.data import augment, synthetic
from alexlib.study import features

# %% [markdown]
# ## 1. A kernel of your own
#
# - A wave: *grating*. Turned by 30 degrees: still a *grating*, as the rule applies to any orientation.
# - The sum of a horizontal and a vertical wave: *neither*. The rule asks for one orientation.
# - Red on the left and green on the right: a *grating*, although it is coloured. An edge has one orientation,
#   and the rule for gratings comes first.
# - Red in the middle, green around it: a *colour blob*.

# %%
y, x = torch.meshgrid(torch.arange(11.0), torch.arange(11.0), indexing="ij")
spot = torch.exp(-((x - 5) ** 2 + (y - 5) ** 2) / 12)


def wave(degrees):
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    return torch.cos(2 * math.pi * 3 * along / 11).expand(3, 11, 11)


# %%
edge, blob = torch.stack([x < 5, x > 5, x < 0]).float(), torch.stack([spot, -spot, 0 * spot])
mine = {
    "wave": wave(0),
    "turned": wave(30),
    "two waves": wave(0) + wave(90),
    "red and green": edge,
    "spot": blob,
}
kinds = dict(zip(mine, features.kinds(torch.stack(list(mine.values()))), strict=True))
assert list(kinds.values()) == ["grating", "grating", "neither", "grating", "blob"]

# %%
shares = features.kernel_energy(torch.stack(list(mine.values()))).numpy()
table = pd.DataFrame({"kernel": mine.keys(), "kind": kinds.values(), "grating": shares[0], "blob": shares[1]})
table.style.hide().format(precision=2)

# %% [markdown]
# ## 2. A number
#
# It is the share of the query's class among all training images, which is chance: 0.1 for ten classes of
# equal size. The distances no longer matter.


# %%
def images(split, n):
    pairs = [synthetic.image(2012, split, i, 64) for i in range(n)]
    return torch.tensor(np.stack([pixels for pixels, _ in pairs])), torch.tensor(
        [label for _, label in pairs]
    )


(searched, searched_labels), (asked, asked_labels) = images("train", 300), images("test", 100)
same, mean = asked_labels[:, None] == searched_labels, searched.float().mean(0)

# %%
inputs = [augment.to_input(pixels, mean).flatten(1) for pixels in (asked, searched)]
by_pixels = torch.cdist(*inputs)
precision = {k: features.precision(by_pixels, same, k).mean().item() for k in (1, 6, len(searched))}
assert precision[len(searched)] == same.double().mean().item() == 0.1
pd.Series(precision, name="precision").rename_axis("k").to_frame().style.format("{:.3f}")

# %% [markdown]
# ## 3. Colour of noise
#
# Two thirds: a colour has three dimensions, and two of them are off the grey axis. The probability that p <
# 0.05 is 5 % if the kernels of both towers are drawn in the same way; that is what p means. So about one in
# twenty runs that learn nothing would seem to have towers of different colour.

# %%
torch.manual_seed(0)
noise = models.colourfulness(torch.randn(2000, 3, 11, 11))
net = models.AlexNet(SOURCE2012.replace(input=64, width=1 / 8, classes=10).net)
p = []
for _ in range(300):
    net.initialise()
    p.append(models.tower_colour(net)["colour"]["p"])

# %%
share = np.mean(np.array(p) < 0.05)
assert abs(noise.mean() - 2 / 3) < 0.01 and 0.01 < share < 0.1
print(f"off the grey axis: {noise.mean():.3f}; nets with p < 0.05: {share:.1%} of {len(p)}")

# %% [markdown]
# ## 4. Shuffled pixels
#
# By pixels nothing changes: a sum of squares does not depend on the order of its terms. By features almost
# all neighbours change: a convolution reads pixels that are next to each other.


# %%
def fc7(pixels, mean):
    """Outputs of the last hidden layer after the ReLU, (N, units)."""
    with torch.no_grad(), features.capture(net.eval(), ["fc7"]) as outputs:
        net(augment.to_input(pixels, mean))
    return outputs["fc7"].relu()


# %%
order = torch.randperm(64 * 64)
shuffled = [x.flatten(-3, -2)[..., order, :].unflatten(-2, (64, 64)) for x in (asked, searched, mean)]
again = torch.cdist(*[augment.to_input(pixels, shuffled[2]).flatten(1) for pixels in shuffled[:2]])
by_features = torch.cdist(fc7(asked, mean), fc7(searched, mean))
other = torch.cdist(*[fc7(pixels, shuffled[2]) for pixels in shuffled[:2]])

# %%
near, then = (distance.topk(6, largest=False).indices for distance in (by_features, other))
kept = (near[:, :, None] == then[:, None]).any(2).float().mean().item()
assert torch.allclose(by_pixels, again, rtol=1e-4) and kept < 0.5
print(f"neighbours by features that are still among the six nearest: {kept:.0%}")

# %% [markdown]
# ## 5. Codes without a mean
#
# The code becomes worse. No feature is negative, so all images lie on one side of most of the axes: the
# bit of such an axis is nearly the same for all images and says little. Here the features are made by hand:
# ten classes, and a ReLU.

# %% tags=["by-hand"]
centres, axes = torch.randn(10, 200), torch.randn(200, 32)
labels = [torch.arange(n) % 10 for n in (100, 1000)]  # queries, and images to be found
made = [(centres[of] + 1.5 * torch.randn(len(of), 200) + 2).relu() for of in labels]
relevant, found = labels[0][:, None] == labels[1], {}
for name, middle in {"with the mean": made[1].mean(0), "without": torch.zeros(200)}.items():
    codes = [((vectors - middle) @ axes > 0).float() for vectors in made]
    precision = features.precision(torch.cdist(*codes, p=0), relevant, 6).mean().item()
    ones = codes[1].mean(0)  # the share of images whose bit is 1, for each bit
    found[name] = {
        "precision": precision,
        "rarer value of a bit": torch.minimum(ones, 1 - ones).mean().item(),
    }

# %%
assert found["with the mean"]["precision"] > found["without"]["precision"] + 0.05
pd.DataFrame(found).T.style.format("{:.2f}")

# %% [markdown]
# ## 6. Your own experiment
#
# They are no better than pixels here: both are a little above chance (0.1). Training is what makes features
# good. In notebook 05, at the sample scale, the trained net has a precision of about 0.9.

# %%
six = {"pixels": features.precision(by_pixels, same, 6), "features": features.precision(by_features, same, 6)}
six = {name: value.mean().item() for name, value in six.items()}
assert all(0.08 < value < 0.25 for value in six.values()) and six["features"] < six["pixels"] + 0.05
pd.Series(six, name="precision at six").to_frame().style.format("{:.3f}")
