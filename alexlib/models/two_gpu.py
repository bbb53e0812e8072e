"""AlexNet on two devices with a tower on each, as on the paper's two GPUs (section 3.2, Figure 2).

Between stages a mini-batch is two tensors, the feature maps or units of each tower on its device.
The towers exchange them where a layer reads both (conv3, fc6, fc7). The host does not wait for
copies from GPU to GPU.
"""

import copy
import math

import torch
from torch import nn

from alexlib.config import Config
from alexlib.models.alexnet import AlexNet, shapes_and_cost
from alexlib.models.layers import Dropout, LocalResponseNorm, TowerLinear


def divide(model: AlexNet, devices) -> AlexNet:
    """Put the two towers of a net on two devices, in place, before `fast.accelerate`.

    The net computes the same as before, with scores on the first device, and its state dict does
    not change. The devices may be the same one twice, or "meta".

    Raises ValueError unless there are two devices that exist, and two towers.
    """
    names = [str(device) for device in devices]
    valid = [*devices_here(), "meta"]
    if len(names) != 2 or not set(names) <= set(valid):
        raise ValueError(f"devices {names}: expected two, each one of {', '.join(valid)}")
    if getattr(model.net, "towers", 1) != 2:
        raise ValueError(f"devices {names}: the net must have two towers (towers=2)")
    devices = [torch.device(name) for name in names]
    for name, stage in list(model.named_children()):
        kind = {"fc8": Scores}.get(name, Dropouts if isinstance(stage, Dropout) else Pair)
        setattr(model, name, kind(stage, devices, reads_both(name, stage)))
    # The images that the net is called with are copied to both devices.
    model.register_forward_pre_hook(lambda _, given: (tuple(given[0].to(d) for d in devices),))
    return model


def devices_here() -> list[str]:
    """The names of this computer's devices: "cpu", and e.g. "cuda", "cuda:0", "cuda:1"."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator().type
    return ["cpu", kind, *(f"{kind}:{i}" for i in range(torch.accelerator.device_count()))]


def crossings(config: Config) -> list[dict]:
    """The data that crosses between the two devices for one image.

    Returns a dict for the images, for each layer that reads both towers, and for fc8, whose outputs
    cross: layer, values (numbers that cross in the forward pass, both directions), forward and
    backward (bytes). Images are float32; activations are bfloat16 unless the config says fp32.
    """
    with torch.device("meta"):
        stages = dict(AlexNet(config.net).named_children())
    image, size = 3 * config.net.input**2, 4 if config.train.precision == "fp32" else 2
    rows, inputs = [{"layer": "images", "values": image, "forward": 4 * image, "backward": 0}], 0
    for row in shapes_and_cost(config):
        name, outputs = row["stage"], math.prod(row["output"])
        if name == "fc8" or reads_both(name, stages[name]):
            count = outputs if name == "fc8" else inputs
            cost = {"forward": size * count, "backward": size * count}
            rows.append({"layer": name, "values": count, **cost})
        inputs = outputs
    return rows


def reads_both(name: str, stage: nn.Module) -> bool:
    """Whether each half of a stage reads the feature maps or units of both towers."""
    if isinstance(stage, nn.Conv2d):
        return stage.groups == 1 and stage.in_channels != 3
    return isinstance(stage, nn.Linear) and name != "fc8"


class Pair(nn.ModuleList):
    """The two halves of a stage: each device holds the kernels or units of its tower.

    `.to()` changes dtype and memory format, but not the devices.
    Shapes: two tensors (N, C / 2, ...) to two tensors, one on each device.
    """

    split = (("weight", 0), ("bias", 0))  # parameters, and the dimension along which they are split

    def __init__(self, stage, devices, reads_both=False):
        with torch.device("meta"):  # allocates no memory and draws no random numbers
            halves = [self.half(stage, tower) for tower in (0, 1)]
        super().__init__(h.to_empty(device=d) for h, d in zip(halves, devices, strict=True))
        self.devices, self.reads_both = devices, reads_both
        self.register_state_dict_post_hook(Pair._join)
        self.register_load_state_dict_pre_hook(Pair._part)
        self.load_state_dict(stage.state_dict())

    def forward(self, towers):
        if self.reads_both:
            towers = [torch.cat([x.to(d) for x in towers], 1) for d in self.devices]
        return tuple(half(x) for half, x in zip(self, towers, strict=True))

    @staticmethod
    def half(stage, tower):
        """One tower's half of a stage, without values."""
        if isinstance(stage, nn.Conv2d):
            maps, kernels = stage.in_channels // stage.groups, stage.out_channels // 2
            return nn.Conv2d(maps, kernels, stage.kernel_size, stage.stride, stage.padding)
        if isinstance(stage, nn.Linear):
            return nn.Linear(stage.in_features, stage.out_features // 2)
        if isinstance(stage, TowerLinear):
            half = TowerLinear(stage.outputs // 2, towers=1)
            half(torch.empty(0, stage.weight.shape[2]))
            return half
        if isinstance(stage, LocalResponseNorm):
            return LocalResponseNorm(stage.n, stage.k, stage.alpha, stage.beta)
        return copy.deepcopy(stage)

    @property
    def weight(self):
        """A copy of the weights of both halves on the first device."""
        return torch.cat([half.weight.to(self.devices[0]) for half in self], self.split[0][1])

    def _join(self, values, prefix, *_):
        """Replaces the tensors of the halves in a state dict by those of the whole stage."""
        for name, dim in self.split:
            parts = [values.pop(k) for i in (0, 1) if (k := f"{prefix}{i}.{name}") in values]
            if parts:
                values[prefix + name] = torch.cat([p.to(parts[0].device) for p in parts], dim)

    def _part(self, values, prefix, *_):
        """Replaces the tensors of the whole stage in a state dict by those of the halves."""
        for name, dim in self.split:
            owners = [i for i, half in enumerate(self) if getattr(half, name, None) is not None]
            if owners and prefix + name in values:
                parts = values.pop(prefix + name).chunk(len(owners), dim)
                values |= {f"{prefix}{i}.{name}": p for i, p in zip(owners, parts, strict=False)}

    def _apply(self, fn, recurse=True):
        for half, device in zip(self, self.devices, strict=True):
            half._apply(lambda tensor, device=device: fn(tensor).to(device))
        return self


class Dropouts(Pair):
    """Dropout on two devices: each draws for the whole layer and uses the half of its tower.

    If each drew for its half only, equal seeds would drop the same units in both towers.
    """

    def forward(self, towers):
        p, factor = self[0].p, self[0].factor
        if not (self.training and p):
            return super().forward(towers)
        n, units = towers[0].shape[0], 2 * towers[0].shape[1]
        keep = {
            device: towers[0].new_empty(n, units, device=device).bernoulli_(1 - p)
            for device in {x.device for x in towers}
        }
        return tuple(x * keep[x.device].chunk(2, 1)[i] * factor for i, x in enumerate(towers))


class Scores(Pair):
    """fc8: each tower has the weights of its own units; the first device adds the two results.

    In the 2012 code all of fc8 is on one GPU.
    """

    split = (("weight", 1), ("bias", 0))  # the first device has the whole bias

    @staticmethod
    def half(stage, tower):
        return nn.Linear(stage.in_features // 2, stage.out_features, bias=tower == 0)

    def forward(self, towers):
        first, second = super().forward(towers)
        return first + second.to(self.devices[0])
