# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 01 Augmentation
#
# The exercises are at the end of notebook 01. They are solved here on generated images of 32 pixels.

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import alexlib.notebook  # noqa: F401, for tables that are text, too
from alexlib import figures, models
from alexlib.config import FIGURE1, PAPER, config_at
from alexlib.data import augment, synthetic
from alexlib.data.images import Images, generator
from alexlib.data.packing import statistics
from alexlib.training.loop import evaluate, fit

# %% [markdown]
# 200 training images and 300 test images, with the statistics of the training images:


# %%
def drawn(split, n):
    pairs = [synthetic.image(2012, split, i, 32) for i in range(n)]
    return np.stack([pixels for pixels, _ in pairs]), np.array([label for _, label in pairs])


def measured(pixels):
    rgb = pixels.reshape(-1, 3).astype(float)
    return statistics(len(pixels), pixels.sum(0, dtype=int), rgb.T @ rgb)


# %%
pixels, labels = drawn("train", 200)
found = measured(pixels)
sets = {"train": (pixels, labels), "test": drawn("test", 300)}
sets = {
    split: Images(*arrays, synthetic.CLASSES, *found.values(), name="few", split=split, fingerprint="")
    for split, arrays in sets.items()
}

# %% [markdown]
# The functions of the notebook:


# %% tags=["by-hand"]
def crop(image, top, left, size):
    return image[top : top + size, left : left + size]


def flip(image):
    return image[:, ::-1]


def colour_noise(image, alpha, scales):
    shift = sum(alpha[i] * scales[i] * found["eigenvectors"][:, i] for i in range(3))
    return image + shift


# %% [markdown]
# ## 1. Smaller and larger crops
#
# There are $2\,(256 - s + 1)^2$ crops: 8450 for 192 pixels (about four times as many as for 224) and 8 for
# 255. A smaller crop gives more variety, but it shows less of the object.

# %%
counts = {s: 2 * (256 - s + 1) ** 2 for s in (192, 224, 255)}
assert counts == {192: 8450, 224: 2178, 255: 8}
Markdown(", ".join(f"{s} pixels: **{count:,}**" for s, count in counts.items()))

# %% [markdown]
# ## 2. Mirror images in the training set
#
# The mean image becomes symmetric. The colour components stay as they are: a flip moves the pixels of an
# image but does not change their colours.

# %%
both = measured(np.concatenate([pixels, pixels[:, :, ::-1]]))
assert np.allclose(both["mean"], both["mean"][:, ::-1]) and not np.allclose(found["mean"], both["mean"])
assert np.allclose(both["eigenvalues"], found["eigenvalues"])

# %% [markdown]
# ## 3. Images that share a crop
#
# With `chunk=1` nearly all of the 128 crops differ; a few fall on the same position and flip by chance. With
# 32 there are at most four, with 128 only one.

# %%
different = {}
for chunk in (1, 32, 128):
    settings = PAPER.replace(chunk=chunk).augment
    windows = augment.random_windows(128, 256, 224, settings, generator(0, 0, "look"))
    different[chunk] = len(torch.stack(windows).unique(dim=1).T)
assert 110 < different[1] < 128 and different[32] <= 4 and different[128] == 1
pd.DataFrame([different], index=["different crops"]).rename_axis(columns="chunk").style

# %% [markdown]
# ## 4. The text of the paper, with pixels in 0..255
#
# The eigenvalues are variances, thousands of squared grey levels. The noise is then hundreds of grey levels:
# most pixels end up at 0 or 255 in each channel, and whole images turn black, white or one colour.

# %%
alphas = 0.1 * np.random.default_rng(0).standard_normal((6, 3))
scales = {"root": np.sqrt(found["eigenvalues"]), "variance": found["eigenvalues"]}
noisy = {name: np.stack([colour_noise(pixels[4], a, s) for a in alphas]) for name, s in scales.items()}
clipped = {name: np.mean((x <= 0) | (x >= 255)) for name, x in noisy.items()}
assert clipped["variance"] > 0.5 > 5 * clipped["root"]

# %%
shown = np.stack([x.clip(0, 255).astype(np.uint8) for x in noisy.values()])  # (2, 6, 32, 32, 3)
names = [f"{share:.0%} clipped" for share in clipped.values()]

# %%
figure = figures.image_rows(shown, np.repeat([[0], [1]], 6, axis=1), names)
for axis, name in zip(figure.axes[::6], clipped, strict=True):
    axis.set_ylabel(name)
figure

# %% [markdown]
# ## 5. The order
#
# The order of noise and flip does not matter: the noise is the same for all pixels. The order of crop and
# flip does: a crop at the left edge of the mirrored image comes from the right edge of the image.

# %%
image, alpha, scale = pixels[4], alphas[0], scales["root"]
assert np.allclose(flip(colour_noise(image, alpha, scale)), colour_noise(flip(image), alpha, scale))
assert not np.array_equal(flip(crop(image, 2, 0, 24)), crop(flip(image), 2, 0, 24))
assert np.array_equal(flip(crop(image, 2, 0, 24)), crop(flip(image), 2, 32 - 24, 24))

# %% [markdown]
# ## 6. A small net on few images
#
# With random crops and flips the training error falls more slowly: the net never sees the same input twice.
# In a run this short the test error is higher too. The gap between the two errors is smaller, which is
# what augmentation is for; a long run is needed to gain from it.

# %%
base = config_at(FIGURE1, "sample", epochs=25, target=0.0, validation=0.0, lr=0.003)
variants = {"centre crop": {}, "random crops and flips": {"crop": "random", "flip": True}}
errors = {}
for name, changes in variants.items():
    torch.manual_seed(0)
    config = base.replace(**changes)
    fit(model := models.build(config), sets["train"], sets["train"].subset([]), config, progress=False)
    errors[name] = {split: evaluate(model, images, config)["top1"] for split, images in sets.items()}

# %%
table = 100 * pd.DataFrame(errors).T
table["gap"] = table["test"] - table["train"]
assert table["train"].iloc[1] > table["train"].iloc[0] and table["gap"].iloc[1] < table["gap"].iloc[0]
table.add_suffix(", %").style.format(precision=0)
