"""The generated pictures: the same bytes everywhere, and classes that only form and texture tell apart."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexold import sample

ROOT = Path(sample.__file__).parents[1]


@pytest.fixture(scope="module")
def train():
    return sample.generate(1000, seed=0, split="train")


@pytest.fixture(scope="module")
def test():
    return sample.generate(400, seed=0, split="test")


def digest(images):
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


# ---- determinism -------------------------------------------------------------------------------------------


def test_shapes_and_types(train):
    images, labels = train
    assert images.shape == (1000, 256, 256, 3) and images.dtype == np.uint8
    assert labels.shape == (1000,) and labels.dtype == np.int64
    one, label = sample.picture(0, "train", 7, side=96)
    assert one.shape == (96, 96, 3) and one.dtype == np.uint8 and label == 7
    assert sample.generate(0)[0].shape == (0, 256, 256, 3)


def test_same_bytes_in_any_order_and_with_any_number_of_workers(train):
    images, labels = train
    for workers in (1, 3):
        again, same_labels = sample.generate(20, seed=0, split="train", workers=workers)
        assert np.array_equal(again, images[:20]) and np.array_equal(same_labels, labels[:20])
    for index in (999, 3, 500, 3):
        one, label = sample.picture(0, "train", index)
        assert np.array_equal(one, images[index]) and label == labels[index]


def test_same_bytes_in_another_process(train):
    code = (
        "import hashlib; from alexold.sample import generate; "
        "print(hashlib.sha256(generate(10)[0].tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(train[0][:10])


def test_no_picture_occurs_twice_in_or_across_splits_and_seeds(train, test):
    other_seed, _ = sample.generate(100, seed=1, split="train")
    everything = [digest(image) for images in (train[0], test[0], other_seed) for image in images]
    assert len(set(everything)) == len(everything)


def test_the_scene_is_the_same_at_half_the_side(train):
    """Every length is in units of the side; the grain alone differs, and a mean over blocks hides it."""
    for index in range(10):
        small, _ = sample.picture(0, "train", index, side=128)
        blocks = small.reshape(32, 4, 32, 4, 3).mean((1, 3))
        assert np.abs(blocks - shrink(train[0][index : index + 1], 32)[0]).mean() < 2.5  # of 255 steps


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(split="val"), "'train', 'test'"),
        (dict(seed=-1), "seed must not be negative"),
        (dict(side=8), "side must be at least 16"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample.picture(**{**dict(seed=0, split="train", index=0), **arguments})
    with pytest.raises(ValueError, match=message):
        sample.generate(**{**dict(n=0), **arguments})


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="n must not be negative"):
        sample.generate(-1)
    with pytest.raises(ValueError, match="index must not be negative"):
        sample.picture(0, "train", -1)
    with pytest.raises(ValueError, match="max_workers"):
        sample.generate(1, workers=0)


# ---- what tells the classes apart, and what does not -------------------------------------------------------


def ridge_error(features, train, test, strength=10.0):
    """Held-out error of ridge regression from the standardised features to the ten classes."""
    x, z = features(train[0]), features(test[0])
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    targets = np.eye(10)[train[1]] - 0.1
    scores = z @ x.T @ np.linalg.solve(x @ x.T + strength * np.eye(len(x)), targets)
    return (scores.argmax(1) != test[1]).mean()


def shrink(images, side):
    """Pictures at a smaller side, by area averaging: (n, 256, 256, 3) -> (n, side, side, 3)."""
    return np.stack([Image.fromarray(image).resize((side, side), Image.Resampling.BOX) for image in images])


def colours(images):
    """Mean colour (3) and histogram over 4 x 4 x 4 colours (64; square roots, to tame the large counts)."""
    images = images[:, ::4, ::4]  # every sixteenth pixel is plenty
    bins = (images // 64).astype(np.int64) @ [16, 4, 1]
    counts = np.stack([np.bincount(b.ravel(), minlength=64) for b in bins])
    return np.concatenate([images.mean((1, 2)), np.sqrt(counts)], axis=1)


def spectra(images):
    """Power at 23 spatial frequencies and its unevenness over directions: blind to pose, colour, polarity."""
    grey = shrink(images, 64).mean(-1, dtype=np.float32)
    window = np.hanning(64)[:, None] * np.hanning(64)
    power = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2
    frequency = np.fft.fftfreq(64, 1 / 64)
    radius = np.hypot(frequency[:, None], frequency).round().astype(int)
    rings = [power[:, radius == r] for r in range(1, 24)]
    mean = np.stack([ring.mean(1) for ring in rings], axis=1)
    unevenness = np.stack([ring.std(1) for ring in rings], axis=1) / mean
    return np.log(np.concatenate([mean / mean.sum(1, keepdims=True), unevenness], axis=1))


def test_labels_are_balanced(train):
    assert len(set(sample.CLASSES)) == 10
    assert np.bincount(train[1]).tolist() == [100] * 10


def test_colour_and_brightness_do_not_tell_the_classes(train, test):
    assert ridge_error(colours, train, test) >= 0.7


def test_nearest_mean_colour_does_not_tell_the_classes(train, test):
    means = np.stack([colours(train[0][train[1] == c]).mean(0) for c in range(10)])
    distance = np.square(colours(test[0])[:, None] - means).sum(-1)
    assert (distance.argmin(1) != test[1]).mean() >= 0.7


@pytest.mark.parametrize("strength", [10, 1000])
def test_a_linear_classifier_on_pixels_fails(train, test, strength):
    assert ridge_error(lambda images: shrink(images, 32).reshape(len(images), -1) / 255, train, test, strength) >= 0.6


def test_form_does_tell_the_classes(train, test):
    assert ridge_error(spectra, train, test) <= 0.25


def test_either_polarity_is_equally_likely():
    """In half of the pictures the object is the lighter."""
    rng = np.random.default_rng(0)
    pairs = np.array([sample._colours(rng) for _ in range(400)]) @ sample.LUMA  # (400, 2): background, object
    assert 0.4 < (pairs[:, 1] > pairs[:, 0]).mean() < 0.6
    assert np.abs(pairs[:, 1] - pairs[:, 0]).min() > 0.2


@pytest.mark.parametrize("form", sample.FORMS)
def test_the_object_dominates_and_lies_in_the_central_crop(form):
    rng = np.random.default_rng(0)
    for _ in range(20):
        cover = sample._draw(form, rng, 256)
        assert cover[16:-16, 16:-16].sum() > 0.98 * cover.sum()  # the central 224 x 224
        rows, columns = (np.flatnonzero(cover.max(axis) > 0.5) for axis in (1, 0))
        assert 0.25 < max(np.ptp(rows), np.ptp(columns)) / 256 < 0.8
        assert 0.02 < cover.mean() < 0.45
