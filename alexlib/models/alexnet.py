"""AlexNet (section 3.5, Figure 2), and the shapes and the cost of its stages."""

import copy
from collections import OrderedDict

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from alexlib.config import Cifar, Config, Net
from alexlib.models.cifar import CifarNet
from alexlib.models.layers import (
    ACTIVATIONS,
    Dropout,
    LocalResponseNorm,
    SpatialResponseNorm,
    TowerLinear,
)


class AlexNet(nn.Sequential):
    """AlexNet: five convolutional and three fully connected layers (section 3.5, Figure 2).

    Its two towers (one on each GPU in the paper) are the two halves of the feature maps of each
    layer. A convolution that reads its own tower only is a grouped convolution.

    Shapes: images (N, 3, 224, 224), pixels in 0..255 minus the mean image, to scores (N, 1000).
    """

    def __init__(self, net: Net):
        k1, k2, k3, k4, k5 = (scaled(count, net) for count in net.kernels)
        u6, u7 = (scaled(count, net) for count in net.units)
        own, both = net.towers, 1 if net.cross_talk else net.towers  # groups of a convolution
        pad2, pad5 = (2, 1) if net.overlapping else (1, 0)  # as in layers-147.cfg
        edge = -(net.input - 11) % 4  # zeros at the right and bottom edges: 224 + 3 = 55 windows
        relu = ACTIVATIONS[net.activation]

        def lrn():
            return LocalResponseNorm(net.lrn_n, net.lrn_k, net.lrn_alpha, net.lrn_beta, net.towers)

        def pool():
            return nn.MaxPool2d(3 if net.overlapping else 2, stride=2, ceil_mode=True)

        def fc(units):
            return nn.LazyLinear(units) if both == 1 else TowerLinear(units, net.towers)

        stages = {  # comments: the shape of the output in the paper; image: 3 x 224 x 224
            "pad1": nn.ZeroPad2d((0, edge, 0, edge)),  # 3 x 227 x 227
            "conv1": nn.LazyConv2d(k1, 11, stride=4),  # 96 x 55 x 55
            "relu1": relu(),
            "lrn1": lrn(),
            "pool1": pool(),  # 96 x 27 x 27
            "conv2": nn.LazyConv2d(k2, 5, padding=pad2, groups=own),  # 256 x 27 x 27
            "relu2": relu(),
            "lrn2": lrn(),
            "pool2": pool(),  # 256 x 13 x 13
            "conv3": nn.LazyConv2d(k3, 3, padding=1, groups=both),  # 384 x 13 x 13
            "relu3": relu(),
            "conv4": nn.LazyConv2d(k4, 3, padding=1, groups=own),  # 384 x 13 x 13
            "relu4": relu(),
            "conv5": nn.LazyConv2d(k5, 3, padding=pad5, groups=own),  # 256 x 13 x 13
            "relu5": relu(),
            "pool5": pool(),  # 256 x 6 x 6
            "flatten": nn.Flatten(),  # 9216
            "fc6": fc(u6),  # 4096
            "relu6": relu(),
            "dropout6": Dropout(net.dropout, net.fc_factor),
            "fc7": fc(u7),  # 4096
            "relu7": relu(),
            "dropout7": Dropout(net.dropout, net.fc_factor),
            "fc8": nn.LazyLinear(net.classes),  # 1000
        }
        super().__init__(OrderedDict(rearranged(stages, net)))
        self.net = net
        try:
            with torch.no_grad():
                self(torch.empty(0, 3, net.input, net.input))  # sets the inputs of the Lazy layers
        except RuntimeError as error:
            raise ValueError(f"an input of {net.input} pixels is too small: {error}") from None
        self.initialise()

    def initialise(self):
        """Gaussian weights and constant biases (section 5; initW and initB in layers-145.cfg).

        Narrow nets get larger weights, so that the variance of the activations does not change.
        """
        width = 1.0  # of the layer's inputs; the first layer reads the whole image
        for name, layer in self.named_children():
            if hasattr(layer, "weight"):
                i = int(name[-1]) - 1
                nn.init.normal_(layer.weight, 0.0, self.net.init_std[i] / width**0.5)
                nn.init.constant_(layer.bias, self.net.init_bias[i])
                width = self.net.width


def scaled(count: int, net: Net) -> int:
    """A number of kernels or units at the width of the net, rounded to a multiple of the towers."""
    return max(1, round(count * net.width / net.towers)) * net.towers


def rearranged(stages: dict, net: Net) -> dict:
    """The stages of Figure 2, with the norms of a config and without the layers that it omits.

    The pool of an omitted layer follows the next convolution, or stays in its place if there is
    none. If conv1 is omitted, the next convolution reads the image with conv1's stride and without
    padding. If conv3 is omitted, the next convolution reads both towers. An LRN before the ReLU
    moves the ReLU behind the pool, as in the 2012 code (the result is the same with a max-pool,
    unless the activation decreases somewhere, as GELU does).
    """
    convs = [i for i in range(1, 6) if i not in net.omit]
    for i in [i for i in convs if i > 2][:1]:
        stages[f"conv{i}"].groups = stages["conv3"].groups
    for i in convs[:1]:
        first = stages[f"conv{i}"]
        first.stride, first.padding, first.groups = (4, 4), (0, 0), 1

    lrn, spatial = stages["lrn1"], SpatialResponseNorm(alpha=net.spatial_alpha)
    stages = {name: stage for name, stage in stages.items() if "lrn" not in name}
    stages |= {f"lrn{i}": copy.deepcopy(lrn) for i in net.lrn}
    stages |= {f"spatial{i}": copy.deepcopy(spatial) for i in net.spatial_norm}

    order = ("pad", "conv", "fc", "relu", "dropout", "lrn", "spatial", "pool", "late relu")

    def place(name):
        if name == "flatten":
            return 5.5, 0
        kind, i = name[:-1], int(name[-1])
        if kind == "pool":
            i = min((conv for conv in convs if conv >= i), default=i)
        if kind == "relu" and i in net.lrn and i in net.lrn_before_relu:
            kind = "late relu"
        return i, order.index(kind)

    def omitted(name):
        return name != "flatten" and "pool" not in name and int(name[-1]) in net.omit

    return {name: stages[name] for name in sorted(stages, key=place) if not omitted(name)}


def shapes_and_cost(config: Config) -> list[dict]:
    """The output shape and the cost of each stage for one image.

    Returns one dict for each stage: stage, output (C, H, W) or (units,), neurons, parameters, macs
    (multiply-adds). Neurons, parameters and macs are 0 for stages without weights.
    """
    net = config.net
    with torch.device("meta"):
        model = CifarNet(net) if isinstance(net, Cifar) else AlexNet(net)
        x = torch.empty(1, 3, net.input, net.input)
    rows = []
    for name, stage in model.named_children():
        with FlopCounterMode(display=False) as counter:
            x = stage(x)
        if name == "pad1":
            continue
        parameters = sum(p.numel() for p in stage.parameters())
        rows.append(
            {
                "stage": name,
                "output": tuple(x.shape[1:]),
                "neurons": x.numel() if parameters else 0,
                "parameters": parameters,
                "macs": counter.get_total_flops() // 2,
            }
        )
    return rows


def colourfulness(weights):
    """The share (0..1) of each kernel's energy off the grey axis (red = green = blue), (K,)."""
    weights = weights.detach().cpu().double().contiguous()
    off_grey = (weights - weights.mean(1, keepdim=True)).square().sum((1, 2, 3))
    energy = weights.square().sum((1, 2, 3))
    return off_grey / energy.clamp(min=torch.finfo(energy.dtype).tiny)


def tower_colour(model: nn.Module) -> dict:
    """Mean `colourfulness` of each tower (6.1), p of a permutation test; {} for one tower."""
    if getattr(getattr(model, "net", None), "towers", 1) != 2 or not hasattr(model, "conv1"):
        return {}
    from scipy import stats  # takes half a second

    towers = colourfulness(model.conv1.weight).view(2, -1).numpy()

    def gap(one, other, axis):
        return abs(one.mean(axis) - other.mean(axis))

    test = stats.permutation_test(towers, gap, n_resamples=10_000, alternative="greater", rng=0)
    return {"colour": {"means": towers.mean(1).tolist(), "p": float(test.pvalue)}}
