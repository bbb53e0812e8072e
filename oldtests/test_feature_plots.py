"""Figures of features show the numbers they are given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from alexold import feature_plots

CLASSES = ("ant", "bee", "sea cat")


def texts(figure):
    own = [text for axis in figure.axes for text in (axis._left_title, *axis.texts)]
    return [text.get_text() for text in (*figure.texts, *own)]


def frames(axis):
    return [to_hex(patch.get_edgecolor()) for patch in axis.patches]


KINDS = np.array(["neither", "blob", "grating", "neither", "neither", "grating"])


@pytest.mark.parametrize("towers", [1, 2])
def test_kernels_that_count_come_first_in_frames(towers):
    weights = torch.linspace(0, 1, 363).reshape(1, 3, 11, 11).repeat(6, 1, 1, 1)
    weights[2] *= -1
    figure = feature_plots.kernels(weights, KINDS, towers)
    assert figure.get_suptitle().endswith("filters: 2 gratings (black) and 1 colour blobs (red) of 6")
    black, red = (to_hex(feature_plots.FRAMES[kind]) for kind in ("grating", "blob"))
    assert [frames(axis) for axis in figure.axes] == ([[black, black, red]] if towers == 1 else [[black, red], [black]])
    first = figure.axes[0]
    assert first.patches[1].get_xy() == (11, -1), "around the second tile and the lines beside it"
    np.testing.assert_allclose(first.images[0].get_array()[0, 0, 0], 1, atol=1e-6)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [""] if towers == 1 else titles[1] == "Tower 2: 1 gratings (black) and 0 colour blobs (red) of 3"


def test_energies_are_drawn_by_kind():
    energy = torch.tensor([[0.1, 0.2, 0.7, 0.4, 0, 0.9], [0.2, 0.6, 0.1, 0.4, 0, 0.8]])
    figure = feature_plots.kernel_energy(energy, torch.rand(2, 50) / 10, KINDS)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["grating"].get_xydata(), [[0.7, 0.1], [0.9, 0.8]])
    np.testing.assert_allclose(lines["blob"].get_xydata(), [[0.2, 0.6]])
    assert len(lines["neither"].get_xydata()) == 3 and len(lines["white noise"].get_xydata()) == 50
    assert "2 gratings (black) and 1 colour blobs (red) of 6" in figure.axes[0].get_title(loc="left")


def neighbours(show):
    queries = np.full((2, 8, 8, 3), 10, np.uint8)
    found = {name: (np.full((2, 3, 8, 8, 3), grey, np.uint8), np.array(labels)) for name, grey, labels in
             (("features", 20, [[0, 0, 2], [1, 1, 1]]), ("pixels", 30, [[1, 2, 2], [1, 0, 2]]))}  # fmt: skip
    return feature_plots.neighbours(queries, np.array([0, 1]), found, CLASSES, show)


def test_neighbours_stand_beside_their_query_in_frames_that_tell():
    figure = neighbours(True)
    rows = np.array(figure.axes).reshape(2, 9)
    values = [[axis.images[0].get_array()[0, 0, 0] if axis.images else None for axis in row] for row in rows]
    assert values == [[10, None, 20, 20, 20, None, 30, 30, 30]] * 2
    same, other = feature_plots.SAME, feature_plots.OTHER
    assert [frames(axis) for axis in rows[0, 2:5]] == [[same], [same], [other]]
    assert [frames(axis) for axis in rows[1, 6:9]] == [[same], [other], [other]]
    said = " ".join(texts(figure))
    assert "by features: 5 of 6" in said and "by pixels: 1 of 6" in said


def test_without_pictures_their_classes_are_named():
    figure = neighbours(False)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert all(array.shape[:2] == (1, 1) and array.min() > 0.9 for array in shown), "no photograph is in the figure"
    assert texts(figure).count("sea\ncat") == 4


def test_what_excites_units_is_framed_by_its_commonest_class():
    pictures, labels = np.zeros((2, 3, 40, 40, 3), np.uint8), np.array([[0, 2, 2], [1, 1, 1]])
    boxes = np.tile([-5, 30, 20], (2, 3, 1))
    figure = feature_plots.exciting(pictures, labels, boxes, ["unit 4", "unit 9"], CLASSES)
    rows = np.array(figure.axes).reshape(2, 4)
    same, other = feature_plots.SAME, feature_plots.OTHER
    assert [frames(axis)[0] for axis in rows[0, 1:]] == [other, same, same]
    box = rows[1, 2].patches[1]
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (0, 30, 15, 10), "cut off where the picture ends"
    assert any("of 3: 2, 3" in text for text in texts(figure))
    hidden = feature_plots.exciting(pictures, labels, boxes, ["unit 4", "unit 9"], CLASSES, show_pictures=False)
    assert all(len(axis.patches) <= 1 for axis in hidden.axes)
    everywhere = feature_plots.exciting(pictures, labels, None, ["unit 4", "unit 9"], CLASSES)
    assert all(len(axis.patches) <= 1 for axis in everywhere.axes)


def test_precision_is_the_mean_over_queries():
    shares = {"features": np.array([[1.0, 0.5], [0.0, 0.5]]), "pixels": np.array([[0.0, 0.25], [0.0, 0.25]])}
    figure = feature_plots.precision_curves((1, 6), shares, chance=0.1)
    curves = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert list(curves["features"]) == [0.5, 0.5] and list(curves["pixels"]) == [0, 0.25]
    assert list(curves["chance"]) == [0.1, 0.1]
    assert figure.axes[0].get_title(loc="left").endswith("6 nearest: 0.50 by features, 0.25 by pixels")


def test_ranks_are_a_distribution_with_its_median():
    figure = feature_plots.pixel_ranks(np.array([[0.0, 0.1], [0.3, 0.9]]))
    assert list(figure.axes[0].lines[0].get_xdata()) == [0, 10, 30, 90]
    assert "neighbour by features: 20.0 %" in figure.axes[0].get_title(loc="left")


def test_codes_are_told_apart_and_lines_have_their_colours():
    shares = {(what, axes): np.full((4, 2), value) for value, (what, axes) in enumerate(
        [("features", "learned"), ("features", "random"), ("pixels", "learned"), ("pixels", "random")])}  # fmt: skip
    levels = {"features": 0.5, "features, by angle": 0.6, "pixels": 0.3, "chance": 0.1}
    figure = feature_plots.code_curves((8, 32), shares, levels, bits=32)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["features, random axes"].get_ydata()) == [1, 1]
    assert lines["features, no codes"].get_color() == lines["features, learned axes"].get_color()
    assert lines["features, by angle, no codes"].get_linestyle() == "-." and lines["chance"].get_ydata()[0] == 0.1
    assert "32 bits, learned axes: 0.00 from features, 2.00 from pixels" in texts(figure)


def test_purity_has_a_place_for_each_layer():
    purities = {"conv1": torch.tensor([0.2, 0.4]), "fc7": torch.tensor([0.5, 0.7]), "fc8": torch.tensor([1.0, 1.0])}
    figure = feature_plots.purity_by_layer(purities, 0.25, 9)
    dots = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([0.3, 0.6, 1.0])
    assert "0.30 in conv1, 0.60 in fc7" in figure.axes[0].get_title(loc="left")
