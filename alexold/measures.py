"""What finished runs say without further training: several nets averaged, and what halving the outputs stands for.

Each leaves a row of study "measures": kind, scale, the runs it rests on, n (images), values.
"""

import numpy as np
import torch

from alexold import augment, rows, study
from alexold.batches import Feed, generator
from alexold.config import spec_from
from alexold.data import Images
from alexold.features import named
from alexold.layers import Dropout
from alexold.protocol import Block
from alexold.train import autocast, hits, score

NETS = 400  # dropout nets drawn
HALVED_ON = 2000  # test images
FIVE_NETS = 5  # as many as the paper averages


def of_block(block: Block, train: Images, test: Images) -> None:
    """Average five nets of a block's baseline, or as many as have left their probabilities here; halving of each."""
    found = [row for row in rows.read(block.study, block.scale, variant="baseline") if block.lists(row)]
    found = sorted((row for row in found if row["metrics"]), key=lambda row: row["seed"])
    for row in found:
        if row["config"]["net"].get("dropout") and not _halved(row):  # a run that was stopped between its row and this
            settings = row["study"], "baseline", spec_from(row["config"]), row["scale"]
            if run := study.opened(*settings, train, test, row["seed"]):
                halving(run, test)
    kept = [(row, p) for row in found[:FIVE_NETS] if (p := study.probabilities(row, train))]
    if len(kept) < 2 or not kept[0][0]["config"]["net"].get("kernels"):
        return
    about = {"study": "measures", "kind": "ensemble", "scale": block.scale, "runs": [named(row) for row, _ in kept]}
    if rows.read("measures", block.scale, kind="ensemble", runs=about["runs"]):
        return
    values = {}
    for views in kept[0][1]:
        mean = np.mean([p[views].astype(np.float32) for _, p in kept], axis=0)
        values[views] = score(mean, test.labels) | {"hits": hits(mean, test.labels)}
    about |= {"n": len(test), "nets": len(kept), "values": values} | rows.provenance("cpu")
    rows.append(about)


def _halved(row: dict) -> bool:
    """Whether halving has been measured of a run."""
    return bool(rows.read("measures", row["scale"], kind="halving", runs=[named(row)]))


def halving(run: study.Run, test: Images) -> dict | None:
    """Put on record how near the halved net is to the geometric mean of its dropout nets (section 4.2).

    On the first test images, centre view, `NETS` dropout nets are drawn, each image with masks of its own. Distances
    are total variation, half of the sum of |p - q| over the classes, averaged over images. Values: for the halved net,
    a single dropout net and the arithmetic mean of the nets their mean distance to the geometric mean; the distance of
    two geometric means of half the nets each, which is the error of sampling; top-1 errors of all four; "gain", how
    much nearer the halved net is than a single one, with its 95 % interval over images.
    """
    model, row = run.model.eval(), run.row
    if _halved(row):
        return None
    about = {"study": "measures", "kind": "halving", "scale": row["scale"], "runs": [named(row)]}
    images = test.subset(np.random.default_rng(0).permutation(len(test))[:HALVED_ON])
    values = halved(model, images, row["config"]["train"]["precision"])
    about |= {"n": len(images), "nets": NETS, "values": values} | rows.provenance("cpu")
    rows.append(about)
    return about


def halved(model, images: Images, precision: str = "fp32", nets: int = NETS) -> dict:
    """The values of `halving`, for a model that is on the CPU."""
    stages = list(model)
    first = next(i for i, stage in enumerate(stages) if isinstance(stage, torch.nn.Flatten))
    mean = augment.centre_crop(torch.tensor(images.mean), model.net.input)
    per_image, wrong = {}, {}
    with torch.inference_mode(), autocast("cpu", precision):
        for pixels, labels in Feed(images)(torch.arange(len(images)).split(250)):
            x = augment.to_input(augment.centre_crop(pixels, model.net.input), mean)
            for stage in stages[: first + 1]:
                x = stage(x)
            logs = _dropout_nets(stages[first + 1 :], x, nets)  # (nets, N, classes)
            geometric, *halves = (_normalised(part.mean(0)) for part in (logs, logs[::2], logs[1::2]))
            known = {"halved": _through(stages[first + 1 :], x).softmax(1), "arithmetic": logs.exp().mean(0)}
            distances = {name: _distance(p, geometric) for name, p in known.items()}
            distances["single"] = _distance(logs.exp(), geometric).mean(0)
            distances["sampling"] = _distance(*halves)
            errors = {name: p.argmax(-1) != labels for name, p in (known | {"geometric": geometric}).items()}
            errors["single"] = (logs.argmax(-1) != labels).float().mean(0)
            for into, new in ((per_image, distances), (wrong, errors)):
                for name, value in new.items():
                    into.setdefault(name, []).append(value.double())
    per_image, wrong = ({k: torch.cat(v).numpy() for k, v in found.items()} for found in (per_image, wrong))
    gain = per_image["single"] - per_image["halved"]
    half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
    return {
        "distance": {name: float(value.mean()) for name, value in per_image.items()},
        "top1": {name: float(value.mean()) for name, value in wrong.items()},
        "gain": [float(gain.mean()), float(gain.mean() - half), float(gain.mean() + half)],
        "top1_difference": _paired(wrong["halved"], wrong["geometric"]),
    }


def _paired(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Mean of a - b over images with its 95 % interval, in points."""
    d = 100 * (a - b)
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    return [float(d.mean()), float(d.mean() - half), float(d.mean() + half)]


def _dropout_nets(stages: list, x, nets: int):
    """Log-probabilities (nets, N, classes) of nets with dropout masks, drawn from a fixed seed."""
    dropouts = [stage for stage in stages if isinstance(stage, Dropout)]
    torch.manual_seed(generator(0, 0, "halving").initial_seed())
    for stage in dropouts:
        stage.train()
    found = torch.stack([_through(stages, x).log_softmax(1) for _ in range(nets)])
    for stage in dropouts:
        stage.eval()
    return found


def _through(stages: list, x):
    for stage in stages:
        x = stage(x)
    return x.float()


def _normalised(logs):
    """Probabilities whose logarithms are these but for a constant: the geometric mean, scaled to sum 1."""
    return logs.softmax(1)


def _distance(p, q):
    return 0.5 * (p - q).abs().sum(-1)
