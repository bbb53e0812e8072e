# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 00 The data
#
# The exercises are at the end of notebook 00. They are solved here on 400 generated images of 64 pixels.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

import alexlib.notebook  # noqa: F401, for tables that are text, too
from alexlib import figures
from alexlib.data import synthetic

# %%
pairs = [synthetic.image(2012, "train", i, 64) for i in range(400)]
images, labels = np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])
unseen = [synthetic.image(2012, "test", i, 64) for i in range(200)]

# %% [markdown]
# The two functions of the notebook:


# %% tags=["by-hand"]
def mean_image(images):
    total, count = 0.0, 0
    for image in images:
        total, count = total + image, count + 1
    return total / count


def colour_components(images, colour):
    covariance, count = np.zeros((3, 3)), 0
    for image in images:
        x = image.reshape(-1, 3) - colour
        covariance += x.T @ x
        count += len(x)
    return np.linalg.eigh(covariance / count)


# %% [markdown]
# ## 1. The centre crop of wider images
#
# The crop keeps a square whose side is the shorter side. The share is short side / long side, so it falls
# as the image gets wider: 75 %, 56 % and 33 %.

# %%
shapes = {"4 to 3": (4, 3), "16 to 9": (16, 9), "3 to 1": (3, 1)}
kept = {name: min(w, h) ** 2 / (w * h) for name, (w, h) in shapes.items()}
assert np.allclose(list(kept.values()), [0.75, 0.5625, 1 / 3])
Markdown(", ".join(f"{name}: **{share:.0%}**" for name, share in kept.items()))

# %% [markdown]
# ## 2. The mean of few and of many images
#
# The contrast falls: what the images do not have in common averages out, about as $1 / \sqrt{n}$. What is
# left in the mean of many images is what they share: here, that the objects are near the centre.

# %%
means = {n: mean_image(images[:n]) for n in (10, 100, 400)}
contrast = {n: mean.std() for n, mean in means.items()}
assert contrast[10] > 1.5 * contrast[100] > 1.5 * contrast[400]
figure, axes = figures.new_figure(7, 2.6, 1, 3)
for axis, (n, mean) in zip(axes, means.items(), strict=True):
    axis.imshow((mean - mean.min()) / (mean.max() - mean.min()))
    axis.set(title=f"n = {n}: std {contrast[n]:.1f} grey levels", xticks=[], yticks=[])
figure

# %% [markdown]
# ## 3. Red and blue swapped, pixels halved
#
# A swap leaves the eigenvalues as they are, and swaps the first and the third number of each eigenvector.
# Halving the pixel values halves the standard deviations, divides the eigenvalues by 4 and keeps the axes.

# %%
colour = mean_image(images).mean((0, 1))
values, vectors = colour_components(images, colour)
swapped_values, swapped_vectors = colour_components(images[..., ::-1], colour[::-1])
halved_values, _ = colour_components(images / 2, colour / 2)

# %%
assert np.allclose(swapped_values, values) and np.allclose(halved_values, values / 4)
assert np.allclose(np.abs(swapped_vectors), np.abs(vectors[::-1]))
table = {"as they are": values, "red and blue swapped": swapped_values, "halved": halved_values}
pd.DataFrame(table, index=["smallest", "second", "largest"]).T.style.format(precision=1)

# %% [markdown]
# ## 4. Independent channels
#
# All directions are alike: the three eigenvalues are almost equal, and the axes are arbitrary.
# In real images the three channels rise and fall together, and the largest component is close to grey.

# %%
noise = np.random.default_rng(0).integers(256, size=(20, 64, 64, 3))
noise_values, _ = colour_components(noise, noise.mean((0, 1, 2)))
assert noise_values[2] / noise_values[0] < 1.05 and values[2] / values[0] > 2
Markdown(
    f"Largest over smallest eigenvalue: **{noise_values[2] / noise_values[0]:.2f}** for noise,"
    f" **{values[2] / values[0]:.1f}** for the images."
)

# %% [markdown]
# ## 5. Within and between images
#
# The variance of colour is the variance within the images plus the variance of their means. Without the
# means the components have less variance.

# %%
own = images.mean((1, 2))  # (400, 3): the mean colour of each image
within, _ = colour_components(images - own[:, None, None], 0.0)
between = np.trace(np.cov(own.T, bias=True))
assert np.isclose(within.sum() + between, values.sum()) and within[2] < values[2]
Markdown(f"**{between / values.sum():.0%}** of the variance lies between the images, the rest within them.")

# %% [markdown]
# ## 6. The nearest mean image
#
# The error is close to that of a guess, 90 %. Position, size and colours of the generated objects are
# random, so the mean images of the classes hardly differ. Something other than a template is needed.

# %%
templates = np.stack([mean_image(images[labels == label]) for label in range(10)])
named = [np.argmin(((templates - image) ** 2).sum((1, 2, 3))) for image, _ in unseen]
error = np.mean(np.array(named) != [label for _, label in unseen])
assert 0.7 < error < 0.97
Markdown(f"Error on {len(unseen)} test images: **{error:.0%}**; a guess has 90 %.")
