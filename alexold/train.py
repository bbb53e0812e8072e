"""Training and testing: one visible loop, predictions averaged over views, errors."""

import base64
import ctypes
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from alexold import augment, parallel
from alexold.batches import Feed, generator, order
from alexold.checkpoint import Checkpoints
from alexold.config import Spec
from alexold.data import Images
from alexold.interrupt import Stop, stoppable
from alexold.optim import finished, freeze_first_layer, learning_rates, make_optimizer, set_learning_rates
from alexold.progress import Progress, clock
from alexold.watch import Diverged, Watch

SAVE_EVERY = 300  # seconds of an epoch from one checkpoint to the next
TRAINING_PART = 2000  # training images on which the training error is measured in eval mode


def fit(
    model,
    train: Images,
    val: Images,
    spec: Spec,
    *,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    finish: int | None = None,
    progress: Progress | None = None,
) -> list[dict]:
    """Train `model` in place; returns one row an epoch.

    With a `folder`, a checkpoint is written after each epoch, every `SAVE_EVERY` seconds and when a signal stops it; a
    call with the same settings goes on from there. All that is random in a step follows from (seed, step), so a
    resumed run equals an undisturbed one, on CPUs bit for bit. Faults and what they cost: docs/reliability.md.

    Args:
        val: held-out pictures for the curves and the plateau rule; never the test set.
        finish: stop after this epoch as if interrupted (the schedule still runs over `spec.train.epochs`).
        progress: where to show it; by default a line of its own.

    Rows: epoch, step, lr, bias_lr, train_loss, train_top1 (running, with augmentation and dropout, as in 2012),
    val_loss, val_top1, val_top5 (held-out images; errors in 0..1), plain_loss, plain_top1, plain_top5 (as many training
    images in eval mode, centre view), pictures_per_second, seconds.

    Raises:
        Diverged: the loss or the probabilities are NaN or infinite; the message names the usual causes.
        ValueError: the folder holds a run with other settings, or damaged checkpoints alone.
        OSError: the last checkpoint could not be written; those before it only lead to a warning.
        KeyboardInterrupt, SystemExit(143): stopped by SIGINT or SIGTERM (in the main thread, with a `folder`), after
            the step or the test of an epoch that it was at and a checkpoint; a second signal ends at once.
    """
    keep_freed_memory(device)
    t = spec.train
    model.to(device, memory_format=torch.channels_last)
    batch = min(t.batch, len(train))
    steps, mine = len(train) // batch, parallel.part(batch)
    mean = torch.tensor(train.mean, device=device)
    axes = colour_axes(train, spec, device)
    optimizer = make_optimizer(model, t)
    feed, held_out = Feed(train, device), Feed(val, device)
    plain = Feed(training_part(train, seed, len(val)), device)
    history, begun, watch = [], {}, Watch(spec.net.classes)
    if folder:
        checkpoints = Checkpoints(folder, model, optimizer, spec, seed, train)
        history, begun = checkpoints.resume()
    progress, saved, replica = progress or Progress(), time.monotonic(), parallel.wrap(model)
    with stoppable(folder is not None) as stop:
        while len(history) < min(t.epochs, finish or t.epochs) and not finished(t, history):
            epoch, started = len(history), time.perf_counter() - begun.get("seconds", 0.0)
            weight_lr, bias_lr = learning_rates(t, history)
            set_learning_rates(optimizer, weight_lr, bias_lr)
            if freeze_first_layer(model, epoch >= t.conv1_freeze * t.epochs):
                replica = parallel.wrap(model)
            colour = epoch < spec.augment.colour_end * t.epochs
            done, zero = begun.get("batches", 0), torch.zeros(())
            loss_sum, wrong_sum = (begun.get(key, zero).to(device) for key in ("loss_sum", "wrong_sum"))
            begun = {}
            model.train()
            own = [indices[mine] for indices in order(len(train), batch, seed, epoch)[done:steps]]
            for i, (pixels, labels) in enumerate(feed(own), done):
                step = epoch * steps + i
                draws = generator(seed, step, "augment")
                x = augment.training_input(pixels, mean, axes, spec.net.input, spec.augment, draws, colour, batch, mine)
                torch.manual_seed(draws.initial_seed() + parallel.rank())  # dropout
                with autocast(device, t.precision):
                    scores = replica(x).float()
                loss = F.cross_entropy(scores, labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                wrong = (scores.detach().argmax(1) != labels).sum()
                loss, wrong, all_ranks = parallel.agreed(loss.detach(), wrong, stop, step)
                loss_sum, wrong_sum = loss_sum + loss, wrong_sum + wrong
                watch(loss, step)
                rate = (i + 1) * batch / (time.perf_counter() - started)
                left = ((t.epochs - epoch) * steps - i - 1) * batch / rate
                if progress.due():
                    progress.show(
                        f"epoch {epoch + 1}/{t.epochs}, step {i + 1}/{steps}: loss {loss_sum.item() / (i + 1):.3f},"
                        f" training error {wrong_sum.item() / (i + 1) / batch:.1%}, {rate:.0f} pictures/s,"
                        f" {clock(left)} left"
                    )
                asked = all_ranks.asked
                if folder and (asked or time.monotonic() - saved > SAVE_EVERY):
                    sums = {"loss_sum": loss_sum.cpu(), "wrong_sum": wrong_sum.cpu()}
                    partly = {"batches": i + 1, "seconds": time.perf_counter() - started, **sums}
                    checkpoints.save(history, partly)
                    saved = time.monotonic()
                    if asked:
                        _leave(stop, checkpoints, progress, f"epoch {epoch + 1}, step {i + 1} of {steps}")
            seconds = time.perf_counter() - started
            errors = evaluate(model, held_out, spec, device=device) if len(val) else {}
            shown = evaluate(model, plain, spec, device=device) if len(val) else {}
            history.append(
                {
                    "epoch": epoch + 1,
                    "step": (epoch + 1) * steps,
                    "lr": weight_lr,
                    "bias_lr": bias_lr,
                    "train_loss": loss_sum.item() / steps,
                    "train_top1": wrong_sum.item() / (steps * batch),
                    **{f"val_{key}": errors.get(key) for key in ("loss", "top1", "top5")},
                    **{f"plain_{key}": shown.get(key) for key in ("loss", "top1", "top5")},
                    "pictures_per_second": steps * batch / seconds,
                    "seconds": time.perf_counter() - started,
                }
            )
            if folder:
                checkpoints.save(history)
                saved = time.monotonic()
            progress.end(epoch_text(history[-1], t.epochs))
            if stop.asked:
                _leave(stop, checkpoints, progress, f"epoch {epoch + 1}, step {steps} of {steps}")
    if folder:
        checkpoints.assure()
    return history


def predict(model, images: Images | Feed, spec: Spec, *, views: str = "centre", device: str = "cpu", batch: int = 128):
    """Class probabilities, float32 (N, classes), averaged over the views, `centre` or `ten` (section 4.1).

    Diverged: they are no numbers.
    """
    keep_freed_memory(device)
    feed = images if isinstance(images, Feed) else Feed(images, device)
    mean = augment.centre_crop(torch.tensor(feed.images.mean, device=device), spec.net.input)
    out = []
    model.eval()
    with torch.inference_mode(), autocast(device, spec.train.precision):
        for pixels, _ in feed(torch.arange(parallel.rank(), len(feed), parallel.world()).split(batch)):
            shown = [
                model(augment.to_input(view, mean)).float().softmax(1)
                for view in augment.views(pixels, spec.net.input, views)
            ]
            out.append(torch.stack(shown).mean(0).cpu())
    found = torch.cat(out).numpy() if out else np.empty((0, spec.net.classes), np.float32)
    found = parallel.woven(found, len(feed))
    if not np.isfinite(found).all():  # they would compare as no error at all
        raise Diverged(f"the net's probabilities are no longer numbers; {Watch.CAUSES}")
    return found


def ranks(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the true one, (N,): those more probable, and equal ones with a smaller number."""
    true = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    return ((probabilities > true) | ((probabilities == true) & earlier)).sum(1)


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """Log-loss, top-1 and top-5 error (0..1) of class probabilities (N, classes); n is the number of pictures."""
    true, before = probabilities[np.arange(len(labels)), labels], ranks(probabilities, labels)
    loss = -np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean(dtype=np.float64)
    top1, top5 = (float((before >= k).mean()) for k in (1, 5))
    return {"loss": float(loss), "top1": top1, "top5": top5, "n": len(labels)}


def hits(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """Which images are classified correctly, top-1 and top-5: packed bits in base 64, read by `hit_bits`."""
    before = ranks(probabilities, labels)
    return {f"top{k}": base64.b64encode(np.packbits(before < k).tobytes()).decode() for k in (1, 5)}


def hit_bits(text: str, n: int) -> np.ndarray:
    """The booleans (n,) that `hits` has packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)


def evaluate(model, images: Images | Feed, spec: Spec, *, views: str = "centre", device: str = "cpu") -> dict:
    """Loss, top-1 and top-5 error of a model on labelled pictures."""
    labels = (images.images if isinstance(images, Feed) else images).labels
    return score(predict(model, images, spec, views=views, device=device), labels)


def training_part(train: Images, seed: int, count: int = TRAINING_PART) -> Images:
    """Training images, a random part, on which the training error is measured as the test error is: eval mode."""
    drawn = np.random.default_rng((seed, TRAINING_PART)).permutation(len(train))
    return train.subset(np.sort(drawn[: min(count, TRAINING_PART)]))


def colour_axes(train: Images, spec: Spec, device: str):
    """The principal colour axes of the training pictures in the spec's reading, float32 (3, 3)."""
    if spec.augment.colour == "none":
        return None
    values, vectors = torch.tensor(train.eigenvalues), torch.tensor(train.eigenvectors)
    return augment.colour_axes(values, vectors, spec.augment.colour).float().to(device)


def autocast(device: str, precision: str):
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


def _leave(stop: Stop, checkpoints: Checkpoints, progress: Progress, where: str) -> None:
    """End where a signal asked for it, if that is saved."""
    checkpoints.assure()
    text = f"stopped at {where}; the same command goes on from there"
    progress.end(text)
    stop.leave(text)


def epoch_text(row: dict, epochs: int) -> str:
    held_out = "" if row["val_top1"] is None else f", held-out error {row['val_top1']:.1%}"
    training = f"loss {row['train_loss']:.3f}, training error {row['train_top1']:.1%}"
    speed = f"{row['pictures_per_second']:.0f} pictures/s, {clock(row['seconds'])}"
    return f"epoch {row['epoch']}/{epochs}: {training}{held_out}, {speed}"


def keep_freed_memory(device: str) -> None:
    """Let glibc keep freed blocks below 1 GiB for the next step instead of returning them page by page (CPUs, Linux).

    Fresh pages cost a good part of a step: docs/performance.md.
    """
    if torch.device(device).type == "cpu" and sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never
        except (OSError, AttributeError):  # another C library
            pass
