"""Augmentation against slices, torchvision, and the moments of the colour noise."""

import pytest
import torch
from scipy.stats import chi2
from torchvision.transforms.functional import ten_crop

from alexold import augment
from alexold.config import PAPER, SOURCE2012, Augment


def pictures(n=6, side=20):
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def test_crop_is_a_slice_and_mirrors_it():
    x = pictures()
    top, left = torch.tensor([0, 3, 8, 1, 2, 0]), torch.tensor([8, 0, 4, 4, 5, 0])
    mirrored = torch.tensor([False, True, False, True, False, True])
    for i, window in enumerate(augment.crop(x, top, left, mirrored, 12)):
        expected = x[i, top[i] : top[i] + 12, left[i] : left[i] + 12]
        assert torch.equal(window, expected.flip(1) if mirrored[i] else expected)


def test_crops_larger_than_the_picture_are_refused():
    with pytest.raises(ValueError, match="24 pixels do not fit into pictures of 20"):
        augment.random_crop_flip(pictures(), 24, Augment(), drawn())


def places(setting, n=4000, side=6, size=4):
    """Offsets and mirroring of n crops, read off pictures in which a pixel's value is its place."""
    x = torch.arange(side * side, dtype=torch.uint8).view(1, side, side, 1).expand(n, side, side, 3).contiguous()
    windows = augment.random_crop_flip(x, size, setting, drawn())[..., 0].long()
    mirrored = windows[:, 0, 0] > windows[:, 0, 1]
    first = torch.where(mirrored, windows[:, 0, -1], windows[:, 0, 0])
    return torch.stack([first // side, first % side, mirrored], 1)


def test_every_offset_and_mirror_image_is_as_likely():
    found, counts = places(Augment()).unique(dim=0, return_counts=True)
    assert len(found) == 3 * 3 * 2  # offsets 0..2 inclusive in both directions
    assert counts.min() > 4000 / 18 * 0.7 and counts.max() < 4000 / 18 * 1.3


def test_crop_flip_and_chunk_settings_are_wired():
    assert (places(Augment(crop="centre", flip=False)) == torch.tensor([1, 1, 0])).all()
    assert places(Augment(flip=False))[:, 2].sum() == 0
    chunks = places(Augment(chunk=32), n=4000).view(125, 32, 3)
    assert (chunks == chunks[:, :1]).all() and len(chunks[:, 0].unique(dim=0)) > 10


def test_same_generator_same_batch():
    x, mean, axes = pictures(), torch.full((20, 20, 3), 100.0), torch.eye(3)
    batches = [augment.training_input(x, mean, axes, 12, PAPER.augment, drawn(seed)) for seed in (5, 5, 6)]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])


def test_ten_views_are_torchvisions():
    x = pictures(3)
    ours = torch.stack(list(augment.views(x, 14, "ten")))
    theirs = torch.stack(ten_crop(x.permute(0, 3, 1, 2), 14)).permute(0, 1, 3, 4, 2)
    assert torch.equal(ours, theirs[[0, 1, 2, 3, 4, 6, 5, 8, 7, 9]])  # theirs: corners of the mirrored picture
    assert torch.equal(next(augment.views(x, 14, "centre")), ours[4])
    with pytest.raises(ValueError, match="'centre' or 'ten'"):
        next(augment.views(x, 14, "five"))


@pytest.mark.parametrize("reading", ["root", "eigenvalue"])
def test_colour_noise_has_the_covariance_of_its_reading(reading):
    values = torch.tensor([400.0, 1500.0, 15000.0], dtype=torch.float64)
    vectors = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=drawn()))[0]
    axes = augment.colour_axes(values, vectors, reading)
    noise = augment.colour_noise(200_000, axes, 0.1, drawn())
    # root: std .1 sqrt(lambda) along each axis; eigenvalue: .1 lambda with pixels in 0..1, seen in 0..255
    stds = 0.1 * values.sqrt() if reading == "root" else 255 * 0.1 * (values / 255**2)
    torch.testing.assert_close(torch.cov(noise.T), vectors @ torch.diag(stds**2) @ vectors.T, rtol=0.03, atol=0.05)
    assert noise.mean(0).abs().max() < 0.2


@pytest.mark.parametrize("side", [20, 300])  # together, and one by one
def test_input_is_the_equation(side):
    x, mean = pictures(2, side), torch.rand(side, side, 3) * 255
    shift = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -0.5]])
    y = augment.to_input(x, mean, shift, 1.1)
    assert y.shape == (2, 3, side, side) and y.is_contiguous(memory_format=torch.channels_last)
    for i in range(2):
        for channel in range(3):
            expected = (x[i, :, :, channel].double() - mean[:, :, channel] + shift[i, channel]) / 1.1
            torch.testing.assert_close(y[i, channel].double(), expected, rtol=1e-5, atol=1e-5)


def test_training_input_subtracts_the_centre_of_the_mean_wherever_the_crop_is():
    mean = torch.rand(20, 20, 3) * 255
    setting = Augment(colour="none")
    y = augment.training_input(pictures(), mean, None, 12, setting, drawn(3))
    windows = augment.random_crop_flip(pictures(), 12, setting, drawn(3))
    torch.testing.assert_close(y.permute(0, 2, 3, 1), windows - mean[4:16, 4:16])


def test_colour_noise_and_the_division_end_together():
    x, mean, axes = pictures(), torch.zeros(20, 20, 3), torch.eye(3) * 50
    setting = SOURCE2012.augment
    on, off = (augment.training_input(x, mean, axes, 12, setting, drawn(), colour) for colour in (True, False))
    windows = augment.random_crop_flip(x, 12, setting, drawn()).permute(0, 3, 1, 2).float()
    assert torch.equal(off, windows)
    shift = on * 1.1 - windows
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift), rtol=0, atol=1e-4)
    assert shift.abs().max() > 0.5


def test_both_ways_to_crop_are_one():
    x = pictures(40)
    where = torch.randint(9, (2, 40), generator=drawn()), torch.rand(40, generator=drawn(1)) < 0.5
    copied, gathered = (way(x, *where[0], where[1], 12) for way in (augment._crop_copied, augment._crop_gathered))
    assert torch.equal(copied, gathered)


def test_crops_are_uniform_over_the_33_x_33_places_of_the_paper():
    """Chi-squared over the 2,178 crops and mirror images of 224 out of 256 pixels."""
    each = 40
    top, left, mirrored = augment.random_windows(2178 * each, 256, 224, Augment(), drawn())
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 32, 0, 32)
    counts = torch.bincount((top * 33 + left) * 2 + mirrored, minlength=2178).double()
    statistic = ((counts - each) ** 2 / each).sum().item()
    assert len(counts) == 2178 and chi2(2177).ppf(0.0005) < statistic < chi2(2177).ppf(0.9995)
