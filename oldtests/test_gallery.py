"""Figures of pictures show the pictures and numbers they are given."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import poisson

from alexold import augment, gallery, paper
from alexold.data import Images


def picture(side=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def images(labels, side=8):
    pixels = np.stack([picture(side, i) for i in range(len(labels))])
    rgb = pixels.reshape(-1, 3).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(rgb.T, bias=True))
    mean = pixels.mean(0).astype(np.float32)
    classes = tuple(f"class {i}" for i in range(max(labels) + 1))
    return Images(pixels, np.array(labels), classes, mean, values, vectors, "made", "train", "f")


def shown(axis):
    return np.asarray(axis.images[0].get_array())


def test_class_balance_draws_the_counts():
    sets = {"training": images([0, 0, 0, 1, 2, 2]), "test": images([0, 1, 1, 2])}
    axis = gallery.class_balance(sets).axes[0]
    assert [bar.get_height() for bar in axis.patches] == [3, 1, 2, 1, 2, 1]
    assert axis.get_title(loc="left") == "1 to 3 training pictures in each class"
    assert gallery.class_balance({"a": images([0, 1])}).axes[0].get_title(loc="left").startswith("1 a pictures")
    many = gallery.class_balance(sets, few=2).axes[0]
    np.testing.assert_array_equal(many.lines[0].get_ydata(), [3, 2, 1])


@pytest.mark.parametrize("size", [(96, 40), (40, 96), (50, 50)])
def test_squares_cut_the_middle_and_squash_the_whole(size):
    image = gallery.card(*size)
    assert image.size == size
    figure = gallery.squares([image], 32)
    whole, cut, squashed = (shown(axis) for axis in figure.axes)
    assert whole.shape == (size[1], size[0], 3) and cut.shape == squashed.shape == (32, 32, 3)
    np.testing.assert_array_equal(squashed, np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)))
    frame = figure.axes[0].patches[0]
    assert frame.get_width() == frame.get_height() == min(size)
    assert frame.get_x() == (size[0] - min(size)) / 2 and frame.get_y() == (size[1] - min(size)) / 2
    assert figure.axes[1].get_xlabel() == f"{min(size) / max(size):.0%} is kept"


def test_mean_image_and_its_profile():
    made = images([0, 1, 1])
    figure = gallery.mean_image(made, size=4)
    profile = figure.axes[1].lines[1].get_xdata()
    np.testing.assert_allclose(profile, made.mean[:, :, 1].mean(1), rtol=1e-6)
    assert figure.axes[0].patches[0].get_bbox().bounds == (2, 2, 4, 4)
    assert shown(figure.axes[0]).min() == 0 and shown(figure.axes[0]).max() == 1


def test_histograms_count_every_pixel_once():
    pixels = np.stack([picture(), picture(seed=1)])
    axis = gallery.channel_histograms(pixels, [1.0, 2.0, 3.0]).axes[0]
    green = axis.lines[3].get_ydata()
    assert green.sum() == pytest.approx(100) and green[7] == pytest.approx(100 * (pixels[..., 1] == 7).mean())


def test_colour_cloud_has_the_spread_of_its_bars():
    made = images([0, 1] * 20)
    figure = gallery.colour_cloud(made.gather(range(40)), made, points=20_000)
    along = np.asarray(figure.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(along.std(0), np.sqrt(made.eigenvalues[[2, 1]]), rtol=0.03)
    bars = [bar.get_height() for bar in figure.axes[1].patches]
    np.testing.assert_allclose(bars[:3], np.sqrt(made.eigenvalues)[::-1])
    np.testing.assert_allclose(bars[3:6], paper.COLOUR_STDS[::-1])
    np.testing.assert_allclose(bars[6:], [118.92, 34.96, 17.11], rtol=1e-3)


def test_crops_are_windows_of_the_picture():
    whole = picture()
    figure = gallery.crops(whole, size=30, shown=3)
    frames = [patch.get_xy() for patch in figure.axes[0].patches]
    windows = [whole[y : y + 30, x : x + 30] for x, y in frames]
    windows[-1] = windows[-1][:, ::-1]
    for axis, window in zip(figure.axes[1:], windows, strict=True):
        np.testing.assert_array_equal(shown(axis), window)
    assert len(figure.axes[0].lines[0].get_xdata()) == 11 * 11


def test_place_counts_beside_poisson():
    top, left = np.array([0, 0, 2, 2]), np.array([0, 0, 1, 0])
    figure = gallery.place_counts(top, left, size=6, side=8)
    assert shown(figure.axes[0]).tolist() == [[2, 0, 0], [0, 0, 0], [1, 1, 0]]
    assert {round(bar.get_x() + 0.5): bar.get_height() for bar in figure.axes[1].patches} == {0: 6, 1: 2, 2: 1}
    line = figure.axes[1].lines[0]
    np.testing.assert_allclose(line.get_ydata(), 9 * poisson(4 / 9).pmf(line.get_xdata()))


def test_colour_readings_add_the_same_coefficients_on_other_axes():
    whole, rng = picture(), np.random.default_rng(0)
    readings = {"a": rng.normal(size=(3, 3)) * 30, "b": np.eye(3) * 300}
    alphas = rng.normal(size=(4, 3)) / 3
    figure = gallery.colour_readings(whole, readings, alphas)
    for k, (axis, alpha) in enumerate(zip(figure.axes, [*alphas, *alphas], strict=True)):
        expected = (whole + list(readings.values())[k // 4] @ alpha).round().clip(0, 255)
        np.testing.assert_allclose(shown(axis), expected, atol=1)  # rounded in float32
    assert figure.axes[4].get_ylabel() == "b"


def test_ten_views_and_one_window():
    whole = picture()
    figure = gallery.ten_views(whole, 30)
    seen = [shown(axis) for axis in figure.axes if axis.images][1:]
    views = list(augment.views(torch.tensor(whole)[None], 30, "ten"))
    assert len(seen) == 10 and all(np.array_equal(a, b[0]) for a, b in zip(seen, views, strict=True))
    one = gallery.one_window(whole, 3, 5, True, (0, 10, -0.2), 30)
    expected = whole[3:33, 5:35][:, ::-1] + np.array([0, 10, 0])
    np.testing.assert_array_equal(shown(one.axes[1]), expected.clip(0, 255))
    assert one.axes[1].get_xlabel() == "R +0, G +10, B +0"
    with Image.open(BytesIO(gallery.png(one))) as file:
        assert file.format == "PNG" and file.size == (600, 300)
