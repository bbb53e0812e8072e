"""Stops on NaN loss; warns if the loss stays at chance."""

import math
import warnings

import torch


class Diverged(ArithmeticError):
    """The loss is no longer a number."""


class StuckWarning(UserWarning):
    """The loss has not left that of a guess."""


class Watch:
    """Looks at the loss of every step without waiting for the device: speaks up at NaN and when nothing is learned."""

    CAUSES = (
        "known causes: a learning rate that is too high; pixels on another scale than 0..255 minus the mean (then the"
        " initial weights and LRN mean something else); biases of 1 together with a standard deviation of .01 in narrow"
        " or deep nets (try init_std .03 in conv3-5, as the 2012 code did)"
    )

    def __init__(self, classes: int, every: int = 50):
        self.guess, self.every, self.recent, self.warned = math.log(classes), every, [], False

    def __call__(self, loss, step: int) -> None:
        self.recent.append(loss.detach())
        if len(self.recent) < self.every and step >= self.every:
            return
        losses = torch.stack(self.recent).float()
        mean = losses.mean().item()
        if not math.isfinite(mean):
            raise Diverged(f"the loss became {losses[-1].item()} at or before step {step + 1}; {self.CAUSES}")
        if len(self.recent) < self.every:
            return
        self.recent = []
        if step >= 6 * self.every and mean > 0.995 * self.guess and not self.warned:
            self.warned = True
            warnings.warn(
                f"after {step + 1} steps the loss is {mean:.4f}, no better than a guess, {self.guess:.4f} ="
                f" ln {round(math.exp(self.guess))}: the net has not started to learn; {self.CAUSES}",
                StuckWarning,
                stacklevel=3,
            )
