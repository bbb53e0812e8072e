"""Figures show the numbers they are given."""

import math

import numpy as np
import pytest
import torch

from alexold import contrasts, plots
from alexold.config import PAPER
from alexold.diagnostics import augmentation_cost, signals
from alexold.nets import AlexNet


def history(n=3):
    keys = ("train_loss", "train_top1", "val_loss", "val_top1")
    return [{"epoch": i + 1, "lr": 0.01 if i < 2 else 0.001} | {k: 0.9 - 0.1 * i for k in keys} for i in range(n)]


def test_learning_curves_draw_both_errors_in_percent_and_the_drop():
    figure = plots.learning_curves(history(), chance=0.9)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    np.testing.assert_allclose(lines["held out, centre view"].get_ydata(), [0.9, 0.8, 0.7])
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [90, 80, 70])
    assert [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == ":"] == [2.5]
    assert "error is 70.0 %" in figure.axes[0].get_title(loc="left")


def test_learning_curves_without_held_out_pictures():
    rows = [row | {"val_loss": None, "val_top1": None} for row in history()]
    assert plots.learning_curves(rows, 0.9).axes[1].lines[0].get_label() == "training, running"


def test_kernels_stand_in_rows_by_tower():
    weights = torch.zeros(8, 3, 5, 5)
    weights[5, 0, 2, 3] = 1.0  # one red point in the second kernel of the second tower
    figure = plots.kernels(weights, 2, columns=2)
    assert len(figure.axes) == 2
    sheet = figure.axes[1].images[0].get_array()
    assert sheet.shape == (11, 11, 3)
    assert tuple(sheet[2, 6 + 3]) == (1, 0, 0) and tuple(sheet[2, 6 + 2]) == (0, 0, 0)


def test_predictions_mark_the_true_class_and_hide_pictures_when_told():
    pixels = np.full((2, 8, 8, 3), 200, np.uint8)
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float16)
    figure = plots.predictions(pixels, np.array([2, 0]), probabilities, ("ant", "bee", "cat"), show_pictures=False)
    bars = figure.axes[2].patches
    assert [round(bar.get_width(), 2) for bar in bars] == [0.1, 0.2, 0.7]
    assert bars[1].get_facecolor() != bars[0].get_facecolor() == bars[2].get_facecolor()
    assert figure.axes[0].images[0].get_array().shape == (4, 4, 3)


def test_signals_are_the_standard_deviations_of_outputs_and_gradients():
    torch.manual_seed(0)
    net = AlexNet(PAPER.replace(input=64, width=1 / 16, classes=5)).eval()
    x, labels = torch.randn(4, 3, 64, 64) * 50, torch.tensor([0, 1, 2, 3])
    rows = signals(net, x, labels)
    assert [row["layer"] for row in rows] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    scores = net(x)
    grad = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, labels), scores)[0]
    assert abs(rows[-1]["output"] - scores.std().item()) < 1e-6
    assert abs(rows[-1]["gradient"] - grad.std().item()) < 1e-6
    assert all(p.grad is None for p in net.parameters()) and not net.training


def test_contact_sheet_has_a_column_a_class(tmp_path):
    class Pictures:
        classes, labels = ("ant", "bee"), np.array([0, 1, 0, 1, 1])

        def gather(self, rows):
            return np.stack([np.full((8, 8, 3), r, np.uint8) for r in rows])

    figure = plots.contact_sheet(Pictures(), rows=2)
    shown = [int(axis.images[0].get_array()[0, 0, 0]) for axis in figure.axes]
    assert shown == [0, 1, 2, 3]


def test_view_errors_show_values_intervals_and_the_papers_gain():
    errors = [
        {"measure": "top-1", "views": v, "value": x, "low": x - 1, "high": x + 1}
        for v, x in (("centre", 9), ("ten", 7))
    ]
    gains = [{"measure": "top-1", "value": 2.0, "low": 0.5, "high": 3.5, "paper": 1.5}]
    left, right = plots.view_errors(errors, gains).axes
    assert [line.get_xdata()[0] for line in left.lines[1::2]] == [7, 9]  # from the bottom
    assert [text.get_text() for text in left.get_yticklabels()] == ["top-1, ten", "top-1, centre"]
    assert list(right.lines[0].get_xdata()) == [0.5, 3.5] and right.lines[2].get_xdata()[0] == 1.5
    assert "2.0 points" in right.get_title(loc="left")


def test_variant_curves_are_means_with_a_band_of_all_seeds():
    def row(variant, seed, *errors):
        return {"variant": variant, "seed": seed, "history": [{"train_top1": e, "val_top1": e / 2} for e in errors]}

    rows = [row("a", 0, 0.8, 0.4), row("a", 1, 0.6, 0.2), row("b", 0, 0.9, 0.9)]
    left, right = contrasts.variant_curves(rows).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [70, 30])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [35, 15])
    band = left.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (20, 80) and [line.get_label() for line in right.lines] == ["a", "b"]


def test_forest_draws_effect_interval_and_the_papers_value():
    effects = [{"name": "x", "value": 1.0, "low": 0.5, "high": 1.5, "n": (3, 6), "paper": 2.0}]
    effects += [{"name": "y", "value": -1.0, "low": -np.inf, "high": np.inf, "n": (1, 6), "paper": None}]
    axis = contrasts.forest(effects, "What it says").axes[0]
    drawn = [line.get_xdata() for line in axis.lines]
    assert [list(x) for x in drawn] == [[-1.0], [0.5, 1.5], [1.0], [2.0, 2.0], [0, 0]]
    assert [axis.lines[i].get_markerfacecolor() == "white" for i in (0, 2)] == [True, False]  # one run in an arm
    assert [text.get_text() for text in axis.get_yticklabels()] == ["y", "x"]


def race_row(*errors, origin="CIFAR-10 (JPEG q75 copy); folder of 60,000 .jpg files"):
    return {"history": [{"train_top1": error} for error in errors], "data": {"origin": origin}}


def test_figure1_draws_every_run_their_mean_and_a_band_from_three_runs():
    runs = {
        "relu": [race_row(0.5, 0.2), race_row(0.6, 0.3, 0.1)],
        "tanh": [race_row(*e) for e in ([0.8], [0.7], [0.6])],
    }
    figure = plots.figure1(runs, target=0.25, chance=0.9)
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_allclose(lines["relu, n = 2"].get_ydata(), [0.9, 0.55, 0.25])
    np.testing.assert_allclose(lines["tanh, n = 3"].get_ydata(), [0.9, 0.7])
    assert len(axis.lines) == 2 + 3 + 2 + 1 and len(axis.collections) == 1
    expected = (1 + 0.25 / 0.3 + 2 + 0.05 / 0.2) / 2
    assert axis.get_title(loc="left") == (
        f"CIFAR-10 (JPEG q75 copy)\nEpochs to 25% training error: relu {expected:.1f}, tanh not always"
    )
    band = axis.collections[0].get_paths()[0].vertices
    assert abs(band[:, 1].max() - (0.7 + 4.302653 * 0.1 / 3**0.5)) < 1e-6, "Student's interval"


def test_rate_search_shows_epochs_rings_for_never_and_the_last_error():
    found = {"relu": {0.1: race_row(0.2)["history"], 0.01: race_row(0.5, 0.4)["history"]}, "gelu": {0.1: []}}
    left, right = plots.rate_search(found, 0.25, 0.9).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [np.nan, 0.65 / 0.7])
    assert np.isfinite(left.lines[1].get_ydata()).tolist() == [True, False], "the ring"
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.4, 0.2])
    assert np.isnan(right.lines[1].get_ydata()).all()


def test_activation_functions_have_their_gradient_beside_them():
    value, gradient = plots.activation_functions(["relu", "tanh"]).axes
    x = value.lines[1].get_xdata()
    np.testing.assert_allclose(value.lines[1].get_ydata(), np.tanh(x), atol=1e-6)
    np.testing.assert_allclose(gradient.lines[1].get_ydata(), 1 - np.tanh(x) ** 2, atol=1e-6)
    np.testing.assert_allclose(gradient.lines[0].get_ydata(), x > 0)


def test_figure1_names_every_origin_of_its_images_once():
    rows = [race_row(0.2), race_row(0.2), race_row(0.2, origin="elsewhere")]
    title = plots.figure1({"relu": rows}, 0.25, 0.9).axes[0].get_title(loc="left")
    assert title.startswith("CIFAR-10 (JPEG q75 copy), elsewhere\n")


def test_ratio_by_target_draws_ratios_intervals_and_bounds():
    row = {"target": 0.5, "value": 2.0, "low": 1.5, "high": 2.5, "n": (3, 2), "bound": ""}
    rows = [row, row | {"target": 0.4, "value": 4.0, "bound": "at least"}, row | {"target": 0.35, "bound": "at most"}]
    rows.append(row | {"target": 0.3, "bound": "unknown"})
    axis = plots.ratio_by_target(rows, "tanh", "relu").axes[0]
    drawn = [(list(line.get_xdata()), list(line.get_ydata()), line.get_marker()) for line in axis.lines[:-1]]
    assert drawn == [
        ([50, 50], [1.5, 2.5], "None"), ([50], [2], "o"), ([40, 40], [1.5, 4], "None"), ([40], [4], "^"),
        ([35, 35], [2, 2.5], "None"), ([35], [2], "v"),
    ]  # fmt: skip
    assert axis.get_title(loc="left") == "The ratio depends on the target; n = 3 (tanh) and 2 (relu) runs"
    assert axis.get_xlim()[0] > axis.get_xlim()[1], "the error falls from left to right"
    single = plots.ratio_by_target([row | {"n": (1, 2), "low": 0.0, "high": math.inf}], "tanh", "relu").axes[0]
    assert len(single.lines) == 2, "no interval"
    assert len(plots.ratio_by_target([row | {"bound": "unknown"}], "tanh", "relu").axes[0].lines) == 1


@pytest.mark.parametrize(("augmented", "cost"), [
    ([0.03, 0.031, 0.029, 0.03, 0.032, 0.03, 0.03], "**9.1%** to the time of a batch"),
    ([0.019, 0.018, 0.021, 0.019, 0.02, 0.018, 0.02], "**no measurable cost**"),
    ([0.021, 0.01, 0.03, 0.021, 0.021, 0.012, 0.04], "**no measurable cost**"),
])  # fmt: skip
def test_a_cost_of_augmentation_within_the_scatter_is_none(augmented, cost):
    plain, step = [0.02, 0.021, 0.019, 0.02, 0.02, 0.018, 0.022], [0.09, 0.09, 0.2]
    said = augmentation_cost(augmented, plain, step, 11, "cpu")
    speed = 11 / (np.median(augmented) + 0.09)
    assert said == (
        f"{speed:.0f} training images/s with augmentation, 100 without (batches of 11 on `cpu`, medians of 7 repeats):"
        f" augmentation adds {cost}."
    )
