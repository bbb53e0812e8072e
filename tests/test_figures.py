"""Figures draw the numbers and images that they are given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from alexlib import figures, fonts


def history(*errors):
    keys = ("train_top1", "plain_top1", "val_top1")
    rates = [0.01, 0.001, 0.001]
    epochs = enumerate(zip(errors, rates, strict=False), 1)
    return [{"epoch": i, "lr": lr} | dict.fromkeys(keys, error) for i, (error, lr) in epochs]


def drawn(axis):
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axis.lines}


def test_learning_curves_draw_runs_their_mean_where_all_are_and_the_drop_of_the_rate():
    runs = {"a": [history(0.8, 0.4), history(0.6, 0.2, 0.1)], "b": [history(0.9)]}
    runs["b"][0][0]["val_top1"] = None  # not measured: a gap
    left, right = figures.learning_curves(runs, chance=0.9).axes
    np.testing.assert_allclose(drawn(left)["a, n = 2"], [90, 70, 30])
    np.testing.assert_allclose(left.lines[1].get_ydata(), [90, 60, 20, 10])
    np.testing.assert_allclose(drawn(right)["b, n = 1"], [90, np.nan])
    assert [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == ":"] == [1]
    (alone,) = figures.learning_curves(runs, 0.9, {"train_top1": "Training"}, target=0.25).axes
    assert any(list(heights) == [25, 25] for heights in drawn(alone).values())


def effect(value, low, high, n=(3, 6), **more):
    row = {"name": f"{value}", "value": value, "low": low, "high": high, "unit": "points", "n": n}
    return row | more


def marks(axis):
    found = {}  # the marks of each kind: number and row
    for line in axis.lines:
        if len(line.get_xdata()) == 1 and line.get_marker():
            found.setdefault(line.get_marker(), []).append((*line.get_xdata(), *line.get_ydata()))
    return found


def test_a_forest_draws_values_intervals_and_the_numbers_of_others():
    effects = [effect(1.0, 0.5, 1.5, paper=2.0, log=None, later=(0.1, 0.2))]
    effects.append(effect(-1.0, -np.inf, np.inf, n=(1, 6), paper=np.nan, log=0.3))
    axis = figures.forest(effects).axes[0]
    others = {"|": [(2, 0)], "^": [(0.3, 1)], "x": [(0.1, 0), (0.2, 0)]}
    assert marks(axis) == {"o": [(1, 0), (-1, 1)]} | others
    assert [list(line.get_xdata()) for line in axis.lines if line.get_lw() == 4] == [[0.5, 1.5]]
    hollow = [line.get_xdata() for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert hollow == [[-1]]
    assert axis.texts[1].get_text() == "-1.0 points, n = 1 + 6"


@pytest.mark.parametrize("sign", [1, -1])
def test_one_row_does_not_stretch_a_forest(sign):
    values = [sign * x for x in (1.0, 1.5, 2.0, 60.0)]
    axis = figures.forest([effect(x, x - 0.1, x + 0.1) for x in values]).axes[0]
    assert max(map(abs, axis.get_xlim())) < 3
    assert set(marks(axis)["<" if sign < 0 else ">"]) == {(axis.get_xlim()[sign > 0], 3)}
    assert f"{values[3]:+.1f}" in axis.texts[3].get_text()


def test_kernels_stand_by_tower_and_kinds_are_framed():
    weights = torch.zeros(8, 3, 5, 5)
    weights[5, 0, 2, 3], weights[4, 1, 0, 0] = 1, 9  # a red pixel in the second tower's second
    kinds = np.array(["neither"] * 5 + ["blob", "grating", "neither"])
    first, second = figures.kernels(weights, 2, kinds, columns=2).axes
    sheet = second.images[0].get_array()
    assert tuple(sheet[1 + 2, 7 + 3]) == (1, 0, 0) and tuple(sheet[1 + 2, 7 + 2]) == (0, 0, 0)
    frames = {patch.get_xy(): to_hex(patch.get_edgecolor()) for patch in second.patches}
    assert frames == {(6, 0): figures.RED, (0, 6): figures.BLACK} and not first.patches


def test_predictions_show_the_most_probable_classes_and_the_true_one():
    pixels, probabilities = np.full((1, 8, 8, 3), 200, np.uint8), np.array([[0.1, 0.7, 0.2]])
    for shown in (True, False):
        figure = figures.predictions(pixels, [2], probabilities, "abc", show_images=shown)
        image, bars = figure.axes
        assert bool(image.images[0].get_array().max() == 200) is shown
        assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.1, 0.2, 0.7])
        assert to_hex(bars.patches[1].get_facecolor()) == figures.GREEN


def test_rows_of_images_have_frames_heads_and_boxes():
    pixels = np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1, 1) + np.zeros((9, 9, 3), np.uint8)
    labels, boxes = np.array([[0, 1], [1, 1]]), np.tile([2, 3, 6, 4], (2, 2, 1))
    axes = figures.image_rows(pixels, labels, "ab", [0, 1], {1: "near"}, boxes).axes
    assert [axis.images[0].get_array()[0, 0, 0] for axis in axes] == [0, 1, 2, 3]
    frames = [to_hex(axis.spines["top"].get_edgecolor()) == figures.GREEN for axis in axes]
    assert frames == [True, False, True, True] and axes[1].get_title(loc="left") == "near"
    assert axes[3].patches[0].get_bbox().bounds == (1.5, 2.5, 5, 2) and axes[3].get_xlabel() == "b"
    hidden = figures.image_rows(pixels, labels, "ab", [0, 1], {}, boxes, show_images=False).axes
    assert all(np.ptp(a.images[0].get_array()) == 0 and not a.patches for a in hidden)


def test_precision_is_drawn_with_its_interval_and_its_levels():
    shares = {"features, 1": np.array([[1.0, 0.5], [0.0, 0.5]]), "pixels, 1": np.zeros((2, 2))}
    axis = figures.precision_curves((1, 6), shares, {"features": 0.7}, "bits").axes[0]
    assert drawn(axis)["features, 1"].tolist() == [0.5, 0.5]
    assert drawn(axis)["features"].tolist() == [0.7, 0.7]
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.5 + 1.96 * 0.5)  # the standard error of 0 and 1


def test_names_with_the_same_first_part_have_one_colour():
    styles = figures.styles(["a, 1", "a, 2", "b, 1"])
    assert styles["a, 1"]["color"] == styles["a, 2"]["color"] != styles["b, 1"]["color"]
    assert styles["a, 1"]["ls"] == styles["b, 1"]["ls"] != styles["a, 2"]["ls"]


def test_names_of_classes_in_any_script_are_drawn(tmp_path, monkeypatch):
    names = ("\u732b\u72ac", "\u0643\u0644\u0628", "$5 or $_^{", "caf\udce9")
    pixels, labels = np.zeros((1, 4, 8, 8, 3), np.uint8), np.arange(4)[None]
    figures.image_rows(pixels, labels, names).savefig(tmp_path / "1.png")
    figures.predictions(pixels[0], labels[0], np.eye(4), names).savefig(tmp_path / "2.png")
    assert fonts.drawable(names[2:]) == [r"\$5 or \$_^{", r"caf\udce9"]
    monkeypatch.setattr(fonts, "FAMILY", ["sans-serif"])
    with pytest.warns(UserWarning, match="no font has \u732b: install"):
        fonts.drawable(["Caf\u00e9", "\u732b"])
