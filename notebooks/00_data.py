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
# **Question.** What did the net of 2012 see, and what do we show ours?
#
# **The paper says** (section 2): 1.2 million training pictures of 1000 classes, each scaled so
# that its shorter side has 256 pixels, the central 256 x 256 pixels cut out, the mean of the
# training pictures subtracted, nothing else. Section 4.1 adds noise along the principal
# components of the pixels' colours.
#
# **What we will see.** The pictures of this scale and their classes; what "shorter side 256,
# centre crop" keeps of a picture, beside the squash that Caffe made popular; the mean image; the
# colour components, beside those of 2012 and beside the constants that training scripts copy
# from each other.
#
# **Run time.** Seconds for `sample`; for photographs the time to decode each of them once.

# %% [markdown]
# ## Parameters
#
# `papermill notebooks/00_data.ipynb out.ipynb -p scale imagenette` runs it on photographs. How
# to get the pictures: docs/data.md.

# %% tags=["parameters"]
scale: str = "sample"  # sample, cifar10, imagenette128, miniimagenet, imagenette or imagenet
data: str = ""  # a folder with train/<class>/* and val/<class>/* to use instead of the scale's pictures
on_error: str = "raise"  # raise or skip: what to do with pictures that cannot be decoded
photos: str = ""  # a folder, below the data root, of photographs to draw the crop on; empty: cut from the set
pictures: bool = True  # False leaves photographs out of the figures, for reports that are published
seed: int = 0  # of the pictures that are drawn at random for histograms

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image, ImageOps

from alexold import config, gallery, paper, plots
from alexold import data as sets
from alexold.paths import data_root

# %% [markdown]
# ## What there was in 2012
#
# Numbers that section 2 of the paper states. Its test pictures' labels are public for
# ILSVRC-2010 alone, so the paper reports both years; the nets of its error table for 2012 were
# tested on the 50,000 validation pictures.

# %%
facts = [
    paper.CONSTANTS[name] for name in ("pictures_train", "pictures_val", "pictures_test", "classes", "side")
]
pd.DataFrame([(f"{fact.value:,}", fact.meaning) for fact in facts], columns=["paper", "meaning"]).style.hide()

# %% [markdown]
# ## What there is here
#
# Each picture is decoded once and packed into one file of bytes, which later starts map into
# memory. A picture that cannot be decoded is named, with the reason, before anything is
# trained; `on_error="skip"` leaves it out and says so here.

# %%
chosen = config.scale_of(scale)
training, test = sets.load(data or chosen.source, chosen.side, on_error=on_error)
rows = [
    (images.split, len(images), len(images.classes), images.side, images.fingerprint)
    for images in (training, test)
]
pd.DataFrame(rows, columns=["set", "pictures", "classes", "side, pixels", "fingerprint"]).style.hide()

# %%
left_out = [*training.skipped, *test.skipped]
size = (len(training) + len(test)) * chosen.side**2 * 3
Markdown(
    f"{training.origin[0].upper()}{training.origin[1:]}. Packed: {size / 1e9:.2f} GB."
    f" Left out because they could not be decoded: **{len(left_out)}** pictures."
)

# %%
pd.DataFrame(left_out[:20], columns=["picture", "reason"]) if left_out else Markdown("*Nothing to list.*")

# %% [markdown]
# A pack holds side x side x 3 bytes for each picture, whatever the picture: that is what makes
# reading it fast, and why ImageNet needs so much disk.

# %%
train_2012, val_2012 = 1_281_167, 50_000  # the pictures of ILSVRC-2012 as it is distributed
packs = {"training": train_2012, "validation": val_2012, "both": train_2012 + val_2012}
pd.DataFrame([{name: f"{count * 256**2 * 3 / 1e9:.1f} GB" for name, count in packs.items()}]).style.hide()

# %% [markdown]
# ## Classes

# %%
gallery.class_balance({"training": training, "test": test})

# %% [markdown]
# A net that ignores the picture and names the largest class is wrong this often on the test
# pictures; any result has to be seen against it.

# %%
largest = np.bincount(training.labels).argmax()
Markdown(
    f"Always saying *{training.classes[largest]}*: **{100 * np.mean(test.labels != largest):.1f} %** wrong."
)

# %%
plots.contact_sheet(training) if pictures else Markdown("*Photographs are left out of this report.*")

# %% [markdown]
# ## From a photograph to a square
#
# The paper scales the shorter side to 256 pixels and cuts out the central square: the aspect is
# kept, the ends are lost. Caffe's recipe for the same net, and many that followed it, squash the
# whole picture into the square: nothing is lost, and circles become ellipses. Accuracies of the
# two are not comparable picture by picture.
#
# The shapes below are those of real photographs when `photos` names a folder of them; otherwise
# three shapes are cut out of a picture of this set, whose files may be squares already.


# %%
def aspect(file):
    width, height = Image.open(file).size
    return width / height


# %%
folder = data_root() / photos
files = sorted((f for f in folder.glob("*") if f.is_file()), key=aspect) if photos else []
assert files or not photos, f"{folder} holds no photographs"
picked = [files[i] for i in (-1, len(files) // 2, 0)] if files else []

# %%
own = Image.fromarray(training.gather([0])[0])
ratios = ((16, 10), (16, 16), (9, 16))
boxes = [(own.width * w // 16, own.height * h // 16) for w, h in ratios]
whole = [Image.open(f) for f in picked] or [ImageOps.fit(own, box) for box in boxes]

# %% [markdown]
# First on test cards of these shapes, whose circles and squares show what happens to forms:

# %%
gallery.squares([gallery.card(*image.size) for image in whole], chosen.side)

# %%
gallery.squares(whole, chosen.side) if pictures else Markdown("*Photographs are left out of this report.*")

# %%
shapes = np.array([aspect(file) for file in files] or [image.width / image.height for image in whole])
kept = np.minimum(shapes, 1 / shapes)
Markdown(
    f"Of {len(shapes)} shapes the centre crop keeps **{kept.mean():.0%}** of the area on average and"
    f" **{kept.min():.0%}** at least; the squash stretches by **{(1 / kept).mean():.2f}** on average."
)

# %% [markdown]
# ## The mean image
#
# The 2012 code subtracts the mean of all training pictures, pixel by pixel: of every crop the
# *centre* of the mean image, wherever the crop was. Pixels stay in 0..255; nothing is divided by
# a standard deviation, and the initial weights and the response normalisation depend on that.

# %%
gallery.mean_image(training)

# %% [markdown]
# ## Channels
#
# Mean and standard deviation of red, green and blue over all pixels of all training pictures,
# beside those of ImageNet as the files of 2012 keep them.

# %%
means = training.mean.mean((0, 1), dtype=np.float64)
covariance = training.eigenvectors @ np.diag(training.eigenvalues) @ training.eigenvectors.T
stds = np.sqrt(np.diag(covariance))
columns = {"mean": means, "mean, 2012": paper.CHANNEL_MEANS, "std": stds, "std, 2012": paper.CHANNEL_STDS}
pd.DataFrame(columns, index=list(gallery.CHANNELS)).style.format(precision=1)

# %%
some = np.random.default_rng(seed).choice(len(training), min(len(training), 1000), replace=False)
sample = training.gather(np.sort(some))
gallery.channel_histograms(sample, means)

# %% [markdown]
# ## Principal components of colour, on three numbers
#
# A pixel is three numbers. Their covariance over all pixels has three axes $p_1, p_2, p_3$ with
# variances $\lambda_1, \lambda_2, \lambda_3$:
#
# $$C = \frac{1}{n} \sum (x - \bar x)(x - \bar x)^T = \sum_i \lambda_i\, p_i p_i^T$$
#
# Of grey pixels all three channels move together: one axis holds everything, and it is grey.

# %%
grey = np.array([[10, 10, 10], [100, 100, 100], [220, 220, 220]])
variances, axes = np.linalg.eigh(np.cov(grey.T, bias=True))
assert np.allclose(variances[:2], 0) and np.allclose(np.abs(axes[:, 2]), 1 / np.sqrt(3))
variances[2], grey.var(0).sum()

# %% [markdown]
# The library sums over every pixel of every training picture while it packs them. The same from
# a thousand pictures by NumPy's covariance comes close:

# %%
estimate = np.linalg.eigvalsh(np.cov(sample.reshape(-1, 3)[::7].T.astype(np.float64)))
np.testing.assert_allclose(np.sqrt(estimate), np.sqrt(training.eigenvalues), rtol=0.15)
np.sqrt(np.array([estimate, training.eigenvalues]))

# %% [markdown]
# ## This set, 2012, and the constants that everyone copies
#
# Training scripts pass three numbers on to each other, 0.2175, 0.0188 and 0.0045, as "the
# eigenvalues" of ImageNet. They are variances of pixels in 0..1: their roots, times 255, are
# close to the standard deviations in the files of 2012, and their axes are the same.

# %%
order = ["smallest", "second", "largest"]
roots = {
    "this set": np.sqrt(training.eigenvalues),
    "2012": paper.COLOUR_STDS,
    "copied": gallery.copied_stds(),
}
table = pd.DataFrame(roots, index=order)
table["copied, as written"] = paper.COPIED_EIGENVALUES
table.style.format(precision=1).format(precision=4, subset="copied, as written")

# %%
gallery.colour_cloud(sample, training)

# %% [markdown]
# How far the axes are apart, in degrees:

# %%
kinds = {"this set": training.eigenvectors.T, "copied": paper.COPIED_VECTORS}
cosines = {name: np.abs((np.array(v) * paper.COLOUR_VECTORS).sum(1)).clip(0, 1) for name, v in kinds.items()}
degrees = pd.DataFrame(
    {f"{name} and 2012": np.degrees(np.arccos(c)) for name, c in cosines.items()}, index=order
)
degrees.style.format(precision=1)

# %% [markdown]
# What differs is their use. The paper writes: add $p_i\,\alpha_i\lambda_i$ with $\alpha_i$ from
# $N(0, 0.1)$. The code of 2012 multiplied by the *root* of $\lambda_i$; the scripts multiply by
# their $\lambda_i$. The standard deviation of the noise, in grey levels:

# %%
noise = pd.DataFrame({"2012 code": 0.1 * np.array(paper.COLOUR_STDS)}, index=order)
noise["copied recipe"] = 0.1 * 255 * np.array(paper.COPIED_EIGENVALUES)
noise["copied, of 2012"] = noise["copied recipe"] / noise["2012 code"]
noise.style.format(precision=2).format("{:.0%}", subset="copied, of 2012")

# %% [markdown]
# So the popular recipe shakes brightness less than half as much as the net behind the paper's
# numbers was shaken, and colours hardly at all. Notebook 01 shows it on a picture.
#
# ## Checks that hold at every scale

# %%
assert np.bincount(training.labels, minlength=len(training.classes)).min() > 0
assert training.classes == test.classes and training.mean.shape == (chosen.side, chosen.side, 3)
assert 0 < means.min() <= means.max() < 255 and (np.diff(training.eigenvalues) >= 0).all()
np.testing.assert_allclose(training.eigenvectors.T @ training.eigenvectors, np.eye(3), atol=1e-9)
np.testing.assert_allclose(gallery.copied_stds(), paper.COLOUR_STDS, rtol=0.15)
assert degrees["copied and 2012"].max() < 3

# %% [markdown]
# ## Limits and next
#
# Fingerprints name the exact pixels and labels of a set; every row of a run keeps them. A set
# that was squashed or compressed before it came here stays so: results on it say which copy it
# was. Pictures that occur in training and test alike, and files that will not decode, are found
# by `python -m alexold data check FOLDER`. Next: notebook 01, what happens to a picture on its
# way into the net.
