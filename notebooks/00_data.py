# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 The data
#
# **Question.** Which images did the net of 2012 see, and which images does ours see?
#
# **The paper says** (section 2): there are 1.2 million training images of 1000 classes. Each is
# scaled so that its shorter side has 256 pixels, and the central 256 x 256 pixels are cut out. The
# mean of the training images is subtracted; there is no other preprocessing. Section 4.1 adds noise
# along the principal components of the pixels' colours.
#
# **What we will see.** The images of this scale and their classes; what the centre crop keeps of an
# image, beside the squashed image that Caffe made popular; the mean image; the colour components,
# beside those of 2012 and beside the constants that many training scripts use.
#
# **You need:** the paper, sections 2 and 4.1. This is the first notebook; the next is 01.
#
# **You will have:** the mean image and the colour components, computed by hand and equal to the
# library's; the numbers needed to compare the data of this scale with those of 2012.
#
# **Time:** 15 s (25 s the first time) at the `sample` scale, measured on two cores. With photographs, allow
# the time to decode each of them once.

# %% [markdown]
# ## Parameters
#
# `papermill notebooks/00_data.ipynb out.ipynb -p scale imagenette` runs the notebook on photographs.
# docs/data.md says how to get them.

# %% tags=["parameters"]
scale: str = "sample"  # sample, cifar10, imagenette128, miniimagenet, imagenette or imagenet
data: str = ""  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's images
on_error: str = "raise"  # raise or skip: what to do with images that cannot be decoded
photos: str = ""  # a folder of photographs to show the crop on; empty: use the set
pictures: bool = True  # False leaves photographs out of the figures, for reports that are published
seed: int = 0  # of the images and pixels that are drawn at random for figures

# %%
from alexlib.notebook import parameters

parameters(globals())  # checks them

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image, ImageDraw, ImageOps

from alexlib import figures, paper
from alexlib.config import scale_of
from alexlib.data.packing import square
from alexlib.data.prepare import load

# %% [markdown]
# ## The images of 2012
#
# These numbers are in section 2 of the paper. Labels of test images are public for ILSVRC-2010 only, so
# most of the paper's results are for that year. It also has results for 2012, the contest that its
# authors entered: errors on the validation images, and test errors of two averages of nets.

# %%
names = ("images_train", "images_val", "images_test", "classes", "side")
facts = [paper.CONSTANTS[name] for name in names]
pd.DataFrame([(f"{fact.value:,}", fact.meaning) for fact in facts], columns=["paper", "meaning"]).style.hide()

# %% [markdown]
# ## The images of this scale
#
# Each image is decoded once and packed into one file, which is mapped into memory when it is opened
# again. If some images cannot be decoded, loading stops with an error that names them (20 at most) and gives
# the reasons. With `on_error="skip"` they are left out and listed below.

# %%
chosen = scale_of(scale)
training, test = load(data or chosen.source, chosen.side, on_error)
rows = [(s.split, len(s), len(s.classes), s.side, s.fingerprint) for s in (training, test)]
pd.DataFrame(rows, columns=["set", "images", "classes", "side, pixels", "fingerprint"]).style.hide()

# %%
left_out = [*training.skipped, *test.skipped]
size = (len(training) + len(test)) * chosen.side**2 * 3
Markdown(
    f"{training.origin[0].upper()}{training.origin[1:]}. Packed: {size / 1e9:.2f} GB."
    f" Left out because they could not be decoded: **{len(left_out)}** images."
)

# %%
pd.DataFrame(left_out[:20], columns=["image", "reason"]).style.hide() if left_out else Markdown(
    "*No image was left out.*"
)

# %% [markdown]
# A pack has side x side x 3 bytes for each image, without compression. It can therefore be read quickly,
# but ImageNet needs a lot of disk space:

# %%
train_2012, val_2012 = 1_281_167, 50_000  # the images of ILSVRC-2012 as it is distributed
packs = {"training": train_2012, "validation": val_2012, "both": train_2012 + val_2012}
pd.DataFrame([{name: f"{count * 256**2 * 3 / 1e9:.1f} GB" for name, count in packs.items()}]).style.hide()

# %% [markdown]
# ## Classes
#
# The number of images in each class; if there are more than 20 classes, the numbers are sorted.

# %%
split = {"training": training, "test": test}
counts = {name: np.bincount(images.labels, minlength=len(images.classes)) for name, images in split.items()}
counts = pd.DataFrame(counts, index=figures.fonts.drawable(training.classes))
style = {"ylabel": "images", "ylim": 0, "color": [figures.BLUE, figures.RED]}
figure, axis = figures.new_figure(8, 2.8)
if len(counts) <= 20:
    counts.plot.bar(ax=axis, rot=25, **style)
else:
    ranked = pd.DataFrame(np.sort(counts, 0)[::-1], range(1, len(counts) + 1), counts.columns)
    ranked.plot(ax=axis, drawstyle="steps-mid", xlabel="classes, the largest first", **style)
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# A net that ignores the image and always names the largest class of the training set has the
# following error on the test images. Other errors should be compared with it.

# %%
largest = np.bincount(training.labels).argmax()
Markdown(
    f"Error when the answer is always *{training.classes[largest]}*:"
    f" **{100 * np.mean(test.labels != largest):.1f} %**."
)

# %% [markdown]
# Some training images, three from each of the first ten classes:

# %%
per_class = min(3, counts["training"].min())
indices = [np.flatnonzero(training.labels == label)[:per_class] for label in range(len(counts))[:10]]
indices = np.stack(indices, 1)
sheet = figures.image_rows(training.gather(indices), training.labels[indices], training.classes)
sheet if pictures else Markdown("*Photographs are left out of this report.*")

# %% [markdown]
# ## From a photograph to a square
#
# The paper scales the shorter side to 256 pixels and cuts out the central square. This keeps the
# aspect ratio and loses the ends of the longer side. Caffe's recipe for the same net and many later
# recipes resize the whole image to a square instead. This loses nothing, but it distorts the image:
# circles become ellipses. Results of the two methods are not directly comparable.
#
# The shapes below are those of real photographs if `photos` names a folder of them. Otherwise three
# shapes are cut out of an image of this set, because the files of some sets are already square.


# %%
def aspect(file):
    width, height = Image.open(file).size
    return width / height


# %%
folder = Path(photos)
files = sorted((f for f in folder.glob("*") if f.is_file()), key=aspect) if photos else []
assert files or not photos, f"{folder} contains no photographs"
picked = [files[i] for i in (-1, len(files) // 2, 0)] if files else []

# %%
own = Image.fromarray(training.gather([0])[0])
ratios = ((16, 10), (16, 16), (9, 16))
boxes = [(own.width * w // 16, own.height * h // 16) for w, h in ratios]
whole = [Image.open(f).convert("RGB") for f in picked] or [ImageOps.fit(own, box) for box in boxes]

# %% [markdown]
# Each image is shown whole (dashed: the part that the centre crop keeps), after the centre crop, and
# squashed.


# %%
def three_ways(image):
    short, long = min(image.size), max(image.size)
    names = "whole", f"centre crop: {short / long:.0%} is kept", f"squashed by {long / short:.2f}"
    shown = image, square(image, chosen.side), image.resize((chosen.side, chosen.side))
    return zip(names, shown, strict=True)


# %%
def draw_row(axes, image):
    short, corner = min(image.size), (np.array(image.size) - min(image.size)) / 2
    axes[0].add_patch(plt.Rectangle(corner, short, short, fill=False, ec=figures.RED, lw=2, ls="--"))
    for axis, (name, pixels) in zip(axes, three_ways(image), strict=True):
        axis.imshow(pixels)
        axis.set(title=name, xticks=[], yticks=[], frame_on=False)


# %% [markdown]
# The first figure has test cards of these shapes. The circles show the distortion:

# %%
cards = [Image.new("RGB", image.size, "white") for image in whole]
figure, axes = figures.new_figure(8, 2.8 * len(cards), len(cards), 3)
for row, card in zip(axes, cards, strict=True):
    x, y, radius = card.width / 2, card.height / 2, 0.42 * min(card.size)
    line, pen = max(min(card.size) // 40, 1), ImageDraw.Draw(card)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline="black", width=line)
    pen.rectangle((0, 0, card.width - 1, card.height - 1), outline="blue", width=line)
    draw_row(row, card)
figure

# %%
figure, axes = figures.new_figure(8, 2.8 * len(whole), len(whole), 3)
for row, image in zip(axes, whole, strict=True):
    draw_row(row, image)
figure if pictures else Markdown("*Photographs are left out of this report.*")

# %%
shapes = np.array([aspect(file) for file in files] or [image.width / image.height for image in whole])
kept = np.minimum(shapes, 1 / shapes)
Markdown(
    f"For {len(shapes)} shapes the centre crop keeps **{kept.mean():.0%}** of the area on average and"
    f" **{kept.min():.0%}** at least; squashing changes the shape by **{(1 / kept).mean():.2f}** on average."
)

# %% [markdown]
# ## The mean image
#
# The mean of each pixel and channel over the training images, by hand. The library computes it while
# it packs the images; the results are the same. With 100,000 images or more (ImageNet), only every n-th
# image is used here, so the result is only close to the library's.

# %%
some = np.arange(0, len(training), max(len(training) // 50_000, 1))
close = 1e-3 if len(some) == len(training) else 5.0  # grey levels


# %% tags=["by-hand"]
def mean_image(images):
    total, count = 0.0, 0
    for image in images:  # uint8 (side, side, 3)
        total, count = total + image, count + 1
    return total / count


by_hand = mean_image(training.gather([i])[0] for i in some)
assert np.allclose(by_hand, training.mean, rtol=0, atol=close)

# %% [markdown]
# The 2012 code subtracts the mean of all training images, pixel by pixel. From every crop it subtracts
# the *centre* of the mean image (dashed), wherever the crop was. Pixels are in 0..255 and are not
# divided by a standard deviation. The initial weights and the response normalisation depend on this.
# The figure shows the mean image, with increased contrast, and the means of its rows of pixels.

# %%
channels = {"red": "tab:red", "green": "tab:green", "blue": "tab:blue"}
mean, size = training.mean, min((chosen.changes or {}).get("input", 224), training.side)
low, high, first = mean.min(), mean.max(), (training.side - size) // 2
figure, axes = figures.new_figure(8, 3, 1, 2, width_ratios=(1, 1.6))
axes[0].imshow((mean - low) / (high - low))
axes[0].add_patch(plt.Rectangle((first, first), size, size, fill=False, ls="--"))
axes[0].set_title(f"Black: grey level {low:.0f}, white: {high:.0f}")
axes[0].axis("off")
profile = pd.DataFrame(mean.mean(1), columns=list(channels))
profile.plot(
    ax=axes[1], color=channels, xlabel="row, from the top", ylabel="mean grey level of a row of pixels"
)
axes[1].set_title(f"n = {len(training):,} images")
figure

# %% [markdown]
# ## Channels
#
# Mean and standard deviation of red, green and blue over all pixels of all training images, in grey
# levels, beside those of ImageNet from the files of 2012.

# %%
means = training.mean.mean((0, 1), dtype=np.float64)
covariance = training.eigenvectors @ np.diag(training.eigenvalues) @ training.eigenvectors.T
stds = np.sqrt(np.diag(covariance))
columns = {"mean": means, "mean, 2012": paper.CHANNEL_MEANS, "std": stds, "std, 2012": paper.CHANNEL_STDS}
pd.DataFrame(columns, index=list(channels)).style.format(precision=1)

# %% [markdown]
# The distribution of grey levels in up to 1000 training images. Vertical lines are the means (dashed:
# those of ImageNet in 2012). The shares of 0 and 255 include the clipped pixels; they can lie above
# the top of the axis.

# %%
drawn = np.random.default_rng(seed).choice(len(training), min(len(training), 1000), replace=False)
pixels = training.gather(np.sort(drawn))
levels = {name: np.bincount(pixels[..., i].ravel(), minlength=256) for i, name in enumerate(channels)}
shares = 100 * pd.DataFrame(levels) / (pixels.size // 3)
figure, axis = figures.new_figure(8, 2.6)
shares.plot(ax=axis, color=channels, lw=1, xlabel="grey level", ylabel="% of pixels")
axis.set(xlim=(0, 255), ylim=(0, 1.1 * shares[1:-1].max().max()), title=f"n = {len(drawn):,} images")
for here, in_2012, colour in zip(means, paper.CHANNEL_MEANS, channels.values(), strict=True):
    axis.axvline(here, color=colour)
    axis.axvline(in_2012, color=colour, lw=1, ls="--")
figure

# %% [markdown]
# ## Principal components of colour, by hand
#
# A pixel $x$ is three numbers; $\bar x$ is the mean colour of the $n$ pixels. Their covariance has three
# axes $p_1, p_2, p_3$ with variances $\lambda_1, \lambda_2, \lambda_3$:
#
# $$C = \frac{1}{n} \sum (x - \bar x)(x - \bar x)^T = \sum_i \lambda_i\, p_i p_i^T$$
#
# The three channels of a grey pixel are equal. The covariance of grey pixels therefore has one axis
# with all the variance, and this axis is grey.

# %%
grey = np.array([[10, 10, 10], [100, 100, 100], [220, 220, 220]])
variances, axes = np.linalg.eigh(np.cov(grey.T, bias=True))
assert np.allclose(variances[:2], 0) and np.allclose(np.abs(axes[:, 2]), 1 / np.sqrt(3))
Markdown(
    f"Variance along the grey axis: **{variances[2]:.0f}** squared grey levels."
    f" Sum of the variances of the three channels: **{grey.var(0).sum():.0f}**."
)

# %% [markdown]
# The same for all pixels of the training images. The library adds up $x x^T$ while it packs the images;
# here the mean is subtracted first.


# %% tags=["by-hand"]
def colour_components(images, colour):
    covariance, count = np.zeros((3, 3)), 0
    for image in images:
        x = image.reshape(-1, 3) - colour  # (pixels, 3), colour: the mean of red, green and blue
        covariance += x.T @ x
        count += len(x)
    return np.linalg.eigh(covariance / count)  # variances, ascending; axes in columns


variances, axes = colour_components((training.gather([i])[0] for i in some), means)
assert np.allclose(np.sqrt(variances), np.sqrt(training.eigenvalues), rtol=0, atol=close)
assert np.allclose((axes * variances) @ axes.T, covariance, rtol=0, atol=50 * close)

# %% [markdown]
# The standard deviations along the three axes, in grey levels. The sign of an axis is arbitrary.

# %%
order = ["smallest", "second", "largest"]
roots = {"by hand": np.sqrt(variances), "library": np.sqrt(training.eigenvalues)}
pd.DataFrame(roots, index=order).style.format(precision=2)

# %% [markdown]
# ## This set, 2012, and the constants of later scripts
#
# Many training scripts contain the three numbers 0.2175, 0.0188 and 0.0045 as "the eigenvalues" of
# ImageNet. They are variances of pixels in 0..1. Their square roots, times 255, are close to the
# standard deviations in the files of 2012, and their axes are almost the same.

# %%
copied = 255 * np.sqrt(paper.COPIED_EIGENVALUES)
roots = {"this set": np.sqrt(training.eigenvalues), "2012": paper.COLOUR_STDS, "copied": copied}
roots = pd.DataFrame(roots, index=order)
table = roots.assign(**{"copied, as written": paper.COPIED_EIGENVALUES})
table.style.format(precision=1).format(precision=4, subset="copied, as written")

# %% [markdown]
# Left: pixels in the plane of the two largest components, in grey levels from the mean; the bars
# extend two standard deviations to each side. Right: the standard deviations in the table.

# %%
points = pixels.reshape(-1, 3)[np.random.default_rng(seed).integers(pixels.size // 3, size=4000)]
along = (points - means) @ training.eigenvectors
_, second, largest = 2 * np.sqrt(training.eigenvalues)
figure, axes = figures.new_figure(8, 3.4, 1, 2, width_ratios=(1.5, 1))
axes[0].scatter(along[:, 2], along[:, 1], s=3, c=points / 255)
axes[0].errorbar(0, 0, xerr=largest, yerr=second, color="black")
axes[0].set(xlabel="along the largest component, grey levels", ylabel="along the second one")
axes[0].set(aspect="equal", facecolor="#dddddd", title=f"n = {len(points):,} pixels")
colours = [figures.RED, figures.BLUE, "grey"]
roots[::-1].plot.bar(ax=axes[1], rot=0, ylabel="standard deviation, grey levels", color=colours)
figure

# %% [markdown]
# The angles between the axes, in degrees. If two axes have nearly equal variances, their
# directions are not well determined and the angles mean little. This is the case for the generated images.

# %%
vectors = {"this set": training.eigenvectors.T, "copied": np.array(paper.COPIED_VECTORS)}
cosines = {name: np.abs((v * paper.COLOUR_VECTORS).sum(1)).clip(0, 1) for name, v in vectors.items()}
degrees = {f"{name} and 2012": np.degrees(np.arccos(cosine)) for name, cosine in cosines.items()}
degrees = pd.DataFrame(degrees, index=order)
degrees.style.format(precision=1)

# %% [markdown]
# The numbers are used in different ways. The paper adds $p_i\,\alpha_i\lambda_i$ with $\alpha_i$ from
# $N(0, 0.1)$. The code of 2012 multiplied by the *root* of $\lambda_i$; the scripts multiply by their
# $\lambda_i$. The standard deviation of the noise, in grey levels:

# %%
noise = pd.DataFrame({"2012 code": 0.1 * np.array(paper.COLOUR_STDS)}, index=order)
noise["copied recipe"] = 0.1 * 255 * np.array(paper.COPIED_EIGENVALUES)
noise["copied, of 2012"] = noise["copied recipe"] / noise["2012 code"]
noise.style.format(precision=2).format("{:.0%}", subset="copied, of 2012")

# %% [markdown]
# The popular recipe changes the brightness less than half as much as the code of 2012 did, and the
# hue hardly at all. Notebook 01 shows both on an image.
#
# ## Checks that hold at every scale

# %%
assert np.bincount(training.labels, minlength=len(training.classes)).min() > 0
assert training.classes == test.classes and training.mean.shape == (chosen.side, chosen.side, 3)
assert 0 < means.min() <= means.max() < 255 and (np.diff(training.eigenvalues) >= 0).all()
np.testing.assert_allclose(training.eigenvectors.T @ training.eigenvectors, np.eye(3), atol=1e-9)
np.testing.assert_allclose(copied, paper.COLOUR_STDS, rtol=0.15)
assert degrees["copied and 2012"].max() < 3

# %% [markdown]
# ## Try it
#
# Write down what you expect first, then run. The answers are in `solutions/00_data.ipynb`.
#
# 1. A camera takes photographs with an aspect ratio of 4 to 3, a phone of 16 to 9, and a panorama is
#    3 to 1. What happens to the share of the area that the centre crop keeps?
# 2. What happens to the contrast of the mean image if it is the mean of 10, 100 or all images? Draw
#    `mean_image` of the first n training images for each n and compare the standard deviations.
# 3. What happens to the eigenvalues and to the eigenvectors if red and blue are swapped in every image?
#    And if every pixel is divided by 2? Call `colour_components` with changed images.
# 4. What are the three components of images in which every pixel and channel is drawn independently?
# 5. What happens to the largest eigenvalue if the mean of each image is subtracted from the image first?
#    How much of the variance of colour lies between images, and how much within them?
# 6. An experiment: name each test image after the class whose mean image is nearest. What error do you
#    expect, and what error do you get? Compare with the error for the largest class.

# %% [markdown]
# ## Limits and next
#
# A fingerprint identifies the exact pixels and labels of a set; the row of every run contains the
# fingerprints of its sets. Packing does not undo earlier squashing or compression: state with every
# result which copy of a set it is from. The library does not look for images that occur in both the
# training set and the test set; tools such as cleanvision and fastdup do. Next: notebook 01 shows what
# happens to an image on its way into the net.
