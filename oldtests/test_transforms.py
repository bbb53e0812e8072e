"""The torchvision transforms are the batched functions."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from alexold import augment, paper
from alexold.transforms import IMAGENET_2012, ColourNoise, TenViews


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=20, side=20):
    """Channels first, uint8."""
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=drawn())


@pytest.mark.parametrize("reading", ["root", "eigenvalue"])
def test_colour_noise_is_the_batched_one(reading):
    x = pictures()
    by_transform = ColourNoise(*IMAGENET_2012, reading=reading, generator=drawn(3))(x.float())
    values, vectors = (t.double() for t in IMAGENET_2012)
    axes = augment.colour_axes(values, vectors, reading).float()
    shift = augment.colour_noise(len(x), axes, 0.1, drawn(3))
    zero = torch.zeros(20, 20, 3)
    batched = augment.to_input(x.permute(0, 2, 3, 1), zero, shift)
    torch.testing.assert_close(by_transform, batched, rtol=0, atol=1e-4)
    assert (by_transform - x).flatten(1).std(1).min() > 0, "each picture of a batch has its own shift"


def test_white_one_is_white_255_scaled():
    x = pictures(4).float()
    of_255, of_1 = (ColourNoise(*IMAGENET_2012, white=white, generator=drawn(1)) for white in (255.0, 1.0))
    torch.testing.assert_close(of_1(x / 255), of_255(x) / 255)


def test_the_2012_axes_are_ordered_and_orthogonal():
    values, vectors = IMAGENET_2012
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3), rtol=0, atol=2e-3)
    grey = vectors[:, values.argmax()]
    assert (grey.sign() == grey[0].sign()).all() and values.sqrt().tolist() == pytest.approx(paper.COLOUR_STDS)
    noise = ColourNoise(values, vectors, generator=drawn())(torch.zeros(50_000, 3, 1, 1)).flatten(1)
    along = (noise @ vectors).std(0)
    np.testing.assert_allclose(along, 0.1 * np.array(paper.COLOUR_STDS), rtol=0.02)


def test_it_works_in_a_pipeline_and_leaves_boxes_alone():
    photo = Image.fromarray(pictures(1, 300)[0].permute(1, 2, 0).numpy())
    scaled = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), ColourNoise(*IMAGENET_2012, white=1.0)])
    torch.manual_seed(0)
    first, second = scaled(photo), scaled(photo)
    assert isinstance(first, tv_tensors.Image) and not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(scaled(photo), first), "without a generator it draws from torch's own"
    box = tv_tensors.BoundingBoxes([[0, 0, 5, 5]], format="XYXY", canvas_size=(300, 300))
    assert torch.equal(ColourNoise(*IMAGENET_2012)(first, box)[1], box)


def test_wrong_pictures_are_refused():
    noise = ColourNoise(*IMAGENET_2012)
    with pytest.raises(TypeError, match="float tensor: put v2"):
        noise(pictures(1))
    with pytest.raises(TypeError, match="float tensor"):
        noise(Image.new("RGB", (9, 9)))
    with pytest.raises(ValueError, match=r"3, H, W\), not \(1, 8, 8\)"):
        noise(torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="'eigenvalue' or 'root'"):
        ColourNoise(*IMAGENET_2012, reading="square")
    with pytest.raises(ValueError, match="views of 24 pixels do not fit into a picture of 20 x 20"):
        TenViews(24)(pictures(1))


@pytest.mark.parametrize(("side", "size"), [(20, 14), (21, 14), (14, 14), (256, 224)])
def test_ten_views_are_the_batched_ones(side, size):
    x = pictures(2, side)
    batched = list(augment.views(x.permute(0, 2, 3, 1), size, "ten"))
    by_transform = TenViews(size)(tv_tensors.Image(x))
    assert len(by_transform) == 10
    for ours, theirs in zip(by_transform, batched, strict=True):
        assert torch.equal(ours, theirs.permute(0, 3, 1, 2))
    photo = Image.fromarray(x[0].permute(1, 2, 0).numpy())
    for i, view in enumerate(TenViews(size)(photo)):
        assert np.array_equal(np.asarray(view), batched[i][0])
