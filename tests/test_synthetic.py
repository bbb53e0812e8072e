"""Generated images: deterministic, balanced, and not to be told apart by a linear classifier."""

import numpy as np
import pytest

from alexlib.data.synthetic import CLASSES, Synthetic, image


def sample(split, n, side):
    """Pixels (n, side, side, 3) and labels (n,)."""
    pairs = list(Synthetic(split, n, side, seed=0))
    return np.stack([np.asarray(pixels) for pixels, _ in pairs]), np.array([y for _, y in pairs])


@pytest.fixture(scope="module")
def sets():
    return sample("train", 500, 48), sample("test", 300, 48)


def test_an_image_depends_on_its_arguments_alone(sets):
    pixels, labels = sets[0]
    assert pixels.dtype == np.uint8 and pixels.shape == (500, 48, 48, 3)
    for i in (7, 3, 499, 3):
        again, label = image(0, "train", i, 48)
        assert (again == pixels[i]).all() and label == labels[i]


def test_no_image_occurs_twice(sets):
    assert len({pixels.tobytes() for pixels in (*sets[0][0], *sets[1][0])}) == 800


def test_the_classes_are_balanced(sets):
    assert len(set(CLASSES)) == 10 and sets[0][1].tolist() == [*range(10)] * 50


def probe_error(features, train, test):
    """Test error of ridge regression from standardised features to the ten classes."""
    x, z = features(train[0]), features(test[0])
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    targets = np.eye(10)[train[1]] - 0.1
    scores = z @ x.T @ np.linalg.solve(x @ x.T + 10 * np.eye(len(x)), targets)
    return (scores.argmax(1) != test[1]).mean()


def test_a_linear_probe_of_the_pixels_fails(sets):
    assert probe_error(lambda x: x.reshape(len(x), -1) / 255, *sets) >= 0.85


def spectra(pixels):
    """Power at 23 spatial frequencies, and its variation over directions."""
    grey, window = pixels.mean(-1, dtype=np.float32), np.hanning(48)[:, None] * np.hanning(48)
    power = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2
    frequency = np.fft.fftfreq(48, 1 / 48)
    radius = np.hypot(frequency[:, None], frequency).round()
    rings = [power[:, radius == r] for r in range(1, 24)]
    mean = np.stack([ring.mean(1) for ring in rings], 1)
    variation = np.stack([ring.std(1) for ring in rings], 1) / mean
    return np.log(np.concatenate([mean / mean.sum(1, keepdims=True), variation], 1))


def test_shape_and_texture_tell_the_classes(sets):
    assert probe_error(spectra, *sets) <= 0.25
