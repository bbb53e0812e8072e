"""The paper's augmentation as `torchvision.transforms.v2` transforms, for pipelines of your own.

v2.Compose([v2.ToImage(), v2.RandomCrop(224), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
            ColourNoise(*IMAGENET_2012, white=1.0)])

They are the batched functions of `alexold.augment`; the tests hold the two equal.
"""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vf

from alexold import augment, paper

# Variances along the principal components of ILSVRC's RGB (0..255, squared), and the components in columns, as in the
# files of 2012: `ColourNoise(*IMAGENET_2012)`.
IMAGENET_2012 = torch.tensor(paper.COLOUR_STDS) ** 2, torch.tensor(paper.COLOUR_VECTORS).T


class ColourNoise(v2.Transform):
    """Section 4.1: one RGB shift a picture, along the principal components of the training pixels.

    Args:
        eigenvalues: (3,), and eigenvectors (3, 3) in columns, of the covariance of RGB with pixels in 0..255;
            `Images.eigenvalues` and `Images.eigenvectors` are such.
        std: standard deviation of the coefficients.
        reading: "root", noise of std times each component's standard deviation, as in 2012, or "eigenvalue".
        white: the value of white in the pictures: 255, or 1 after `ToDtype(torch.float32, scale=True)`.
        generator: a CPU generator; torch's own when None.

    Pictures are float tensors (..., 3, H, W); each of a batch gets its own shift. Nothing is clipped, as in 2012.

    Raises:
        TypeError: the picture is no float tensor. ValueError: it has not 3 channels; an unknown reading.
    """

    def __init__(self, eigenvalues, eigenvectors, std: float = 0.1, reading: str = "root", white: float = 255.0,
                 generator: torch.Generator | None = None):  # fmt: skip
        super().__init__()
        values, vectors = (torch.as_tensor(t, dtype=torch.float64) for t in (eigenvalues, eigenvectors))
        self.axes = augment.colour_axes(values, vectors, reading).float() * (white / 255)
        self.std, self.generator = std, generator

    def transform(self, inpt: Any, params: dict) -> Any:
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image | tv_tensors.Video):
            return inpt  # boxes and masks stay as they are
        if not isinstance(inpt, torch.Tensor) or not inpt.is_floating_point():
            raise TypeError("ColourNoise needs a float tensor: put v2.ToImage(), v2.ToDtype(torch.float32) before it")
        if inpt.ndim < 3 or inpt.shape[-3] != 3:
            raise ValueError(f"ColourNoise needs pictures (..., 3, H, W), not {tuple(inpt.shape)}")
        generator = self.generator or torch.default_generator
        shift = augment.colour_noise(inpt.shape[:-3].numel(), self.axes, self.std, generator)
        return tv_tensors.wrap(inpt + shift.view(*inpt.shape[:-2], 1, 1).to(inpt), like=inpt)


class TenViews(v2.Transform):
    """Section 4.1: four corners and centre, then their mirror images, in that order: a tuple of ten pictures.

    `v2.TenCrop` has the same ten, the mirrored ones in another order. Takes tensors (..., H, W) and PIL images.

    Raises:
        ValueError: the picture is smaller than the views.
    """

    def __init__(self, size: int = 224):
        super().__init__()
        self.size = size

    def transform(self, inpt: Any, params: dict) -> tuple:
        height, width = vf.get_size(inpt)
        if min(height, width) < self.size:
            raise ValueError(f"views of {self.size} pixels do not fit into a picture of {height} x {width}")
        down, right = height - self.size, width - self.size
        corners = [(down * r, right * c) for r, c in augment.CORNERS]
        five = [vf.crop(inpt, top, left, self.size, self.size) for top, left in (*corners, (down // 2, right // 2))]
        return (*five, *(vf.horizontal_flip(view) for view in five))
