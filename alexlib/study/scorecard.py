"""The scorecard: every claim of the paper with its lines of evidence and its verdict; tables."""

import functools
import hashlib
import json
import math

from alexlib.config import PAPER
from alexlib.models.alexnet import shapes_and_cost
from alexlib.paper import CLAIMS, CONSTANTS, Claim
from alexlib.study import rules, verdicts
from alexlib.study.measures import CENTRE, TEST, TEST5, trained
from alexlib.study.rules import TOP5_CLASSES, UNCLAIMED, Rows
from alexlib.study.variants import VARIANTS, on_gpu
from alexlib.study.verdicts import CANNOT_TELL, NOT_TESTED, REGIME

# The scale nearest to the paper's comes first.
NEAREST = ("imagenet", "miniimagenet", "imagenette", "imagenette128", "cifar10", "sample")
NO_VERDICT = (REGIME, NOT_TESTED, verdicts.SAMPLE, verdicts.NO_EVIDENCE)


def card(rows: list[dict], listed: bool = True) -> list[dict]:
    """Every claim, in the order of the paper: {"claim", "verdict", "lines", "reason"}.

    Lines are those of `rules.py`; the first one decides the verdict. Without lines the verdict is
    NOT_TESTED, and the reason says why. "holm" is the adjusted p-value of a tested primary claim.

    Args:
        rows: those of the runs, and of the measurements that rest on them.
        listed: False if the protocol does not list all of these rows: then there are no verdicts.
    """
    rows, entries = Rows(rows), []
    for claim in CLAIMS.values():
        found = RULES[claim.rule](claim, rows) if claim.rule in RULES else ()
        lines = sorted(_marked(found, listed), key=rank)
        verdict = lines[0]["verdict"] if lines else NOT_TESTED
        reason = "" if lines else _reason(claim, rows)
        entries.append({"claim": claim, "verdict": verdict, "lines": lines, "reason": reason})
    _correct(entries)
    return entries


def effects(rows: list[dict], listed: bool = True) -> list[dict]:
    """Lines, as in `card`, on each variant against its baseline, claimed by the paper or not.

    Arguments as for `card`.
    """
    lines = []
    claims = [claim for claim in CLAIMS.values() if claim.rule == "variant"]
    for group in Rows(rows).groups:
        own = [line for claim in claims for line in rules.variants_of(claim, group)]
        known = {(line["variant"], line["measure"]) for line in own}
        for name, variant in VARIANTS.items():
            for measure in (TEST, TEST5) + (CENTRE,) * (variant.group == "augmentation"):
                if (name, measure) not in known:
                    own += rules.effect(UNCLAIMED, group, name, measure)
        order = list(VARIANTS)
        lines += sorted(own, key=lambda line: order.index(line["variant"]))
    return _marked(lines, listed)


def _marked(lines, listed: bool) -> list[dict]:
    """Lines of sample runs, and of all runs that the protocol does not list, have no verdict."""
    lines = list(lines)
    for line in lines:
        if line["scale"] == "sample":
            line["verdict"] = verdicts.SAMPLE
        elif not listed:
            line["verdict"] = verdicts.NO_EVIDENCE
    return lines


def _correct(entries: list[dict]) -> None:
    """Holm's correction of the primary claims that were tested, in place (section 5)."""
    tested = [
        entry
        for entry in entries
        if entry["claim"].primary
        and not entry["verdict"].startswith(NO_VERDICT)
        and min(entry["lines"][0]["n"]) > 1
    ]
    adjusted = verdicts.holm([entry["lines"][0]["p"] for entry in tested])
    for entry, p in zip(tested, adjusted, strict=True):
        entry["holm"] = p
        if p > 0.05 and not entry["verdict"].startswith((CANNOT_TELL, verdicts.EXCLUDED)):
            entry["verdict"] = f"{CANNOT_TELL}; p = {p:.2g} after Holm's correction"
            entry["lines"][0]["verdict"] = entry["verdict"]


def _reason(claim: Claim, rows: list[dict]) -> str:
    """Why a claim was not tested."""
    if claim.options.get("measure") in (TEST5, "top5") and claim.rule != "error":
        return f"{TOP5_CLASSES} classes or more: five guesses out of fewer say little"
    names = claim.options.get("variants", ())
    ran = [row for row in trained(rows) if row["variant"] in names]
    if ran and not any(row["metrics"] for row in ran):
        return f"all {len(ran)} runs of {' and of '.join(names)} diverged"
    needs = f"runs of {' and of '.join(names)} beside their baseline, two seeds at least"
    return claim.needs or needs


def rank(line: dict) -> tuple:
    """The order of the lines of a claim (section 7): the first one decides the verdict."""
    if not line["rows"]:
        return ()
    first, estimate = line["rows"][0], line["estimate"]
    no_interval = math.isinf(line["high"] - line["low"]) or min(line["n"]) < 2
    no_hits = estimate is not None and not estimate.ratio and "hits" not in first
    width, images = size(first)
    order = (i for i, said in enumerate(verdicts.ORDER) if line["verdict"].startswith(said))
    where = line["scale"] == "sample", no_interval, no_hits, NEAREST.index(line["scale"])
    return *where, -width, -images, not on_gpu(first), next(order, 0), line["low"], line["name"]


def size(row: dict) -> tuple[float, int]:
    """The width of a run's net, and the number of training images in an epoch."""
    steps = row["history"][-1]["step"] if row["history"] else 0
    images = steps * row["config"]["train"]["batch"] / max(1, len(row["history"]))
    return row["config"]["net"]["width"], round(images)


# ---- facts: counted from the net itself ----------------------------------------------------------


@functools.cache
def facts() -> dict[str, float]:
    """What the paper says about its net, counted from the net: the quantities of the rule "fact".

    Neurons of each layer with weights, of all ("neurons") and of the input; parameters; conv_share:
    the largest share of a convolution in the parameters, %; crops_and_flips: views of an image;
    memory: GB (1e9 bytes) that training takes at least, in float32: weights, gradients, momentum,
    and the input and output of each stage for a mini-batch (ReLUs work in place).
    """
    side, crop, batch = (int(CONSTANTS[name].value) for name in ("side", "crop", "batch"))
    stages = shapes_and_cost(PAPER)
    layers = {stage["stage"]: stage for stage in stages if stage["parameters"]}
    parameters = sum(layer["parameters"] for layer in layers.values())
    largest = max(layer["parameters"] for name, layer in layers.items() if "conv" in name)
    kept = [s for s in stages if not s["stage"].startswith(("relu", "flatten"))]
    values = 3 * crop**2 + sum(math.prod(stage["output"]) for stage in kept)
    return {
        "parameters": parameters,
        "neurons": sum(layer["neurons"] for layer in layers.values()),
        "input": 3 * crop**2,
        **{name: layer["neurons"] for name, layer in layers.items()},
        "conv_share": 100 * largest / parameters,
        "crops_and_flips": 2 * (side - crop + 1) ** 2,
        "memory": 4 * (3 * parameters + batch * values) / 1e9,
    }


def _fact(claim: Claim, rows: Rows):
    value = facts()[claim.options["quantity"]]
    verdict = verdicts.fact(value, claim)
    made = rules.line(claim, "counted from the net", [], (value,) * 3, verdict=verdict)
    yield made | {"bound": "at least" * claim.over}


RULES = rules.RULES | {"fact": _fact}


# ---- tables --------------------------------------------------------------------------------------


def cells(claim: Claim, line: dict | None) -> dict[str, str]:
    """A claim and a line of evidence (None: there is none) as text, by column."""
    unit = claim.unit
    found = dict.fromkeys(("ours", "95 % interval", "detectable", "runs", "where", "device"), "-")
    if line:
        found["ours"] = f"{line['bound']} {number(line['value'], unit)}".strip()
        if line["rows"]:
            devices = dict.fromkeys(row["device"] for row in line["rows"])
            found |= {"where": setting(line["rows"][0]), "device": ", ".join(devices)}
            found |= {"runs": " + ".join(map(str, line["n"]))}
        if line["rows"] and math.isfinite(line["high"] - line["low"]):
            found["95 % interval"] = f"{number(line['low'], unit)} to {number(line['high'], unit)}"
            found["detectable"] = number(line["detectable"], unit)
    return {
        "claim": claim.statement,
        "verdict": line["verdict"] if line else NOT_TESTED,
        "paper": "over " * claim.over + number(claim.paper, unit),
        "2012 log": number(claim.log, unit),
        "later studies": claim.studies or "-",
        "quantity": f"{claim.quantity} ({unit})",
        **found,
    }


def number(value: float | None, unit: str) -> str:
    """60,965,224 for a count, 1.53 for all else, - for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if unit == "count" else f"{round(value, 2):zg}"


def setting(row: dict) -> str:
    """The size of a run: `imagenette, 48 epochs of 1,856 images, width 0.5`."""
    net, train, (width, images) = row["config"]["net"], row["config"]["train"], size(row)
    stack = f"{net['stack']} net, " if "stack" in net else ""
    epochs = f"{train['epochs']} epochs{' at most' if train.get('target') else ''}"
    said = f"{row['scale']}, {stack}{epochs} of {images:,} images"
    return said if width == 1 else f"{said}, width {width:g}"


def in_points(entries: list[dict]) -> list[dict]:
    """The first lines of a card that are effects on errors in points, for `figures.forest`."""
    return [
        line | {"name": f"{line['claim']} ({line['scale']})"}
        for entry in entries
        for line in entry["lines"][:1]
        if line["unit"] == "pp" and entry["claim"].rule != "features"
    ]


def difficulty(entries: list[dict]) -> list[dict]:
    """How many runs the effects of a card need: claim, size, detectable, n, needed; fewest first.

    size: the paper's effect, or else that of the 2012 log (a logarithm for ratios); needed: runs in
    each arm that make it detectable; None if no number does, or no size is known.
    """
    found = []
    for line in (line for entry in entries for line in entry["lines"][:1]):
        estimate = line["estimate"]
        if not estimate or min(estimate.n) < 2 or not estimate.seeds:
            continue
        if line["unit"] in ("pp", "x") and not line["verdict"].startswith(REGIME):
            size = line["log"] if line["paper"] is None else line["paper"]
            size = math.log(size) if size and estimate.ratio else size
            needed = estimate.runs_needed(abs(size)) if size else None
            about = {"claim": line["claim"], "size": size, "detectable": estimate.detectable}
            found.append(about | {"n": estimate.n, "needed": needed})
    return sorted(found, key=lambda row: (row["needed"] or math.inf, row["detectable"]))


def fingerprint(rows: list[dict]) -> str:
    """A digest of rows, which ties a page or a figure to them."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
