"""What runs show: errors, effects of variants, and effects of averaging nets and halving outputs.

A row is the dict that a run leaves (see `runs.py`). Errors are in per cent, effects in percentage
points. docs/protocol.md defines the measures (section 4) and their uncertainty (section 5).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from alexlib.config import config_from
from alexlib.data.augment import centre_crop, to_input
from alexlib.data.images import Feed, Images, generator
from alexlib.models.layers import Dropout
from alexlib.study.race import sooner_to_loss
from alexlib.study.variants import VARIANTS, on_gpu, variants
from alexlib.study.verdicts import Estimate, difference, image_variance
from alexlib.training.loop import hit_bits, hits, score
from alexlib.training.machine import autocast

TEST, TEST5, CENTRE = "test error", "top-5 test error", "test error, centre view"
OVERFITTING, TRAINING = "overfitting", "training error"
LENGTH, EARLY = "epochs to a training loss", "epochs to an early training loss"
NETS, HALVED_ON = 400, 2000  # halving: number of dropout nets and of test images
IMAGES = {  # the error and the views of the measures that are taken on test images
    TEST: ("top1", "ten"),
    TEST5: ("top5", "ten"),
    CENTRE: ("top1", "centre"),
    OVERFITTING: ("top1", "centre"),
}


def trained(rows: Iterable[dict]) -> list[dict]:
    """The rows of runs that trained a net; other rows hold measurements or checks of rates."""
    return [row for row in rows if "history" in row and row["study"] != "rates"]


def ended(rows: Iterable[dict]) -> list[dict]:
    """The rows of runs that trained to their end: runs that diverged have no errors."""
    return [row for row in trained(rows) if row["metrics"]]


def grouped(rows: Iterable, key: Callable) -> list[list]:
    """The rows with the same key together, in their order."""
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def place(row: dict) -> tuple[str, str, str, bool]:
    """Where a run belongs: its study, scale and training images, and whether a GPU made it."""
    return row["study"], row["scale"], row["data"]["train"], on_gpu(row)


# ---- one run -------------------------------------------------------------------------------------


def test_error(row: dict, error: str = "top1", views: str = "ten") -> float:
    """Error on the test images, %: "top1" or "top5"; "ten" views averaged or the "centre" view."""
    return 100 * row["metrics"][views][error]


def training_error(row: dict) -> float | None:
    """Top-1 error on training images in eval mode, centre view, %; None if not measured."""
    return 100 * row["training"]["top1"] if "training" in row else None


def overfitting(row: dict) -> float | None:
    """Test error minus training error, both in eval mode and centre view, points."""
    return test_error(row, views="centre") - training_error(row) if "training" in row else None


def wrong(row: dict, error: str = "top1", views: str = "ten") -> np.ndarray:
    """Which test images a run got wrong, booleans (N,)."""
    return ~hit_bits(row["hits"][views][error], row["metrics"][views]["n"])


# ---- a variant against its baseline --------------------------------------------------------------


def comparable(rows: list[dict]) -> list[list[dict]]:
    """Groups of rows of one study, scale and set of images: a baseline and its variants.

    The settings of a variant's row are those of the baseline except for the variant's change and
    the learning rate, which may have been chosen by a check.
    """
    groups = []
    known = [row for row in trained(rows) if row["variant"] in ("baseline", *VARIANTS)]
    for here in grouped(known, place):
        pairs = [(row, config_from(row["config"])) for row in here]
        for base in dict.fromkeys(c for row, c in pairs if row["variant"] == "baseline"):
            group, expected = [], variants(base)
            for row, config in pairs:
                wanted = expected.get(row["variant"])
                if wanted and wanted.replace(lr=config.train.lr) == config:
                    group.append(row)
            groups.append(group)
    return groups


def regime(baseline: list[dict]) -> float | None:
    """Mean overfitting of the baseline's runs, points (section 6); None if it is not known."""
    gaps = [overfitting(row) for row in baseline]
    return float(np.mean(gaps)) if gaps and None not in gaps else None


def effect(group: list[dict], variant: str, against: str, measure: str) -> Estimate | None:
    """A measure of a variant minus that of the arm it is compared with, from one group of rows.

    Epochs to a loss are a ratio: baseline / variant; for early learning variant / baseline. None if
    an arm has no run, or its rows lack what is measured.
    """
    runs = {arm[0]["variant"]: arm for arm in grouped(ended(group), lambda row: row["variant"])}
    arms = runs.get(variant), runs.get(against)
    if not all(arms):
        return None
    if measure in (LENGTH, EARLY):
        slow, fast = arms if measure == EARLY else reversed(arms)
        found = sooner_to_loss(slow, fast, early=measure == EARLY)
        return found and dataclasses.replace(found, n=tuple(map(len, arms)))

    values = {name: [_value(row, measure) for row in arm] for name, arm in runs.items()}
    if None in values[variant] + values[against]:
        return None
    pair = [values[variant], values[against]]
    known = [arm for arm in values.values() if None not in arm]
    if measure not in IMAGES:  # each seed has training images of its own
        return difference(pair, known)
    error, views = IMAGES[measure]
    return difference(pair, known, *image_part([(arm, views) for arm in arms], error))


def _value(row: dict, measure: str) -> float | None:
    if measure == TRAINING:
        return training_error(row)
    return overfitting(row) if measure == OVERFITTING else test_error(row, *IMAGES[measure])


def image_part(arms: list, error: str, paired: bool = False, weights=(1, -1)) -> tuple[float, int]:
    """The images' part of the variance of a contrast of arms (runs, views); the number of images.

    Without hits, it is an upper bound: as if the arms had been tested on different images.
    """
    n = arms[0][0][0]["metrics"][arms[0][1]]["n"]
    if any("hits" not in row for runs, _ in arms for row in runs):
        rates = [np.mean([row["metrics"][views][error] for row in runs]) for runs, views in arms]
        parts = zip(weights, rates, strict=True)
        return 1e4 * sum(w**2 * rate * (1 - rate) / n for w, rate in parts), n
    found = [np.stack([wrong(row, error, views) for row in runs]) * 1.0 for runs, views in arms]
    found = [found[0] - found[1]] if paired else found
    return 1e4 * image_variance(*found, weights=weights), n


# ---- measured with the nets ----------------------------------------------------------------------


def key(row: dict) -> dict:
    """The fields by which rows of measurements name the run that they rest on."""
    return {name: row[name] for name in ("study", "variant", "seed", "started")}


def ensemble(rows: list[dict], probabilities: list[dict], labels: np.ndarray) -> dict:
    """A row about the average of several nets: its errors and hits.

    Args:
        rows: those of the nets.
        probabilities: the test probabilities of each net, {views: (N, classes)}; labels: (N,).
    """
    values = {}
    for views in probabilities[0]:
        mean = np.mean([net[views].astype(np.float32) for net in probabilities], axis=0)
        values[views] = score(mean, labels) | {"hits": hits(mean, labels)}
    about = {"study": "measures", "kind": "ensemble", "scale": rows[0]["scale"]}
    about |= {"runs": [key(row) for row in rows], "n": len(labels), "nets": len(rows)}
    return about | {"values": values}


def halving(model, row: dict, test: Images, device: str = "cpu", nets: int = NETS) -> dict:
    """A row about what halving the outputs stands for: the mean of the dropout nets (4.2).

    For each of up to 2,000 test images, centre view, `nets` dropout nets are drawn. Values, means
    over images: "distance" (total variation, 0..1) from the geometric mean of these nets, for the
    halved net, for the arithmetic mean and for a single net; "sampling" is the distance between
    the geometric means of two halves of the nets. "top1" errors. "gain": how much nearer the halved
    net is than a single one. "top1_difference": halved minus geometric, points. The last two have
    a 95 % interval.
    """
    images = test.subset(np.random.default_rng(0).permutation(len(test))[:HALVED_ON])
    config = config_from(row["config"])
    stages, size = list(model.eval()), config.net.input
    first = 1 + next(i for i, stage in enumerate(stages) if isinstance(stage, nn.Flatten))
    convolutions, head = nn.Sequential(*stages[:first]), nn.Sequential(*stages[first:])
    mean = centre_crop(torch.tensor(test.mean, device=device), size)
    distance, errors = defaultdict(list), defaultdict(list)  # of each image
    with torch.inference_mode(), autocast(device, config.train.precision):
        for pixels, labels in Feed(images, device)(torch.arange(len(images)).split(250)):
            x = convolutions(to_input(centre_crop(pixels, size), mean))
            logs = _dropout_nets(head, x, nets)  # (nets, N, classes)
            geometric = logs.mean(0).softmax(1)
            halves = [logs[i::2].mean(0).softmax(1) for i in (0, 1)]
            distance["sampling"] += _distance(*halves).tolist()
            p = {"halved": head(x).float().softmax(1), "arithmetic": logs.exp().mean(0)}
            for name, q in (p | {"single": logs.exp(), "geometric": geometric}).items():
                q = q.view(-1, *geometric.shape)  # (nets or 1, N, classes)
                errors[name] += (q.argmax(2) != labels).double().mean(0).tolist()
                distance[name] += _distance(q, geometric).mean(0).tolist()
    del distance["geometric"]  # from itself
    values = {
        "distance": {name: float(np.mean(distance[name])) for name in distance},
        "top1": {name: float(np.mean(errors[name])) for name in errors},
        "gain": _interval(np.subtract(distance["single"], distance["halved"])),
        "top1_difference": _interval(100 * np.subtract(errors["halved"], errors["geometric"])),
    }
    about = {"study": "measures", "kind": "halving", "scale": row["scale"], "runs": [key(row)]}
    return about | {"n": len(images), "nets": nets, "values": values}


def _dropout_nets(head: nn.Sequential, x, nets: int):
    """Log-probabilities (nets, N, classes) of nets with dropout masks, drawn from a fixed seed."""
    torch.manual_seed(generator(0, 0, "halving").initial_seed())
    dropouts = [stage for stage in head if isinstance(stage, Dropout)]
    for stage in dropouts:
        stage.train()
    found = torch.stack([head(x).float().log_softmax(1) for _ in range(nets)])
    for stage in dropouts:
        stage.eval()
    return found


def _distance(p, q):
    """Total variation distance of probabilities (..., classes)."""
    return 0.5 * (p - q).abs().sum(-1)


def _interval(values: np.ndarray) -> list[float]:
    """The mean over images with its 95 % interval: value, low, high."""
    mean, half = values.mean(), 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return [float(mean), float(mean - half), float(mean + half)]
