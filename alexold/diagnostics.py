"""What a net does with a batch, layer by layer: sizes of activations and gradients; and what a batch costs."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats


def through(model, stage: str, x) -> tuple:
    """What a stage of a net is given and what it makes of it: two float tensors, without gradients."""
    seen = []
    hook = model.get_submodule(stage).register_forward_hook(
        lambda _stage, inputs, output: seen.extend((*inputs, output))
    )
    was_training = model.training
    with torch.inference_mode():
        model.eval()(x)
    hook.remove()
    model.train(was_training)
    return tuple(tensor.float() for tensor in seen)


def signals(model, x, labels) -> list[dict]:
    """One row for each layer with weights, in evaluation mode: forward and backward through one batch.

    Rows: layer, output (standard deviation of what the layer puts out, before its non-linearity), gradient (the same
    of the loss's gradient there), weight_gradient (root mean square of the weights' gradient over that of the
    weights), positive (share of outputs above zero).
    """
    was_training, outputs = model.training, {}
    layers = [(name, layer) for name, layer in model.named_children() if hasattr(layer, "weight")]

    def keep(name):
        def hook(_layer, _inputs, output):
            output.retain_grad()
            outputs[name] = output

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers]
    model.eval().zero_grad(set_to_none=True)
    F.cross_entropy(model(x).float(), labels).backward()
    rows = []
    for name, layer in layers:
        output = outputs[name]
        rows.append(
            {
                "layer": name,
                "output": output.detach().float().std().item(),
                "gradient": output.grad.float().std().item(),
                "weight_gradient": (layer.weight.grad.norm() / layer.weight.detach().norm()).item(),
                "positive": (output.detach() > 0).float().mean().item(),
            }
        )
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return rows


def augmentation_cost(augmented: list[float], plain: list[float], step: list[float], batch: int, device: str) -> str:
    """What augmentation adds to the time of a training batch, as a sentence with both speeds.

    A cost counts as measured if the augmented batches take longer by a one-sided rank test at 5 % (Mann and Whitney).

    Args:
        augmented, plain, step: seconds of each repeat: making a batch both ways, and the forward and backward pass.
        batch: images in a batch.
    """
    with_, without = (float(np.median(made) + np.median(step)) for made in (augmented, plain))
    slower = with_ > without and stats.mannwhitneyu(augmented, plain, alternative="greater").pvalue < 0.05
    cost = f"**{with_ / without - 1:.1%}** to the time of a batch" if slower else "**no measurable cost**"
    speeds = f"{batch / with_:.0f} training images/s with augmentation, {batch / without:.0f} without"
    return f"{speeds} (batches of {batch} on `{device}`, medians of {len(plain)} repeats): augmentation adds {cost}."
