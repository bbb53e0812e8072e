"""Layers against loops from their equations; nets against the paper and the files of 2012."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexlib.config import CIFAR13, FIGURE1, PAPER, SOURCE2012
from alexlib.models import AlexNet, build, shapes_and_cost
from alexlib.models.cifar import STACKS, CifarNet, LocallyConnected
from alexlib.models.layers import (
    Dropout,
    LocalResponseNorm,
    ScaledTanh,
    SpatialResponseNorm,
    TowerLinear,
)
from alexlib.paper import LAYERS

SMALL = {"input": 64, "classes": 5, "width": 1 / 16}


def lrn_loop(a, n, k, alpha, beta, towers):
    """The equation of section 3.3 for each map, in float64."""
    a, b = a.double(), torch.empty_like(a, dtype=torch.float64)
    maps = a.shape[1] // towers
    for i in range(a.shape[1]):
        first = i // maps * maps
        low, high = max(first, i - n // 2), min(first + maps - 1, i + n // 2)
        total = sum(a[:, j] ** 2 for j in range(low, high + 1))
        b[:, i] = a[:, i] / (k + alpha * total) ** beta
    return b


@pytest.mark.parametrize("n", [1, 3, 5, 9])
@pytest.mark.parametrize(("maps", "towers"), [(12, 1), (12, 2), (3, 1), (4, 2), (1, 1)])
def test_lrn_is_the_equation(n, maps, towers):
    torch.manual_seed(0)
    x = (torch.randn(3, maps, 4, 5) * 40).double().requires_grad_()
    g = torch.randn_like(x)
    results = []
    for y in (LocalResponseNorm(n, 2, 1e-3, 0.6, towers)(x), lrn_loop(x, n, 2, 1e-3, 0.6, towers)):
        results.append((y, torch.autograd.grad(y, x, g)[0]))
    torch.testing.assert_close(*results)


def test_lrn_needs_an_odd_window():
    with pytest.raises(ValueError, match="n=4"):
        LocalResponseNorm(n=4)


def test_spatial_norm_is_its_equation():
    a = torch.randn(2, 3, 6, 7, dtype=torch.float64) * 10
    b = SpatialResponseNorm(5, 2e-3)(a)
    for r in range(6):
        for c in range(7):
            window = a[:, :, max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
            expected = a[:, :, r, c] * (1 + 2e-3 * (window**2).sum((2, 3))) ** -0.75
            torch.testing.assert_close(b[:, :, r, c], expected)


@pytest.mark.parametrize("norm", [LocalResponseNorm(), SpatialResponseNorm()])
def test_norms_of_bfloat16_sum_in_float32(norm):
    """Only the result is rounded to 8 bits; sums of squares in bfloat16 would differ by more."""
    x = (torch.randn(4, 64, 6, 6) * 300).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    exact = norm(x.double())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=0)


@pytest.mark.parametrize(("p", "factor"), [(0.5, 1), (0.25, 1), (0.25, 2 / 3), (0, 0.5)])
def test_dropout_scales_by_1_minus_p_in_testing_and_not_in_training(p, factor):
    torch.manual_seed(6)
    x, layer = torch.full((400, 500), 3.0), Dropout(p, factor)
    y = layer.train()(x)
    torch.testing.assert_close(y[y > 0], factor * x[y > 0])
    assert abs((y == 0).float().mean().item() - p) <= 5 * (p * (1 - p) / x.numel()) ** 0.5
    torch.testing.assert_close(layer.eval()(x), x * (1 - p) * factor)


def test_tower_linear_is_one_linear_layer_for_each_tower():
    layer, x = TowerLinear(8, towers=2), torch.randn(5, 6)
    layer(x)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    halves = [F.linear(x[:, :3], layer.weight[0]), F.linear(x[:, 3:], layer.weight[1])]
    torch.testing.assert_close(layer(x), torch.cat(halves, 1) + layer.bias)


def test_scaled_tanh_is_1_at_1():
    x = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(ScaledTanh()(x), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [6, 7])
def test_unshared_convolution_is_a_loop_over_positions(side):
    layer = LocallyConnected(3, 4, side).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    padded, expected = F.pad(x, (1, 1, 1, 1)), torch.empty(2, 4, side, side, dtype=torch.float64)
    for i in range(side**2):
        row, column = divmod(i, side)
        window = padded[:, :, row : row + 3, column : column + 3].flatten(1)
        expected[:, :, row, column] = window @ layer.weight[i] + layer.bias[i]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("config", [PAPER, SOURCE2012, PAPER.replace(input=227)])
def test_shapes_and_cost_are_those_of_figure_2(config):
    rows = {row["stage"]: row for row in shapes_and_cost(config)}
    for name, layer in LAYERS.iterrows():
        assert all(rows[name][key] == layer[key] for key in ("neurons", "parameters", "macs"))
    assert sum(row["parameters"] for row in rows.values()) == 60_965_224
    with torch.device("meta"):
        layers = [layer for layer in AlexNet(config.net) if hasattr(layer, "weight")]
    assert [tuple(layer.weight.shape) for layer in layers] == list(LAYERS.weight_shape)


def total(config, key):
    return sum(row[key] for row in shapes_and_cost(config))


def test_nets_of_the_footnotes_and_logs():
    assert total(PAPER.replace(towers=1), "parameters") == 62_378_344
    wider = {"kernels": (96, 320, 384, 384, 256), "units": (8192, 4096)}  # run 150
    alone = PAPER.replace(cross_talk=False, **wider)
    assert round(total(alone, "parameters") / 1e6, 1) == 60.7
    rows = {r["stage"]: r for r in shapes_and_cost(PAPER.replace(overlapping=False))}  # run 147
    stages = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    assert [rows[s]["output"][1] for s in stages] == [55, 28, 26, 13, 13, 13, 11, 6]
    with pytest.raises(ValueError, match="48 pixels is too small"):
        build(PAPER.replace(input=48, overlapping=False, width=1 / 16))


def names(config):
    with torch.device("meta"):
        return " ".join(name for name, _ in build(config).named_children())


def test_order_of_the_stages():
    assert names(PAPER.replace(lrn=(3,), omit=(6,))) == (
        "pad1 conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 lrn3 conv4 relu4"
        " conv5 relu5 pool5 flatten fc7 relu7 dropout7 fc8"
    )
    source = names(SOURCE2012.replace(lrn_before_relu=(1, 2)))
    assert source.startswith("pad1 conv1 lrn1 pool1 relu1 conv2 lrn2 spatial2 pool2 relu2 conv3")


@pytest.mark.parametrize("omit", [(3, 4, 5), (1, 2), (1, 2, 3), (2, 3, 4, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("cross_talk", [True, False])
def test_several_layers_can_be_left_out(omit, cross_talk):
    config = PAPER.replace(**SMALL | {"input": 128}, omit=omit, cross_talk=cross_talk)
    build(config)(torch.randn(2, 3, 128, 128)).square().sum().backward()


@pytest.mark.parametrize("config", [PAPER, SOURCE2012])
def test_initial_values(config):
    """torch's own values are drawn layer by layer, then the Gaussian ones: runs depend on it.

    At width 1/16 standard deviations are four times those of the paper, but for conv1.
    """
    torch.manual_seed(3)
    layers = [m for m in build(config.replace(**SMALL)) if hasattr(m, "weight")]
    torch.manual_seed(3)
    for layer in layers:
        out, inputs, *size = layer.weight.shape
        nn.Conv2d(inputs, out, size) if size else nn.Linear(inputs, out)
    for i, layer in enumerate(layers):
        std = config.net.init_std[i] * (4 if i else 1)
        expected = torch.empty(layer.weight.shape).normal_(0, std)
        assert torch.equal(layer.weight, expected)
        assert (layer.bias == config.net.init_bias[i]).all()


def test_settings_reach_the_layers():
    changes = {"lrn_n": 3, "lrn_k": 1.0, "lrn_alpha": 0.5, "lrn_beta": 0.5, "spatial_alpha": 0.1}
    net = build(SOURCE2012.replace(**SMALL, **changes, dropout=0.25, fc_factor=0.5, units=(64, 32)))
    lrn = net.lrn2
    assert (lrn.n, lrn.k, lrn.alpha, lrn.beta, lrn.towers) == (3, 1, 0.5, 0.5, 2)
    assert net.spatial2.alpha == 0.1
    assert (net.dropout7.p, net.dropout7.factor) == (0.25, 0.5)
    assert (net.fc6.out_features, net.fc7.out_features, net.fc8.out_features) == (4, 2, 5)


@pytest.mark.parametrize(
    ("config", "parameters", "sides"),
    [
        (FIGURE1, 89_578, [32, 16, 8]),
        (CIFAR13, 1_116_490, [24, 12, 6, 6]),
        (FIGURE1.replace(stack="80-seconds"), 145_578, [32, 16, 8]),
    ],
)
def test_cifar_nets_are_those_of_the_files(config, parameters, sides):
    rows = [row for row in shapes_and_cost(config) if row["parameters"]]
    assert sum(row["parameters"] for row in rows) == parameters
    assert [row["output"][1] for row in rows if len(row["output"]) == 3] == sides
    if config is CIFAR13:
        assert rows[2]["macs"] == 36 * 32 * 64 * 9 and rows[2]["neurons"] == 36 * 32  # unshared
    stds = [std for _, _, std, _ in STACKS[config.net.stack]]
    layers = [m for m in build(config.replace(width=2.0)) if hasattr(m, "weight")]
    for i, (layer, std) in enumerate(zip(layers, stds, strict=True)):
        expected = std / (math.sqrt(2) if i else 1)
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.08)
        assert not layer.bias.any()


def test_average_pools_divide_by_the_pixels_inside_the_map():
    pool = next(m for m in CifarNet(FIGURE1.net) if isinstance(m, nn.AvgPool2d))
    y = pool(torch.ones(1, 1, 16, 16))
    assert torch.equal(y, torch.ones(1, 1, 8, 8))
