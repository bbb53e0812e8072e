"""What a trained net has learned (section 6.1): its first kernels, and what it makes of images."""

from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from alexlib.data.images import Feed, Images
from alexlib.foreign import LAYERS as LAYERS
from alexlib.training.machine import autocast
from alexlib.weights import Trained


@contextmanager
def capture(model: nn.Module, names):
    """Yields a dict that each forward pass fills with the outputs of the named stages.

    The net continues with a copy, so a stage that works in place does not change what was captured.
    """
    outputs = {}

    def keep(name, _stage, _inputs, output):
        outputs[name] = output
        return output.clone()

    with ExitStack() as hooks:
        for name in names:
            stage = model.get_submodule(name)
            hooks.enter_context(stage.register_forward_hook(partial(keep, name)))
        yield outputs


def activations(net: Trained, images: Images, layers, batch: int = 128) -> dict:
    """Outputs of layers, before the non-linearity: {layer: float32 (N, units)} on the CPU.

    A feature map counts as one unit, with its largest value.
    """
    found = {name: [] for name in layers}
    with capture(net.model, layers) as outputs, torch.inference_mode():
        for pixels, _ in Feed(images, net.device)(torch.arange(len(images)).split(batch)):
            with autocast(net.device, net.precision):
                net.model(net.input(pixels))
            for name, output in outputs.items():
                units = output.flatten(2).amax(2) if output.dim() == 4 else output
                found[name].append(units.float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def signals(model: nn.Module, x, labels) -> pd.DataFrame:
    """Standard deviations of each layer's output and of the loss's gradient there, in eval mode."""
    names = [name for name, layer in model.named_children() if hasattr(layer, "weight")]
    with capture(model.eval(), names) as outputs:
        loss = F.cross_entropy(model(x).float(), labels)
    gradients = torch.autograd.grad(loss, list(outputs.values()))
    pairs = zip(outputs.values(), gradients, strict=True)
    sizes = [(output.std().item(), gradient.std().item()) for output, gradient in pairs]
    return pd.DataFrame(sizes, index=list(outputs), columns=["output", "gradient"])


def exciting(net: Trained, images: Images, layer: str, values, units, k: int = 8) -> tuple:
    """The k images that maximally activate each unit, and the part of them that the unit sees.

    `values` (N, all units) are the layer's `activations`. Returns indices (U, k) and boxes
    (U, k, 4): left, top, right and bottom pixel of the window that the largest activation depends
    on (pixels with a gradient other than 0). The boxes are None for fully-connected layers.
    """
    from torchvision.ops import masks_to_boxes  # takes two seconds

    indices = values[:, units].topk(k, dim=0).indices.T
    x = net.input(images.gather(indices.flatten())).requires_grad_()
    with capture(net.model, [layer]) as outputs:
        net.model(x)
    maps = outputs[layer]  # (U * k, C, h, w)
    if maps.dim() == 2:
        return indices, None
    largest = maps.amax((2, 3))[np.arange(len(maps)), np.repeat(units, k)]
    (gradient,) = torch.autograd.grad(largest.sum(), x)
    return indices, masks_to_boxes(gradient.any(1)).view(*indices.shape, 4).cpu()


def kernel_energy(weights):
    """Shares of each first-layer kernel's energy: in a grating, in a colour blob; float64 (2, K).

    The weights are (K, 3, 11, 11); each colour's mean is subtracted. Grating: the energy within
    1 cycle per kernel of one frequency (or its mirror images), if that is twice the energy at the
    frequency turned by 90 degrees. Blob: the energy off the grey axis at 2 cycles or less.
    """
    if weights.shape[1:] != (3, 11, 11):
        raise ValueError(f"kernels of shape {tuple(weights.shape[1:])}: expected (3, 11, 11)")
    raw = weights.detach().cpu().double()
    kernels, side = raw - raw.mean((2, 3), keepdim=True), 22

    def power(x):  # (K, side * side): the spectrum in half cycles per kernel
        return torch.fft.fft2(x, s=(side, side)).abs().square().sum(1).flatten(1) / side**2

    def near(centres):  # (side * side, side * side): which waves are within 1 cycle of which centre
        gaps = [(waves[:, None] - sign * centres + 11) % side - 11 for sign in (1, -1)]
        return torch.stack(gaps).abs().amax(-1).amin(0) <= 2

    waves = torch.cartesian_prod(*[torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)] * 2)
    along, across = near(waves), near(waves.flip(1) * torch.tensor([1, -1]))
    whole, colour = power(kernels), power(kernels - kernels.mean(1, keepdim=True))
    one, other = whole @ (along & ~across).double(), whole @ (across & ~along).double()
    grating = (one * (one >= 2 * other)).amax(1)
    blob = colour[:, waves.norm(dim=1) <= 4].sum(1)
    rounding = 1e-12 * raw.square().sum((1, 2, 3)) + torch.finfo(torch.float64).tiny
    return torch.stack([grating, blob]) / whole.sum(1).clamp(min=rounding)


def kinds(weights) -> np.ndarray:
    """The kind of each kernel, str (K,): half of its `kernel_energy` or more, else "neither"."""
    grating, blob = kernel_energy(weights).numpy() >= 0.5
    return np.where(grating, "grating", np.where(blob, "blob", "neither"))


def precision(distances, same, k: int) -> torch.Tensor:
    """The share of the k nearest that are of the query's class, float64 (Q,).

    Images tied at the k-th distance count with their mean; short codes have many ties.
    distances is (Q, M); same, bool (Q, M), tells whether query and image are of one class.
    """
    edge = distances.topk(k, largest=False).values[:, -1:]
    nearer, tied = distances < edge, distances == edge
    share = (same & tied).sum(1, dtype=torch.float64) / tied.sum(1)
    return ((same & nearer).sum(1) + (k - nearer.sum(1)) * share) / k
