"""The net on two devices, a tower on each, as on the paper's two GPUs (section 3.2, Figure 2); what its towers learn.

`AlexNet(net, devices=("cuda:0", "cuda:1"))` puts a `Pair` of half stages where the net has a stage. Between stages a
batch is two tensors, each tower's maps or units on its own device. They cross where a layer reads both towers (conv3,
fc6, fc7), and in fc8, whose scores are added on the first device: `nets.ledger` counts the bytes. Pictures come to the
first device and are copied once to the second. Work is issued to both devices in turn and never waited for, unless one
of them is the CPU.

The state dict is that of the net on one device, and so is the optimiser's in a checkpoint: a run may go on in either
layout. In bf16 the two halves of a score are rounded before they are added.
"""

import copy
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.amp.autocast_mode import is_autocast_available

from alexold.layers import Dropout, FirstConv, LocalResponseNorm, TowerLinear


def devices_here() -> list[str]:
    """The names of the devices of this computer."""
    gpus = torch.cuda.device_count()
    return ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{i}" for i in range(gpus))]


def two_devices(devices, towers: int) -> tuple[torch.device, torch.device]:
    """The devices of the two towers; the same one twice will do, and `meta` for shapes alone.

    Raises:
        ValueError: not two of them, one that is not there, or a net without two towers.
    """
    names = [devices] if isinstance(devices, str) else [str(device) for device in devices]
    if len(names) != 2:
        raise ValueError(f"devices {names}: expected two, one for each tower")
    if towers != 2:
        raise ValueError(f"devices {names}: each holds one tower, but the net has towers={towers}")
    for name in names:
        if name not in (valid := devices_here()) and name != "meta":
            raise ValueError(f"device {name!r} is not there: valid ones here: {', '.join(valid)}")
    return torch.device(names[0]), torch.device(names[1])


def send(x, device: torch.device):
    """A copy of a tensor on a device: all that crosses, forward and backward, goes through here.

    The CPU alone waits for what it is sent: it has no queue in which the copy would come before its use.
    """
    return x.to(device, copy=True, non_blocking=device.type != "cpu")


class _Cross(torch.autograd.Function):
    """To another device; the gradient comes back."""

    @staticmethod
    def forward(ctx, x, device):
        ctx.home = x.device
        return send(x, device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return send(g, ctx.home), None


def cross(x, device: torch.device):
    """A copy of a tensor on a device, through which gradients come back."""
    return _Cross.apply(x, device)


@contextmanager
def same_precision(devices):
    """Autocast on both devices as it is on the first, where they differ in kind."""
    first = devices[0].type
    with ExitStack() as stack:
        for kind in {device.type for device in devices} - {first}:
            if is_autocast_available(kind) and is_autocast_available(first):
                on, dtype = torch.is_autocast_enabled(first), torch.get_autocast_dtype(first)
                stack.enter_context(torch.autocast(kind, dtype, enabled=on))
        yield


def reads_both(name: str, stage: nn.Module) -> bool:
    """Whether each tower's half of a stage reads the maps or units of both towers."""
    linear = isinstance(stage, nn.Linear) and name != "fc8"
    return linear or (isinstance(stage, nn.Conv2d) and stage.groups == 1 and stage.in_channels != 3)


class Pair(nn.ModuleList):
    """A stage of the net on two devices: each holds the kernels or units of its tower.

    The state dict is that of the whole stage. `to` changes dtype and memory format: the halves stay on their devices.

    Args:
        stage: the whole stage, whose values are copied.
        meets: each half reads both towers.

    Shapes: two tensors (N, C / 2, ...) to two tensors, one on each device.
    """

    cut = (("weight", 0), ("bias", 0))  # which dimension is divided among the towers

    def __init__(self, stage: nn.Module, devices: tuple[torch.device, torch.device], meets: bool = False):
        with torch.device("meta"):  # no memory, no random numbers
            halves = [self.half(stage, tower) for tower in (0, 1)]
        super().__init__(half.to_empty(device=device) for half, device in zip(halves, devices, strict=True))
        self.devices, self.meets = devices, meets
        self.register_state_dict_post_hook(Pair.join)
        self.register_load_state_dict_pre_hook(Pair.part)
        self.load_state_dict(stage.state_dict())

    @staticmethod
    def half(stage: nn.Module, tower: int) -> nn.Module:
        """One tower's half of a stage, without values."""
        if isinstance(stage, FirstConv):
            size, stride = stage.kernel_size[0], stage.stride[0]
            return FirstConv(stage.in_channels, stage.out_channels // 2, size, stride, stage.over)
        if isinstance(stage, nn.Conv2d):
            maps, out = stage.in_channels // stage.groups, stage.out_channels // 2
            return nn.Conv2d(maps, out, stage.kernel_size, stage.stride, stage.padding)
        if isinstance(stage, nn.Linear):
            return nn.Linear(stage.in_features, stage.out_features // 2)
        if isinstance(stage, TowerLinear):
            _, outputs, inputs = stage.weight.shape
            return TowerLinear(inputs, outputs, 1)
        if isinstance(stage, LocalResponseNorm):
            return LocalResponseNorm(stage.n, stage.k, stage.alpha, stage.beta)
        return copy.deepcopy(stage)

    def forward(self, towers):
        a, b = towers
        if self.meets:
            from_a, from_b = cross(a, self.devices[1]), cross(b, self.devices[0])
            a, b = torch.cat([a, from_b], 1), torch.cat([from_a, b], 1)
        return self[0](a), self[1](b)

    @property
    def weight(self):
        """A copy of the whole stage's weights on the first device."""
        parts = [half.weight for half in self if hasattr(half, "weight")]
        if not parts:
            raise AttributeError("weight")
        return torch.cat([part.to(self.devices[0]) for part in parts], dict(self.cut)["weight"])

    def join(self, values: dict, prefix: str, *_) -> None:
        """Put whole tensors where `values` holds those of the halves, under the names of the whole stage."""
        for name, dim in self.cut:
            parts = [values.pop(key) for i in (0, 1) if (key := f"{prefix}{i}.{name}") in values]
            if parts:
                values[prefix + name] = torch.cat([part.to(parts[0].device) for part in parts], dim)

    def part(self, values: dict, prefix: str, *_) -> None:
        """The opposite of `join`."""
        for name, dim in self.cut:
            owners = [i for i, half in enumerate(self) if getattr(half, name, None) is not None]
            if owners and prefix + name in values:
                parts = values.pop(prefix + name).chunk(len(owners), dim)
                values |= {f"{prefix}{i}.{name}": part for i, part in zip(owners, parts, strict=False)}

    def _apply(self, fn, recurse=True):
        for half, device in zip(self, self.devices, strict=True):
            half._apply(lambda tensor, device=device: fn(tensor).to(device))
        return self


class Dropouts(Pair):
    """Dropout of a layer on two devices.

    Each device draws for the whole layer and keeps its tower's half: generators with the same seed would drop the same
    units of both towers. Devices of one kind then drop what the net on one device does.
    """

    def forward(self, towers):
        if not (self.training and self[0].p):
            return super().forward(towers)
        keep = {}
        for x in towers:
            if x.device not in keep:
                keep[x.device] = x.new_empty(len(x), 2 * x.shape[1]).bernoulli_(1 - self[0].p)
        factor = self[0].factor
        return tuple(x * keep[x.device].chunk(2, 1)[tower] * factor for tower, x in enumerate(towers))


class Scores(Pair):
    """fc8: each tower weighs its own half of fc7's units; the second one's share of the scores crosses and is added.

    Half of the classes on each device would need all units of fc7 on both. (The 2012 code has all of fc8 on one GPU.)
    """

    cut = (("weight", 1), ("bias", 0))  # the bias, whole, is on the first device

    @staticmethod
    def half(stage: nn.Linear, tower: int) -> nn.Linear:
        return nn.Linear(stage.in_features // 2, stage.out_features, bias=tower == 0)

    def forward(self, towers):
        a, b = super().forward(towers)
        return a + cross(b, self.devices[0])


def divide(model: nn.Sequential, devices: tuple[torch.device, torch.device]) -> None:
    """Put a `Pair` in place of each stage of a net."""
    for name, stage in list(model.named_children()):
        kind = Scores if name == "fc8" else Dropouts if isinstance(stage, Dropout) else Pair
        setattr(model, name, kind(stage, devices, reads_both(name, stage)))


def whole_optimizer(model: nn.Module, optimizer) -> dict:
    """An optimiser's state dict in the layout of the net on one device."""
    groups, momenta = [], {}
    for names, group in zip(_names(model, optimizer), optimizer.state_dict()["param_groups"], strict=True):
        first = sum(len(g["params"]) for g in groups)
        whole = list(_joined(model, {name: p.to("meta") for name, p in names.items()}))
        groups.append(group | {"params": list(range(first, first + len(whole)))})
        buffers = _joined(model, _momenta((name, optimizer.state.get(p, {})) for name, p in names.items()))
        momenta |= {first + i: {"momentum_buffer": buffers[n]} for i, n in enumerate(whole) if n in buffers}
    return {"state": momenta, "param_groups": groups}


def load_whole_optimizer(model: nn.Module, optimizer, state: dict) -> None:
    """The opposite of `whole_optimizer`. Buffers get their parameter's memory layout: the fused update relies on it."""
    own, momenta = optimizer.state_dict()["param_groups"], {}
    for names, group, here in zip(_names(model, optimizer), state["param_groups"], own, strict=True):
        whole = _joined(model, {name: p.to("meta") for name, p in names.items()})
        of = dict(zip(whole, group["params"], strict=True))
        buffers = _momenta((name, state["state"].get(i, {})) for name, i in of.items())
        for prefix, stage in _pairs(model):
            stage.part(buffers, prefix)
        numbers = dict(zip(names, here["params"], strict=True))
        momenta |= {
            numbers[name]: {"momentum_buffer": torch.empty_like(names[name].detach()).copy_(buffer)}
            for name, buffer in buffers.items()
        }
    groups = [saved | {"params": here["params"]} for saved, here in zip(state["param_groups"], own, strict=True)]
    optimizer.load_state_dict({"state": momenta, "param_groups": groups})


def _names(model, optimizer) -> list[dict]:
    """The parameters of each group of an optimiser, by their names."""
    names = {p: name for name, p in model.named_parameters()}
    return [{names[p]: p for p in group["params"]} for group in optimizer.param_groups]


def _momenta(states) -> dict:
    """Momentum buffers by name; a parameter that was never trained has none."""
    return {name: state["momentum_buffer"] for name, state in states if state.get("momentum_buffer") is not None}


def _pairs(model):
    return ((f"{name}.", stage) for name, stage in model.named_modules() if isinstance(stage, Pair))


def _joined(model, values: dict) -> dict:
    values = dict(values)
    for prefix, stage in _pairs(model):
        stage.join(values, prefix)
    return values


def colourfulness(weights):
    """The share (0..1) of each first-layer kernel's energy off the grey axis: 0 where red, green and blue are equal.

    Section 6.1: the kernels of one GPU come out largely without colour, those of the other with.

    Args:
        weights: (K, 3, h, w).

    Returns a float64 tensor (K,); a kernel of zeros has none.
    """
    energy = weights.detach().double().square().sum((1, 2, 3))
    grey = 3 * weights.detach().double().mean(1).square().sum((1, 2))
    return torch.where(energy > 0, 1 - grey / energy, 0.0).clamp(min=0)


def colour(model, draws: int = 10_000) -> dict:
    """What a net's two towers made of colour: {"colour": {"means": of each tower's kernels, "p": a chance}}.

    p is the share of random divisions of the kernels in halves, of `draws`, whose means differ as much as the towers'
    or more (a permutation test). Empty for a net without two towers.
    """
    if getattr(getattr(model, "net", None), "towers", 1) != 2 or not hasattr(model, "conv1"):
        return {}
    values = colourfulness(model.conv1.weight).cpu().numpy()
    means = [float(half.mean()) for half in np.split(values, 2)]
    shuffled = np.random.default_rng(0).permuted(np.tile(values, (draws, 1)), axis=1)
    one, two = (half.mean(1) for half in np.split(shuffled, 2, axis=1))
    as_far = (abs(one - two) >= abs(means[0] - means[1]) - 1e-12).sum()
    return {"colour": {"means": means, "p": float((as_far + 1) / (draws + 1))}}
