# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 02 ReLU and tanh
#
# The exercises are at the end of notebook 02. They are solved here with the net by hand, on 256 generated
# images of 16 pixels.

# %%
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown

import alexlib.notebook  # noqa: F401, for tables that are text, too
from alexlib.data import synthetic

# %%
pairs = [synthetic.image(2012, "train", i, 16) for i in range(256)]
X = torch.tensor(np.stack([image for image, _ in pairs])).flatten(1).double() / 255
X -= X.mean(0)  # minus the mean image
labels = torch.tensor([label for _, label in pairs])

# %% [markdown]
# The functions of the notebook:


# %% tags=["by-hand"]
def relu(x):
    return torch.where(x > 0, x, 0.0), (x > 0).to(x)


def tanh(x):
    y = 1 - 2 / (torch.exp(2 * x) + 1)
    return y, 1 - y**2


def loss_and_gradient(weights, X, labels, f):
    W1, b1, W2, b2 = weights
    h, slope = f(X @ W1.T + b1)
    scores = h @ W2.T + b2
    log_p = scores - torch.logsumexp(scores, 1, keepdim=True)
    true = F.one_hot(labels, len(b2))
    loss = -(log_p * true).sum() / len(X)
    d_scores = (log_p.exp() - true) / len(X)
    d_z = (d_scores @ W2) * slope
    return loss.item(), [d_z.T @ X, d_z.sum(0), d_scores.T @ h, d_scores.sum(0)]


def start(std=0.03, units=64):
    random = torch.Generator().manual_seed(0)
    shapes = (units, X.shape[1]), (units,), (10, units), (10,)
    scales = std, 0.0, 0.1, 0.0  # the biases start at 0
    return [
        scale * torch.randn(*s, generator=random).double() for scale, s in zip(scales, shapes, strict=True)
    ]


def train(weights, f, lr, steps):
    weights, velocities, losses = [w.clone() for w in weights], [0 * w for w in weights], []
    for _ in range(steps):
        loss, gradients = loss_and_gradient(weights, X, labels, f)
        losses.append(loss)
        for w, v, g in zip(weights, velocities, gradients, strict=True):
            v[:] = 0.9 * v - 0.0005 * lr * w - lr * g
            w += v
    return losses, weights


# %% [markdown]
# ## 1. The slope of tanh far from zero
#
# The slope falls from 1 % to 0.002 %, by a factor of about $e^{-2}$ for each unit of the input. Five layers
# with input 3 multiply the gradient by about $10^{-10}$. Five ReLUs with positive inputs do not change it.

# %%
x = torch.tensor([3.0, 6.0]).double()
slopes = {"tanh": tanh(x)[1], "ReLU": relu(x)[1]}
assert 300 < slopes["tanh"][0] / slopes["tanh"][1] < 500 and (slopes["ReLU"] ** 5 == 1).all()

# %%
table = {name: [*slope.tolist(), slope[0].item() ** 5] for name, slope in slopes.items()}
pd.DataFrame(table, index=["f'(3)", "f'(6)", "f'(3)^5"]).T.style.format("{:.2g}")

# %% [markdown]
# ## 2. Large weights
#
# The weights of both layers are 30 times larger here. With ReLUs the gradient of $W_1$ grows: the gradient
# of the scores is multiplied by larger weights. With tanh most units are saturated, and it grows much less.

# %%
sizes = {}
for name, f in {"relu": relu, "tanh": tanh}.items():
    for factor in (1, 30):
        _, gradients = loss_and_gradient([factor * w for w in start()], X, labels, f)
        sizes[name, factor] = gradients[0].std().item()

# %%
growth = {name: sizes[name, 30] / sizes[name, 1] for name in ("relu", "tanh")}
assert growth["relu"] > 10 and growth["tanh"] < growth["relu"] / 3
saturated = (tanh(X @ (30 * start()[0]).T)[1] < 0.01).double().mean().item()
Markdown(
    f"The gradient of $W_1$ grows by {growth['relu']:.0f} (ReLU) and {growth['tanh']:.1f} (tanh)."
    f" {saturated:.0%} of the tanh units have a slope below 0.01."
)

# %% [markdown]
# ## 3. Biases of -100
#
# No unit is active for any image. The slope is 0, and so is the gradient of $W_1$ and $b_1$: the layer is
# dead and stays dead. Only the biases of the classes learn. The paper starts many biases at 1.

# %%
weights = start()
weights[1] -= 100
_, (d_W1, d_b1, d_W2, d_b2) = loss_and_gradient(weights, X, labels, relu)
assert (d_W1 == 0).all() and (d_b1 == 0).all() and (d_W2 == 0).all() and (d_b2 != 0).any()

# %%
losses, _ = train(weights, relu, lr=0.03, steps=50)
assert losses[-1] > 2.2  # a guess among 10 classes has ln 10 = 2.3
Markdown(f"Loss after 50 steps: **{losses[-1]:.2f}**; a guess has {np.log(10):.2f}.")

# %% [markdown]
# ## 4. The identity
#
# Two linear layers are one: $s = W_2 (W_1 x + b_1) + b_2 = (W_2 W_1)\, x + (W_2 b_1 + b_2)$. The net can
# then separate classes by planes only, whatever its number of layers.

# %%
W1, b1, W2, b2 = start()
two_layers = (X @ W1.T + b1) @ W2.T + b2
assert torch.allclose(two_layers, X @ (W2 @ W1).T + (W2 @ b1 + b2))

# %% [markdown]
# ## 5. The same weights for all
#
# If the weights of the second layer are equal too, all units have the same gradient and stay the same: the
# net in effect has one unit. If the second layer has random weights, the units receive different gradients
# and become different. The initial weights must be random somewhere.

# %%
same = start()
same[0][:] = 0.01
different = train(same, tanh, lr=0.03, steps=5)[1][0].std(0).max().item()
same[2][:] = 0.1
equal = train(same, tanh, lr=0.03, steps=5)[1][0].std(0).max().item()
assert equal < 1e-12 < 1e-6 < different

# %% [markdown]
# ## 6. Learning rates
#
# Steps until the loss is a fifth of that of a guess, at five rates, 100 steps at most. At the smallest rate
# both nets are too slow. At 1 the net with ReLUs diverges, because nothing bounds its activations; tanh
# still learns. At their best rates, both are about equally fast: with two layers, the gradient passes through
# only one tanh. The net of Figure 1 has four layers.

# %%
rates, target = (0.03, 0.1, 0.3, 1.0, 3.0), np.log(10) / 5
steps = {"relu": {}, "tanh": {}}
for name, f in {"relu": relu, "tanh": tanh}.items():
    for lr in rates:
        losses, _ = train(start(), f, lr, 100)
        steps[name][lr] = next((i for i, loss in enumerate(losses) if loss <= target), float("inf"))

# %%
best = {name: min(found.values()) for name, found in steps.items()}
assert 0.7 < best["tanh"] / best["relu"] < 1.4 and steps["tanh"][1.0] < steps["relu"][1.0]
assert all(found[0.03] > best[name] and found[3.0] > 100 for name, found in steps.items())
table = pd.DataFrame(steps).replace(float("inf"), np.nan).rename_axis("learning rate")
table.style.format(precision=0, na_rep="not reached").format_index("{:g}")
