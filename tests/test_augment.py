"""Augmentation against slices, torchvision, and the moments of the colour noise."""

import pytest
import torch
from scipy.stats import chi2
from torchvision.transforms.functional import ten_crop

from alexlib.config import PAPER, SOURCE2012, Augment
from alexlib.data import augment


def images(n=6, side=20):
    numbers = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=numbers)


def draws_of(setting, n=6, side=20, size=12, seed=0, colour=True):
    return augment.draw(n, side, size, setting, torch.Generator().manual_seed(seed), colour)


@pytest.mark.parametrize("size", [12, 70])  # gathered, and copied
def test_a_crop_is_a_slice_or_its_mirror_image(size):
    x = images(6, size + 8)
    top, left = torch.tensor([0, 3, 8, 1, 2, 0]), torch.tensor([8, 0, 4, 4, 5, 0])
    mirrored = torch.tensor([False, True, False, True, False, True])
    for i, window in enumerate(augment.crop(x, top, left, mirrored, size)):
        expected = x[i, top[i] : top[i] + size, left[i] : left[i] + size]
        assert torch.equal(window, expected.flip(1) if mirrored[i] else expected)


def test_crops_are_uniform_over_the_33_x_33_positions_of_the_paper():
    """Chi-squared over the 2,178 crops and mirror images of 224 out of 256 pixels."""
    each = 40
    top, left, mirrored, _ = draws_of(Augment(), 2178 * each, 256, 224)
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 32, 0, 32)
    counts = torch.bincount((top * 33 + left) * 2 + mirrored, minlength=2178).double()
    statistic = ((counts - each) ** 2 / each).sum().item()
    assert len(counts) == 2178 and chi2(2177).ppf(0.0005) < statistic < chi2(2177).ppf(0.9995)


def test_the_settings_of_crop_flip_and_chunk_act():
    plain = draws_of(Augment(crop="centre", flip=False), n=50)
    assert plain.top.tolist() == plain.left.tolist() == [4] * 50 and not plain.mirrored.any()
    assert not draws_of(Augment(flip=False), n=50).mirrored.any()
    chunks = torch.stack(draws_of(Augment(chunk=32), n=4000)[:3], 1).view(125, 32, 3)
    assert (chunks == chunks[:, :1]).all() and len(chunks[:, 0].unique(dim=0)) > 50


def test_ten_views_are_those_of_torchvision():
    x = images(3)
    ours = torch.stack(list(augment.views(x, 14, "ten")))
    theirs = torch.stack(ten_crop(x.permute(0, 3, 1, 2), 14)).permute(0, 1, 3, 4, 2)
    order = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]  # torchvision mirrors the image first, then crops it
    assert torch.equal(ours, theirs[order])
    assert torch.equal(next(augment.views(x, 14, "centre")), ours[4])


@pytest.mark.parametrize("reading", ["root", "eigenvalue"])
def test_colour_noise_has_the_covariance_of_its_reading(reading):
    values = torch.tensor([400.0, 1500.0, 15000.0], dtype=torch.float64)
    vectors = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    axes = augment.colour_axes(values, vectors, reading)
    noise = augment.colour_noise(draws_of(Augment(), n=200_000).coefficients, axes)
    unit = 255**2  # "eigenvalue" means 0.1 times the variance of pixels in 0..1
    stds = {"root": 0.1 * values.sqrt(), "eigenvalue": 255 * 0.1 * values / unit}[reading]
    expected = vectors @ torch.diag(stds**2) @ vectors.T
    torch.testing.assert_close(torch.cov(noise.T), expected, rtol=0.03, atol=0.05)


@pytest.mark.parametrize("side", [20, 300])  # all at once, and image by image
def test_the_input_is_the_equation(side):
    x, mean = images(2, side), torch.rand(side, side, 3) * 255
    shift = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -0.5]])
    y = augment.to_input(x, mean, shift, 1.1)
    assert y.shape == (2, 3, side, side)
    assert y.is_contiguous(memory_format=torch.channels_last)
    expected = (x.double() - mean + shift[:, None, None]) / 1.1
    torch.testing.assert_close(y.double(), expected.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_colour_noise_and_division_end_together():
    """Without them, the centre of the mean is subtracted, wherever the crop is."""
    mean, axes, setting = torch.rand(20, 20, 3) * 255, torch.eye(3) * 50, SOURCE2012.augment
    on, off = (
        augment.training_input(images(), mean, axes, 12, setting, draws_of(setting, colour=colour))
        for colour in (True, False)
    )
    windows = augment.crop(images(), *draws_of(setting)[:3], 12)
    assert torch.equal(off.permute(0, 2, 3, 1), windows - mean[4:16, 4:16])
    shift = on * setting.divide - off
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift), rtol=0, atol=1e-4)
    assert shift.abs().max() > 0.5


@pytest.mark.parametrize("setting", [PAPER.augment, SOURCE2012.augment, Augment(colour="none")])
@pytest.mark.parametrize("size", [12, 70])
def test_the_parts_of_several_processes_are_the_whole_mini_batch(setting, size):
    side = size + 8
    x, mean, axes = images(8, side), torch.rand(side, side, 3) * 255, torch.randn(3, 3) * 20
    whole = augment.training_input(x, mean, axes, size, setting, draws_of(setting, 8, side, size))
    parts = []
    for mine in (slice(0, 3), slice(3, 8)):
        draws = draws_of(setting, 8, side, size).part(mine)  # each process draws for all
        parts.append(augment.training_input(x[mine], mean, axes, size, setting, draws))
    assert torch.equal(torch.cat(parts), whole)
