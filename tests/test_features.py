"""What a net has learned, each number beside the same computed in another way."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_loop import images
from test_weights import SMALL, trained
from torch import nn

from alexlib.config import PAPER
from alexlib.models import build, colourfulness, tower_colour
from alexlib.study import features


@pytest.fixture(scope="module")
def net():
    return trained()


# ---- the net and its activations -----------------------------------------------------------------


def test_activations_are_outputs_before_the_nonlinearity_and_maps_count_with_their_largest(net):
    test, plain = images(5), build(SMALL, fast=False).double().eval()
    plain.load_state_dict(net.model.state_dict())
    found = features.activations(net, test, ["conv2", "fc7"], batch=2)
    centre = (test.pixels[:, 4:68, 4:68] - net.mean.double().numpy()).transpose(0, 3, 1, 2)
    expected, x = {}, torch.tensor(centre)
    with torch.no_grad():
        for name, stage in plain.named_children():
            x = expected[name] = stage(x)
    largest = expected["conv2"].numpy().max((2, 3))
    np.testing.assert_allclose(found["conv2"], largest, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["fc7"], expected["fc7"], rtol=1e-4, atol=1e-4)


def test_capture_keeps_what_a_stage_in_place_overwrites_and_leaves_no_hook():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True))
    x = torch.randn(9, 4)
    with features.capture(model, ["0", "1"]) as outputs:
        after = model(x)
    assert torch.equal(outputs["0"], F.linear(x, model[0].weight, model[0].bias))
    assert torch.equal(outputs["1"], after) and not model[0]._forward_hooks


def test_signals_are_standard_deviations_of_outputs_and_their_gradients():
    torch.manual_seed(0)
    config = PAPER.replace(input=64, width=1 / 16, classes=5)
    model = build(config)
    x, labels = torch.randn(4, 3, 64, 64) * 50, torch.tensor([0, 1, 2, 3])
    found = features.signals(model, x, labels)
    assert tuple(found.index) == features.LAYERS

    plain = build(config, fast=False).eval()
    plain.load_state_dict(model.state_dict())
    outputs, y = {}, x
    for name, stage in plain.named_children():
        y = outputs[name] = stage(y)
    loss = F.cross_entropy(y, labels)
    for name in features.LAYERS:
        gradient = torch.autograd.grad(loss, outputs[name], retain_graph=True)[0]
        expected = [outputs[name].std().item(), gradient.std().item()]
        assert found.loc[name].tolist() == pytest.approx(expected, rel=1e-3), name


# ---- the first layer's kernels -------------------------------------------------------------------

Y, X = torch.meshgrid(*[torch.arange(11.0) - 5] * 2, indexing="ij")
GREY, RED_GREEN, YELLOW_BLUE, RED = (1, 1, 1), (1, -1, 0), (-0.5, -0.5, 1), (1, 0, 0)


def coloured(pattern, colour):
    return torch.tensor(colour, dtype=torch.float32)[:, None, None] * pattern


def gabor(cycles, angle, phase, sigma, colour):
    """A wave of so many cycles per 11 pixels under an envelope of standard deviation sigma."""
    along = X * np.cos(angle) + Y * np.sin(angle)
    wave = torch.cos(2 * np.pi * cycles / 11 * along + phase)
    return coloured(wave * torch.exp(-(X**2 + Y**2) / (2 * sigma**2)), colour)


def spot(sigma, colour, x=0.0, y=0.0):
    return coloured(torch.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2)), colour)


def white(n, seed=0):
    return torch.randn(n, 3, 11, 11, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("colour", [GREY, RED_GREEN, RED], ids=str)
@pytest.mark.parametrize("cycles", [1.5, 3, 5])
def test_gabors_are_gratings(cycles, colour):
    waves = itertools.product(np.arange(12) * np.pi / 12, (0, np.pi / 4, np.pi / 2), (1.5, 3, 1000))
    kernels = torch.stack([gabor(cycles, *wave, colour) for wave in waves])
    assert (features.kinds(kernels) == "grating").all()


@pytest.mark.parametrize("colour", [RED_GREEN, YELLOW_BLUE, RED], ids=str)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 1), (0, 3)], ids=str)
def test_spots_of_colour_are_blobs_and_grey_ones_are_neither(colour, place):
    for sigma in (1.5, 2, 2.5, 3, 3.5):
        one, wide = spot(sigma, colour, *place), spot(2 * sigma, colour, *place)
        kernels = torch.stack([one, one - wide / 4, spot(sigma, GREY, *place)])
        assert features.kinds(kernels).tolist() == ["blob", "blob", "neither"], sigma


def test_noise_flat_kernels_points_and_crossed_gratings_are_neither():
    tinted = white(1000) + 100 * torch.randn(1000, 3, 1, 1)
    assert (features.kinds(tinted) == "neither").all()
    assert features.kernel_energy(white(1000)).amax() < 0.3
    point = torch.zeros(3, 11, 11)
    point[1, 5, 5] = 7
    crossed = gabor(3, 0, 0, 3, GREY) + gabor(3, np.pi / 2, 0, 3, GREY)
    flat = torch.full((3, 11, 11), 0.1), coloured(torch.ones(11, 11), RED)
    others = torch.stack([*flat, point, crossed, 0 * point])
    assert (features.kinds(others) == "neither").all()


def test_energy_of_kernels_against_sums_over_bins():
    def spectrum(x):  # in half cycles per kernel
        return (abs(np.fft.fft2(x, (22, 22))) ** 2).sum(0) / 484

    def near(p, q):  # the bins within 1 cycle of (p, q) and of (-p, -q)
        steps = itertools.product((1, -1), range(-2, 3), range(-2, 3))
        return {((sign * p + i) % 22, (sign * q + j) % 22) for sign, i, j in steps}

    kernels = white(2, seed=5)
    for kernel, found in zip(kernels.numpy(), features.kernel_energy(kernels).T, strict=True):
        kernel = kernel - kernel.mean((1, 2), keepdims=True, dtype=np.float64)
        power, off_grey = spectrum(kernel), spectrum(kernel - kernel.mean(0))
        ratings = []
        for p, q in np.ndindex(22, 22):
            one, other = near(p, q), near(q, -p)
            along, across = (sum(power[bin] for bin in x) for x in (one - other, other - one))
            ratings.append(along if along >= 2 * across else 0)
        square = itertools.product(range(-4, 5), repeat=2)
        low = [off_grey[p, q] for p, q in square if p * p + q * q <= 16]
        assert found.tolist() == pytest.approx([max(ratings) / power.sum(), sum(low) / power.sum()])
    with pytest.raises(ValueError):
        features.kinds(torch.zeros(2, 3, 5, 5))


def test_colourfulness_is_the_share_off_the_grey_axis():
    kernels = [spot(2, colour) for colour in (GREY, RED, RED_GREEN, (2, 1, 0), (0, 0, 0))]
    expected = [0, 2 / 3, 1, 1 - 3 / 5, 0]  # 1 - (r + g + b)^2 / 3 (r^2 + g^2 + b^2)
    found = colourfulness(torch.stack(kernels))
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_towers_colours_are_compared_by_all_divisions_of_the_kernels(net):
    values = colourfulness(net.model.conv1.weight).numpy()
    found = tower_colour(net.model)["colour"]
    half = len(values) // 2
    assert found["means"] == pytest.approx([values[:half].mean(), values[half:].mean()])
    divisions = itertools.combinations(values, half)
    gaps = [abs(2 * np.mean(some) - 2 * values.mean()) for some in divisions]  # the first: ours
    assert found["p"] == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-9))
    assert tower_colour(build(SMALL.replace(towers=1))) == {}


# ---- images that activate a unit, and what it sees -----------------------------------------------


def test_images_that_activate_a_unit_and_what_it_sees_of_them(net):
    """What the unit does not see cannot change its largest activation; each edge can."""
    test, units, k = images(20), [7, 2], 3
    values = features.activations(net, test, ["conv2", "fc7"])
    indices, boxes = features.exciting(net, test, "conv2", values["conv2"], units, k)

    def largest(x, unit):
        with features.capture(net.model, ["conv2"]) as outputs, torch.no_grad():
            net.model(x)
        return outputs["conv2"][0, unit].max().item()

    for unit, found, places in zip(units, indices.tolist(), boxes.int().tolist(), strict=True):
        assert found == sorted(range(20), key=lambda n: -values["conv2"][n, unit].item())[:k]
        for n, (left, top, right, bottom) in zip(found, places, strict=True):
            assert max(right - left, bottom - top) < 51  # 11 + 2 x 4 + 4 x 8: as conv2 can see
            x = net.input(test.pixels[n : n + 1])
            inside = np.s_[:, :, top : bottom + 1, left : right + 1]
            whole, outside = largest(x, unit), x + 1e-3
            outside[inside] = x[inside]
            assert largest(outside, unit) == whole
            for edge in np.s_[:, :, top], np.s_[:, :, bottom], np.s_[..., left], np.s_[..., right]:
                changed = x.clone()
                changed[edge] += 10
                assert largest(changed, unit) != whole
    assert features.exciting(net, test, "fc7", values["fc7"], units, k)[1] is None


def test_precision_of_ties_is_the_mean_over_all_choices():
    distances = torch.tensor([[3.0, 1, 2, 2, 2, 2, 9]])
    same = torch.tensor([[True, False, True, True, False, False, True]])
    for k in range(1, 8):
        nearer = [j for j in range(7) if (distances[0] <= distances[0, j]).sum() <= k]
        others = [j for j in range(7) if j not in nearer]
        tied = [j for j in others if (distances[0] < distances[0, j]).sum() < k]
        choices = [nearer + list(some) for some in itertools.combinations(tied, k - len(nearer))]
        expected = np.mean([[same[0, j].item() for j in choice] for choice in choices])
        assert features.precision(distances, same, k).item() == pytest.approx(expected), k
