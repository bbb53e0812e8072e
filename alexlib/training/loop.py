"""Training and testing: one step, the loop over epochs, predictions and their errors."""

import base64
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from alexlib.config import Config
from alexlib.data import augment
from alexlib.data.images import Feed, Images, generator, order
from alexlib.models.alexnet import tower_colour
from alexlib.training import CAUSES, Diverged, LossCheck, Progress, Stop, machine, optim
from alexlib.training.checkpoint import Checkpoints
from alexlib.training.distributed import agreed, from_all, part, rank, world

TRAINING_PART = 2000  # images on which the training error is measured in eval mode


def train_step(model, optimizer, pixels, labels, mean, axes, config: Config, draws):
    """One step of training: augment, forward, loss, backward, update (sections 4.1 and 5).

    Args:
        pixels: uint8 (N, side, side, 3); labels: int64 (N,).
        mean: the mean image, float32 (side, side, 3); axes: from `colour_axes`.
        draws: the random numbers for these images, from `augment.draw`.

    Returns the mean loss and the number of errors, as tensors.
    """
    x = augment.training_input(pixels, mean, axes, config.net.input, config.augment, draws)
    with machine.autocast(x.device, config.train.precision):  # x: (N, 3, input, input)
        scores = model(x).float()  # (N, classes)
    loss = F.cross_entropy(scores, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach(), (scores.detach().argmax(1) != labels).sum()


def fit(
    model,
    train: Images,
    val: Images,
    config: Config,
    *,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    finish: int | None = None,
    progress: bool | str = True,
) -> list[dict]:
    """Train `model` in place; returns one row (a dict) for each epoch.

    With a `folder`, a checkpoint is written after each epoch, every five minutes and when a signal
    stops the run, and a call with the same arguments resumes from it. The random numbers of a step
    follow from the seed and the number of the step: on CPUs a resumed run ends in exactly the
    weights of an uninterrupted one. docs/reliability.md lists the faults and their effects.

    Args:
        val: held-out training images, for the curves and the schedule "plateau"; may be empty.
        finish: stop after this epoch; the schedule is still that of all epochs.
        progress: False for no output; a text is put in front of each line.

    Rows: epoch, step, lr, bias_lr, pictures_per_second, seconds; train_loss and train_top1 (during
    the epoch, in training mode); val_loss, val_top1, val_top5 (errors in 0..1); plain_*, the same
    for as many training images, 2,000 at most; colour of the two towers, from `tower_colour`.

    Raises:
        Diverged: the loss or the probabilities are NaN or infinite.
        ValueError: `folder` has a run with other settings, or no readable checkpoint.
        OSError: the last checkpoint could not be written.
        KeyboardInterrupt, SystemExit: stopped by SIGINT or SIGTERM, after a checkpoint.
    """
    config = machine.set_up(config, device)
    t, batch = config.train, min(config.train.batch, len(train))
    steps, epochs = len(train) // batch, min(t.epochs, finish or t.epochs)
    model.to(device, memory_format=torch.channels_last)
    optimizer = optim.make_optimizer(model, t)
    mean, axes = torch.tensor(train.mean, device=device), colour_axes(train, config, device)
    feed, held_out = Feed(train, device), Feed(optim.validation(val, t), device)
    plain = Feed(training_part(train, seed, len(val)), device)
    checkpoints = Checkpoints(folder, model, optimizer, config, seed, train)
    history, begun = checkpoints.resume()
    totals, net, check = Totals(**begun), machine.ready(model, config, batch), LossCheck(config)
    about, done = machine.describe(model, t.precision), len(history) * steps + totals.batches
    with Progress(progress, about, batch, epochs * steps, done) as bar, Stop(bool(folder)) as stop:
        while len(history) < epochs and not optim.finished(t, history):
            epoch, started = len(history), time.perf_counter() - totals.seconds
            lr, bias_lr = optim.learning_rates(t, history)
            optim.set_learning_rates(optimizer, lr, bias_lr)
            if optim.freeze_first_layer(model, epoch >= t.conv1_freeze * t.epochs):
                net = machine.ready(model, config, batch)

            model.train()
            batches = order(len(train), batch, seed, epoch)[totals.batches : steps]
            for pixels, labels in feed([indices[part(batch)] for indices in batches]):
                step = epoch * steps + totals.batches
                draws = draw(train, config, seed, epoch, step)
                loss, wrong = train_step(net, optimizer, pixels, labels, mean, axes, config, draws)
                loss, wrong, stopping = agreed(loss, wrong, bool(stop.asked), step)
                totals.add(loss, wrong, time.perf_counter() - started)
                check(loss, step, last=totals.batches == steps)
                bar.update(totals)
                if stopping or checkpoints.due():
                    checkpoints.save(history, vars(totals))
                if stopping:
                    checkpoints.raise_if_unsaved()
                    bar.line(f"stopped after step {step + 1}; the same call resumes the run")
                    stop.leave()

            row = {"epoch": epoch + 1, "step": (epoch + 1) * steps, "lr": lr, "bias_lr": bias_lr}
            row["train_loss"], row["train_top1"] = totals.means(batch)
            row |= measured(model, config, device, val=held_out, plain=plain)
            row["pictures_per_second"] = steps * batch / totals.seconds
            row["seconds"] = time.perf_counter() - started
            history.append(row)
            totals = Totals()
            checkpoints.save(history)
            bar.epoch(row, t.epochs)
    checkpoints.raise_if_unsaved()
    return history


def measured(model, config: Config, device: str, **sets: Feed) -> dict:
    """The fields of a history row about the model: its errors on sets of images, in eval mode.

    None for empty sets. For a net with two towers, also their colours.
    """
    row = tower_colour(model)
    for name, feed in sets.items():
        errors = evaluate(model, feed, config, device=device) if len(feed) else {}
        row |= {f"{name}_{key}": errors.get(key) for key in ("loss", "top1", "top5")}
    return row


def draw(train: Images, config: Config, seed: int, epoch: int, step: int):
    """The random numbers of a step for this rank's images; also seeds torch, for dropout."""
    batch = min(config.train.batch, len(train))
    random = generator(seed, step, "augment")
    colour = epoch < config.augment.colour_end * config.train.epochs
    draws = augment.draw(batch, train.side, config.net.input, config.augment, random, colour)
    only_cpu = not torch.accelerator.is_available()  # without this, each step queues GPU seeds
    seed_all = torch.default_generator.manual_seed if only_cpu else torch.manual_seed
    seed_all(random.initial_seed() + rank())
    return draws.part(part(batch))


@dataclass
class Totals:
    """Sums over the steps of an unfinished epoch; checkpoints within an epoch contain them."""

    batches: int = 0
    loss_sum: torch.Tensor | float = 0.0
    wrong_sum: torch.Tensor | float = 0.0
    seconds: float = 0.0

    def add(self, loss, wrong, seconds: float) -> None:
        self.batches, self.seconds = self.batches + 1, seconds
        self.loss_sum, self.wrong_sum = self.loss_sum + loss, self.wrong_sum + wrong

    def means(self, batch: int) -> tuple[float, float]:
        """Mean loss and error."""
        loss, wrong = self.loss_sum.item(), self.wrong_sum.item()
        return loss / self.batches, wrong / (self.batches * batch)


def predict(
    model,
    images: Images | Feed,
    config: Config,
    *,
    views: str = "centre",
    device: str = "cpu",
    batch: int = 128,
) -> np.ndarray:
    """Class probabilities, float32 (N, classes), averaged over the views (section 4.1).

    Args:
        views: "centre", or "ten": the corners and the centre, and their mirror images.

    Raises:
        Diverged: the probabilities are NaN or infinite.
    """
    machine.keep_freed_memory(device)
    config = machine.resolved(config, device)
    feed = images if isinstance(images, Feed) else Feed(images, device)
    mean = augment.centre_crop(torch.tensor(feed.images.mean, device=device), config.net.input)
    own, found = torch.arange(len(feed)).tensor_split(world())[rank()], []
    model.eval()
    with torch.inference_mode(), machine.autocast(device, config.train.precision):
        for pixels, _ in feed(own.split(batch)):
            shown = augment.views(pixels, config.net.input, views)
            scores = [model(augment.to_input(view, mean)).float() for view in shown]
            found.append(torch.stack(scores).softmax(2).mean(0).cpu())
    probabilities = from_all(torch.cat(found).numpy())
    if not np.isfinite(probabilities).all():  # comparisons with NaN would count images as correct
        raise Diverged(f"the net's probabilities are NaN; {CAUSES}")
    return probabilities


def ranks(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of classes ranked before the true class, (N,); ties are ranked by class number."""
    true = np.take_along_axis(probabilities, labels[:, None], 1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    return ((probabilities > true) | ((probabilities == true) & earlier)).sum(1)


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """Log-loss, top-1 and top-5 error (0..1) of probabilities (N, classes), and their number n."""
    true, before = probabilities[np.arange(len(labels)), labels], ranks(probabilities, labels)
    loss = -np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean(dtype=np.float64)
    top1, top5 = (float((before >= k).mean()) for k in (1, 5))
    return {"loss": float(loss), "top1": top1, "top5": top5, "n": len(labels)}


def evaluate(model, images: Images | Feed, config: Config, **options) -> dict:
    """The `score` of a model on labelled images; `options` are those of `predict`."""
    labels = (images.images if isinstance(images, Feed) else images).labels
    return score(predict(model, images, config, **options), labels)


def hits(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """Which images are correct, top-1 and top-5, as packed bits in base 64 for `hit_bits`."""
    before = ranks(probabilities, labels)
    bits = {f"top{k}": np.packbits(before < k).tobytes() for k in (1, 5)}
    return {key: base64.b64encode(value).decode() for key, value in bits.items()}


def hit_bits(text: str, n: int) -> np.ndarray:
    """The booleans (n,) that `hits` packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)


def training_part(train: Images, seed: int, count: int = TRAINING_PART) -> Images:
    """A random part of the training images, for their error in eval mode."""
    drawn = np.random.default_rng((seed, TRAINING_PART)).permutation(len(train))
    return train.subset(np.sort(drawn[: min(count, TRAINING_PART)]))


def colour_axes(train: Images, config: Config, device: str = "cpu"):
    """The scaled principal colour axes of the training images, float32 (3, 3), or None."""
    if config.augment.colour == "none":
        return None
    values, vectors = torch.tensor(train.eigenvalues), torch.tensor(train.eigenvectors)
    return augment.colour_axes(values, vectors, config.augment.colour).float().to(device)
