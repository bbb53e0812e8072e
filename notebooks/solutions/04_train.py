# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 04 Training AlexNet
#
# The exercises are at the end of notebook 04. The nets have a sixteenth of the paper's width here and read
# generated images of 64 pixels.

# %%
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

# %%
import alexlib.notebook  # noqa: F401, for tables that are text, too
from alexlib import models
from alexlib.config import config_at
from alexlib.data import synthetic
from alexlib.training import optim

# %% [markdown]
# What notebook 04 builds by hand. Here the net has two more methods, so that exercise 5 can change its first
# two layers.


# %% tags=["by-hand"]
def lrn(a, n=5, k=2.0, alpha=1e-4, beta=0.75):
    squares = F.pad(a**2, (0, 0, 0, 0, n // 2, n // 2))
    sums = sum(squares[:, j : j + a.shape[1]] for j in range(n))
    return a / (k + alpha * sums) ** beta


def lrn_in_towers(a, **settings):
    return torch.cat([lrn(half, **settings) for half in a.chunk(2, 1)], 1)


# %% tags=["by-hand"]
class ByHand(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        a, b, c, d = (max(1, round(width * count)) for count in (48, 128, 192, 2048))
        self.conv1 = nn.Conv2d(3, 2 * a, 11, stride=4)
        self.conv2 = nn.Conv2d(2 * a, 2 * b, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(2 * b, 2 * c, 3, padding=1)
        self.conv4 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(2 * c, 2 * b, 3, padding=1, groups=2)
        self.fc6 = nn.LazyLinear(2 * d)
        self.fc7 = nn.Linear(2 * d, 2 * d)
        self.fc8 = nn.Linear(2 * d, classes)

    def forward(self, x):
        edge = -(x.shape[3] - 11) % 4
        x = self.layer1(self.conv1(F.pad(x, (0, edge, 0, edge))))
        x = self.layer2(self.conv2(x))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = self.pool(F.relu(self.conv5(x))).flatten(1)
        x = self.dropout(F.relu(self.fc6(x)))
        return self.fc8(self.dropout(F.relu(self.fc7(x))))

    def layer1(self, x):
        return self.pool(lrn_in_towers(F.relu(x)))

    def layer2(self, x):
        return self.pool(lrn_in_towers(F.relu(x)))

    def pool(self, x):
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)

    def dropout(self, x):
        return x * torch.empty_like(x).bernoulli_(0.5) if self.training else x / 2


# %% tags=["by-hand"]
def train_by_hand(net, x, labels, batches, rate):
    losses, velocities = [], [torch.zeros_like(w) for w in net.parameters()]
    net.train()
    for step, batch in enumerate(batches):
        torch.manual_seed(step)
        loss = F.cross_entropy(net(x[batch]), labels[batch])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for w, v, g in zip(net.parameters(), velocities, gradients, strict=True):
                v.copy_(0.9 * v - 0.0005 * rate * w - rate * g)
                w.add_(v)
        losses.append(loss.item())
    return losses


# %% [markdown]
# ## 1. LRN
#
# The first output does not change: with $n = 3$, map 3 is not a neighbour of map 1. Map 2 nearly vanishes:
# 0.6 instead of 12. Map 3 itself also has a smaller output: 22 instead of 51.
#
# A single map has the output $a / (k + \alpha a^2)^{3/4}$. It is largest at $a = \sqrt{2 k / \alpha} = 200$.
# Above that, a larger activation gives a smaller output.

# %%
large = {a: lrn(torch.tensor([50.0, 50.0, a]).view(1, 3, 1, 1), n=3).flatten() for a in (200.0, 2000.0)}
assert large[2000.0][0] == large[200.0][0] and (large[2000.0] < large[200.0])[1:].all()
pd.DataFrame(large, index=[50, "50", "200 or 2000"]).style.format(precision=1)

# %%
activations = torch.arange(1.0, 1001.0)
alone = lrn(activations.view(-1, 1, 1, 1)).flatten()
assert activations[alone.argmax()] == 200

# %% [markdown]
# ## 2. Groups
#
# With `groups=1` each of the 256 kernels reads 96 maps instead of 48: twice as many weights. With `groups=4`
# it reads 24, and there are half as many. The multiply-adds change by the same factor, because each weight is
# used once at each of the 27 x 27 positions.

# %%
convs = {groups: nn.Conv2d(96, 256, 5, padding=2, groups=groups) for groups in (1, 2, 4)}
weights = pd.Series({groups: conv.weight.numel() for groups, conv in convs.items()})
assert weights.to_dict() == {1: 614_400, 2: 307_200, 4: 153_600}
nets = {groups: models.shapes_and_cost(config_at("paper", "imagenet", towers=groups)) for groups in (1, 2)}
macs = {groups: row["macs"] for groups in nets for row in nets[groups] if row["stage"] == "conv2"}
assert macs[1] == 2 * macs[2] == 2 * 27 * 27 * weights[2]
pd.DataFrame({"weights": weights, "macs": pd.Series(macs)}).style.format("{:,.0f}", na_rep="")

# %% [markdown]
# ## 3. The update rule
#
# The step is shorter. torch's SGD multiplies its whole momentum by the new rate at once. In the rule of the
# paper, the velocity that was built up at the old rate is not rescaled.

# %% tags=["by-hand"]
ends = {}
for name in ("the paper's rule", "only lr changed"):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = optim.make_optimizer(layer, config_at("paper", "imagenet").train)
    ends[name] = [1.0]
    for rate in (0.1, 0.1, 0.01):
        if name == "only lr changed":
            optimizer.param_groups[0]["lr"] = rate
        else:
            optim.set_learning_rates(optimizer, rate, rate)
        layer.weight.grad = torch.tensor([[2.0]])
        optimizer.step()
        ends[name].append(layer.weight.item())
steps = pd.DataFrame(ends).diff()[1:]
assert np.allclose(steps.loc[[1, 2], "the paper's rule"], steps.loc[[1, 2], "only lr changed"])
assert abs(steps.loc[3, "only lr changed"]) < 0.2 * abs(steps.loc[3, "the paper's rule"])
steps.style.format(precision=4)

# %% [markdown]
# ## 4. The learning rate
#
# Generated images of the first and the last class, of 64 pixels. At the lowest rate the loss falls too slowly
# for 30 steps; at the middle one it is about $\ln 2$ at the end. At the highest rate the first steps are far
# too long: the loss rises to more than ten times that of a random guess.

# %%
pairs = [synthetic.image(2012, "train", i, 64) for i in range(320)]
images = np.stack([image for image, label in pairs if label in (0, 9)]).astype(np.float32)
labels = torch.tensor([int(label) for _, label in pairs if label in (0, 9)])
x = torch.tensor(images - images.mean(0)).permute(0, 3, 1, 2)
batches = torch.randint(len(x), (30, 16), generator=torch.Generator().manual_seed(0))
config = config_at("paper", "sample", width=1 / 16, input=64, precision="fp32")

# %%
curves = {}
for rate in (0.0002, 0.002, 2):
    torch.manual_seed(0)
    start, net = models.build(config).state_dict(), ByHand(1 / 16, 10)
    net.load_state_dict(start)
    curves[rate] = train_by_hand(net, x, labels, batches, rate)
last = {rate: np.mean(losses[-5:]) for rate, losses in curves.items()}

# %%
assert last[0.002] < 1 < last[0.0002] < np.log(10)
assert max(curves[2]) > 10 * np.log(10)
pd.DataFrame(curves).rename_axis("step")[::5].style.format(precision=2)

# %% [markdown]
# ## 5. The other config
#
# Layer 1: the norm, then the pool, then the ReLU. Layer 2: the same as before with another alpha, then the
# spatial norm, then the pool. The names of the weights do not change, so the library's weights can be loaded.


# %% tags=["by-hand"]
class Source2012(ByHand):
    spatial = models.layers.SpatialResponseNorm()

    def layer1(self, x):
        return F.relu(self.pool(lrn_in_towers(x, alpha=2e-5)))

    def layer2(self, x):
        return self.pool(self.spatial(lrn_in_towers(F.relu(x), alpha=2e-5)))


# %%
other = config_at("source2012", "sample", width=1 / 16, input=64, precision="fp32")
library, by_hand = models.build(other).eval(), Source2012(1 / 16, 10).eval()
by_hand.load_state_dict(library.state_dict())
with torch.no_grad():
    assert torch.allclose(by_hand(x), library(x), rtol=1e-4, atol=1e-5)

# %% [markdown]
# The other differences are in training: colour noise, crops shared by 32 images, learning rates and their
# schedule, biases without decay, conv1 frozen near the end, and the initial weights.
#
# ## 6. No answer "none"
#
# The softmax probabilities sum to 1, whatever the image is. The highest of 10 is at least 0.1.
# The net has no way to say that none of its classes fits. A net that was trained on discs and dots takes
# white stripes for one of them.

# %%
torch.manual_seed(0)
net = ByHand(1 / 16, 10)
net.load_state_dict(models.build(config).state_dict())
train_by_hand(net, x, labels, batches, 0.002)
stripes = 100.0 * (torch.arange(64) // 8 % 2).expand(1, 3, 64, 64)
with torch.no_grad():
    p = net.eval()(stripes).softmax(1)[0]
assert abs(p.sum().item() - 1) < 1e-5 and p.max() >= 0.1 and p.argmax() in (0, 9)
pd.DataFrame({"class": range(10), "probability": p}).style.hide().format(precision=2)
