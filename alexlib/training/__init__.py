"""Training: start with `loop.py`. This file has the parts of the loop that are not science."""

import base64
import io
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from tqdm import tqdm

from alexlib.progress import OneOutput, bar, in_notebook
from alexlib.training.distributed import rank

FEW_STEPS = 200
FEW = (
    "in all (epochs x images / batch) are too few for a net to learn from new weights: raise"
    " epochs, lower batch, or start from trained weights"
)
READ_EVERY = 50  # steps between two readings of the loss; each reading waits for the GPU
CAUSES = (
    "common causes: a learning rate that is too high; pixels on another scale than 0..255 minus"
    " the mean; biases of 1 with a standard deviation of .01 in narrow or deep nets (try init_std"
    " .03 in conv3-5, as the 2012 code did)"
)


class Diverged(ArithmeticError):
    """The loss or the probabilities are NaN or infinite."""


class StuckWarning(UserWarning):
    """The loss is still that of a random guess."""


class LossCheck:
    """Raises `Diverged` if the loss is NaN or infinite; warns once if it stays at chance."""

    def __init__(self, config):
        self.chance, self.recent, self.warned = math.log(config.net.classes), [], False

    def __call__(self, loss, step: int, last: bool = False) -> None:
        """`last`: whether an epoch ends; its row must not have a NaN or infinite loss."""
        self.recent.append(loss)
        full = len(self.recent) == READ_EVERY
        if step >= READ_EVERY and not full and not last:
            return
        mean = torch.stack(self.recent).mean().item()
        self.recent = []
        if not math.isfinite(mean):
            raise Diverged(f"the loss became {mean} at or before step {step + 1}; {CAUSES}")
        if full and step >= 6 * READ_EVERY and mean > 0.995 * self.chance and not self.warned:
            self.warned = True
            text = f"after {step + 1} steps the loss is {mean:.4f}, and chance is {self.chance:.4f}"
            warnings.warn(f"{text}: the net has not started to learn; {CAUSES}", StuckWarning, 3)


class Stop:
    """Inside `with`, SIGINT or SIGTERM only sets `asked`; a repeat a second later acts as usual.

    Systemd and Slurm send SIGTERM to a report and to its kernel, and the report interrupts the
    kernel; torchrun repeats signals that its ranks also had. So one request can be several signals.
    `Stop` does nothing if not `wanted` or outside the main thread. Ignored signals stay ignored.
    """

    def __init__(self, wanted: bool = True, then: Callable = lambda: None):
        """`then` is called after each signal."""
        here = wanted and threading.current_thread() is threading.main_thread()
        found = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM) if here}
        self.handlers = {n: h for n, h in found.items() if h not in (signal.SIG_IGN, None)}
        self.asked, self.first = None, {}  # the last signal; when each came first
        self.then = then

    def __enter__(self):
        for number in self.handlers:
            signal.signal(number, self._ask)
        return self

    def _ask(self, number, _frame) -> None:
        self.asked, now = number, time.monotonic()
        if now - self.first.setdefault(number, now) > 1:
            signal.signal(number, self.handlers[number])
            signal.raise_signal(number)
        self.then()

    def __exit__(self, error, *_) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.asked and error is None:
            self.leave()

    def leave(self) -> None:
        """Raise SystemExit(143) after SIGTERM, KeyboardInterrupt otherwise."""
        raise SystemExit(143) if self.asked == signal.SIGTERM else KeyboardInterrupt


class Progress(AbstractContextManager):
    """A tqdm bar over images, and lines that stay; silent in workers and on ranks above 0.

    Only terminals and notebooks get the bar; notebooks also get a learning curve. One line says
    where it runs (`about`), the others are about epochs; a text in `wanted` begins the only line.
    """

    def __init__(self, wanted: bool | str, about: str, batch: int, steps: int, done: int):
        """`about` says where the net is trained; `done`: the steps before this call."""
        self.silent = not wanted or rank() > 0 or "ALEXLIB_WORKER" in os.environ
        self.prefix, self.last = wanted if isinstance(wanted, str) else "", ""
        self.batch, self.about, self.errors, self.curve = batch, about, [], OneOutput()
        self.lines = sys.stdout if in_notebook() else sys.stderr
        self.bar = bar(
            desc=self.prefix.rstrip(": "),
            total=steps * batch,
            initial=done * batch,
            unit=" images",
            disable=self.silent,
        )
        if not self.prefix and done < steps:
            self.line(about)
            if steps < FEW_STEPS:
                self.line(f"{steps} steps {FEW}")

    def __exit__(self, *_) -> None:
        self.bar.close()
        if self.prefix and self.last:
            self.line(f"{self.last}, {self.about}")

    def update(self, totals) -> None:
        """Advance the bar; whenever it is drawn, prepare its next text, which waits for a GPU."""
        if self.bar.update(self.batch):
            loss, error = totals.means(self.batch)
            self.bar.set_postfix_str(f"loss {loss:.3f}, error {error:.1%}", refresh=False)

    def epoch(self, row: dict, epochs: int) -> None:
        """A line about a finished epoch."""
        errors = f"loss {row['train_loss']:.3f}, training error {row['train_top1']:.1%}"
        if row["val_top1"] is not None:
            errors += f", validation error {row['val_top1']:.1%}"
        speed = f"{row['pictures_per_second']:.0f} images/s, {row['seconds']:.0f} s"
        self.last = f"epoch {row['epoch']}/{epochs}: {errors}, {speed}"
        if not self.prefix:
            if in_notebook() and not self.silent:
                self._draw([row["epoch"], row["train_top1"], row["val_top1"]])
            self.line(self.last)

    def _draw(self, errors: list) -> None:
        """In a notebook, a learning curve that grows with each epoch."""
        from matplotlib.figure import Figure  # takes a quarter of a second

        self.errors.append(errors)
        epochs, *both = np.array(self.errors, float).T
        figure, png = Figure((5, 2.2), layout="constrained"), io.BytesIO()
        axis = figure.subplots()
        axis.plot(epochs, 100 * np.transpose(both), "o-", ms=3, label=["training", "validation"])
        axis.set(xlabel="epochs", ylabel="error, %", ylim=0, xticks=epochs[:: 1 + len(epochs) // 9])
        axis.legend()
        figure.savefig(png)
        self.curve.show({"image/png": base64.b64encode(png.getvalue()).decode()})

    def line(self, text: str) -> None:
        if text and not self.silent:
            tqdm.write(self.prefix + text, file=self.lines)
