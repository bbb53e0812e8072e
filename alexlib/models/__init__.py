"""The nets: AlexNet as in Figure 2, and the CIFAR-10 nets of 2012, on one device or two."""

from torch import nn

from alexlib.config import Cifar
from alexlib.models.alexnet import AlexNet, colourfulness, shapes_and_cost, tower_colour
from alexlib.models.cifar import CifarNet
from alexlib.models.fast import accelerate
from alexlib.models.two_gpu import divide

__all__ = ["AlexNet", "CifarNet", "accelerate", "build", "colourfulness", "divide"]
__all__ += ["shapes_and_cost", "tower_colour"]


def build(config, devices: tuple[str, str] | None = None, fast: bool = True) -> nn.Sequential:
    """The net of a config with its initial weights, drawn from torch's default generator.

    Args:
        devices: two devices for the two towers of AlexNet; None puts the net on the CPU.
        fast: use the stages of `models.fast`, which compute the same in less time.

    Raises ValueError for devices that do not exist or a net without two towers.
    """
    net = config.net
    model = CifarNet(net) if isinstance(net, Cifar) else AlexNet(net)
    if devices:
        divide(model, devices)
    return accelerate(model) if fast else model
