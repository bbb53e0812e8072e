"""Generated images: deterministic, balanced, and not to be told apart by a linear classifier."""

import numpy as np
import pytest

from alexlib.data.synthetic import Synthetic, image


@pytest.fixture(scope="module")
def sets():
    """Training and test set: pixels (n, 48, 48, 3) and labels (n,)."""
    found = []
    for split, n in (("train", 500), ("test", 300)):
        pixels, labels = zip(*Synthetic(split, n, 48, seed=0), strict=True)
        found.append((np.stack([np.asarray(x) for x in pixels]), np.array(labels)))
    return found


def test_an_image_depends_on_its_arguments_alone(sets):
    pixels, labels = sets[0]
    assert pixels.shape == (500, 48, 48, 3) and labels.tolist() == [*range(10)] * 50
    for i in (7, 3, 499, 3):
        again, label = image(0, "train", i, 48)
        assert (again == pixels[i]).all() and label == labels[i]


def test_the_images_are_those_of_the_runs_on_record():
    """One image of each class: mean and standard deviation, but for rounding by other versions."""
    images = [image(2012, "train", i, 64)[0] for i in range(10)]
    means = [180.87, 143.12, 67.06, 95.52, 122.02, 119.78, 78.18, 156.57, 185.58, 73.12]
    deviations = [73.86, 61.67, 51.87, 55.58, 44.60, 60.80, 48.34, 60.51, 54.35, 31.95]
    assert [x.mean() for x in images] == pytest.approx(means, abs=0.1)
    assert [x.std() for x in images] == pytest.approx(deviations, abs=0.1)


def test_a_linear_probe_of_the_pixels_fails(sets):
    """The test error of ridge regression from standardised pixels to the ten classes."""
    (x, labels), (z, truth) = sets
    x, z = x.reshape(len(x), -1) / 255, z.reshape(len(z), -1) / 255
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    scores = z @ x.T @ np.linalg.solve(x @ x.T + 10 * np.eye(len(x)), np.eye(10)[labels] - 0.1)
    assert (scores.argmax(1) != truth).mean() >= 0.85
