"""The nets for CIFAR-10: stacks of the 2012 files, unshared kernels, clipped averages, runs that end at a target."""

import math

import pytest
import torch
from torch import nn

from alexold import nets
from alexold.config import FIGURE1, Train
from alexold.layers import LocallyConnected
from alexold.nets import CifarNet, build, trace
from alexold.optim import finished, make_optimizer


@pytest.mark.parametrize(
    ("stack", "side", "parameters", "maps"),
    [
        ("four-layer", 32, 89_578, [(32, 16, 16), (32, 8, 8), (64, 4, 4)]),
        ("local", 24, 1_116_490, [(64, 12, 12), (64, 6, 6), (32, 6, 6), (32, 6, 6)]),
        ("80-seconds", 32, 145_578, [(32, 16, 16), (32, 8, 8), (64, 4, 4)]),
    ],
)
def test_stacks_are_those_of_the_files(stack, side, parameters, maps):
    spec = FIGURE1.replace(stack=stack, input=side)
    rows = trace(spec)
    assert sum(row["parameters"] for row in rows) == parameters
    layers = [row["stage"] for row in rows if row["parameters"]]
    seen = [rows[i - 1]["output"] for i, row in enumerate(rows) if row["parameters"] or row["stage"] == "flatten"]
    assert [shape for shape in seen[1:] if len(shape) == 3][: len(maps)] == maps
    assert build(spec)(torch.zeros(2, 3, side, side)).shape == (2, 10)
    assert (
        layers
        == {
            "four-layer": ["conv1", "conv2", "conv3", "fc4"],
            "local": ["conv1", "conv2", "local3", "local4", "fc5"],
            "80-seconds": ["conv1", "conv2", "conv3", "fc4", "fc5"],
        }[stack]
    )


def test_operations_are_counted_for_unshared_kernels_too():
    rows = {row["stage"]: row for row in trace(FIGURE1.replace(stack="local", input=24))}
    assert rows["conv1"]["macs"] == 24 * 24 * 64 * 75 and rows["local3"]["macs"] == 36 * 32 * 64 * 9
    assert rows["local3"]["neurons"] == 36 * 32


@pytest.mark.parametrize("stack", nets.STACKS)
def test_initial_values(stack):
    torch.manual_seed(0)
    spec = FIGURE1.replace(stack=stack, input=24, width=2.0)
    model = build(spec)
    stds = [std for _, _, std, _ in nets.STACKS[stack]]
    for i, (layer, std) in enumerate(zip([m for m in model if hasattr(m, "weight")], stds, strict=True)):
        expected = std / (1 if i == 0 else math.sqrt(2))
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05) and not layer.bias.any()


@pytest.mark.parametrize("side", [8, 9])
def test_unshared_kernels_are_a_loop(side):
    torch.manual_seed(0)
    layer = LocallyConnected(3, 4, side).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    expected = torch.empty(2, 4, side, side, dtype=torch.float64)
    for row in range(side):
        for column in range(side):
            window = padded[:, :, row : row + 3, column : column + 3].flatten(1)
            place = row * side + column
            expected[:, :, row, column] = window @ layer.weight[place] + layer.bias[place]
    torch.testing.assert_close(layer(x), expected)
    small = LocallyConnected(2, 2, 3).double()
    nn.init.normal_(small.weight)
    nn.init.normal_(small.bias)
    assert torch.autograd.gradcheck(small, torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True))


def test_unshared_kernels_that_are_equal_are_a_convolution():
    torch.manual_seed(0)
    conv, layer = nn.Conv2d(3, 4, 3, padding=1), LocallyConnected(3, 4, 6)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).T.expand(36, -1, -1))
        layer.bias.copy_(conv.bias.expand(36, -1))
    x = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-5)


def test_averages_are_over_what_lies_in_the_map():
    pool = next(m for m in CifarNet(FIGURE1) if isinstance(m, nn.AvgPool2d))
    x = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    y = pool(x)
    assert y.shape == (1, 2, 8, 8)
    for row in range(8):
        for column in range(8):
            window = x[:, :, 2 * row : min(2 * row + 3, 16), 2 * column : min(2 * column + 3, 16)]
            torch.testing.assert_close(y[:, :, row, column], window.mean((2, 3)))


def test_relu_before_or_after_the_max_pool_is_the_same():
    """The 2012 files pool first; both are rising functions."""
    x, pool = torch.randn(2, 3, 8, 8), nn.MaxPool2d(3, 2, ceil_mode=True)
    for f in (torch.relu, torch.tanh):
        torch.testing.assert_close(f(pool(x)), pool(f(x)))


def test_names_say_the_activation_and_the_last_layer_has_none():
    names = [name for name, _ in build(FIGURE1.replace(activation="tanh")).named_children()]
    assert names[:6] == ["conv1", "tanh1", "pool1", "conv2", "tanh2", "pool2"] and names[-2:] == ["flatten", "fc4"]


def test_biases_learn_twice_as_fast_and_nothing_decays():
    weights, biases = make_optimizer(build(FIGURE1), FIGURE1.train).param_groups
    assert (weights["lr"], biases["lr"]) == (0.001, 0.002)
    assert weights["weight_decay"] == biases["weight_decay"] == 0


def test_a_run_ends_at_its_target():
    t = Train(schedule="constant", target=0.25)
    assert not finished(t, []) and not finished(t, [{"train_top1": 0.26}])
    assert finished(t, [{"train_top1": 0.26}, {"train_top1": 0.25}])
    assert not finished(Train(schedule="constant"), [{"train_top1": 0.0}])
