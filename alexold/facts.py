"""Facts: the claims that are counted from the built net, without any run (docs/protocol.md, section 7)."""

import math

from alexold.config import PAPER, Net
from alexold.nets import trace
from alexold.paper import CONSTANTS

FLOAT = 4  # bytes of a float32


def counts() -> dict[str, float]:
    """The value of every claim of kind "fact", {claim id: value}, in the claim's unit.

    Layers are those of `trace(PAPER)`; the sizes of images and mini-batches are those that the paper states.

    parameters: weights and biases. neurons: outputs of layers with weights; neurons-input: values of an image.
    one-percent: largest share of a convolutional layer in the parameters, %.
    crops-factor: positions of a crop times two mirror images. memory-limit: GB, see `memory`.
    """
    side, crop, batch = (int(CONSTANTS[name].value) for name in ("side", "crop", "batch"))
    layers = {row["stage"]: row for row in trace(PAPER) if row["parameters"]}
    neurons = {name: row["neurons"] for name, row in layers.items()}
    parameters = sum(row["parameters"] for row in layers.values())
    return {
        "parameters": parameters,
        "neurons": sum(neurons.values()),
        "conv1-neurons": neurons.pop("conv1"),
        "neurons-input": 3 * crop**2,
        **{f"neurons-{name}": count for name, count in neurons.items()},
        "one-percent": 100 * max(row["parameters"] for name, row in layers.items() if "conv" in name) / parameters,
        "crops-factor": 2 * (side - crop + 1) ** 2,
        "memory-limit": memory(PAPER.net, batch),
    }


def memory(net: Net, batch: int) -> float:
    """GB (1e9 bytes) that training takes at least, all towers together, in float32, if nothing is computed twice.

    Weights, their gradients and their momentum; and what the backward pass reads: the images and the output of every
    stage, once. ReLUs work in place, and flattening copies nothing. Not counted: gradients of activations, places of
    maxima, dropout masks, and work space of the convolutions.
    """
    stages = trace(net)
    outputs = [math.prod(row["output"]) for row in stages if not row["stage"].startswith(("relu", "flatten"))]
    activations = 3 * net.input**2 + sum(outputs)
    return FLOAT * (3 * sum(row["parameters"] for row in stages) + batch * activations) / 1e9
