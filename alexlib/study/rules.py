"""Lines of evidence: what rows say about a claim, by the claim's rule (`Claim.rule`, in RULES).

A rule takes a claim and `Rows` and yields lines. A line is a dict:
    claim (id or None), name (what is compared)
    value, low, high (95 % interval), n (runs in each arm), bound, detectable, p, estimate
    verdict; rows (those it rests on), study, scale
"""

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from alexlib.config import FIGURE1, config_at
from alexlib.paper import Claim
from alexlib.study import measures, race, verdicts
from alexlib.study.measures import TEST5, ended, hit_bits, image_part, test_error, trained, wrong
from alexlib.study.variants import VARIANTS
from alexlib.study.verdicts import CANNOT_TELL, REGIME, Estimate, pooled, proportion

TOP5_CLASSES = 100  # with fewer classes, claims about the top-5 error are not tested


class Rows(list):
    """Raw rows, and the groups of them that can be compared."""

    @cached_property
    def groups(self) -> list[list[dict]]:
        return measures.comparable(self)

    def measured(self, kind: str) -> Iterator[tuple[dict, list[dict]]]:
        """Rows of study "measures", each with the rows of the runs that it rests on."""
        for row in self:
            if row["study"] == "measures" and row["kind"] == kind:
                yield row, [run for key in row["runs"] for run in self.runs(key)]

    def runs(self, key: dict) -> list[dict]:
        """The rows of the run that `key` names."""
        return [row for row in trained(self) if key.items() <= row.items()]


def line(claim: Claim | None, name: str, rows: list[dict], found, *, verdict=None, gap=None):
    """A line of evidence.

    Args:
        found: an Estimate, or value, low and high.
        rows: those that it rests on; the first one tells where.
        verdict: if it does not follow from `found`.
        gap: overfitting of the baseline, points; None if it is not known (section 6).
    """
    about = {"claim": claim and claim.id, "name": name, "rows": rows}
    about |= {key: rows[0][key] if rows else "" for key in ("study", "scale")}
    if isinstance(found, Estimate):
        about |= {"estimate": found, "n": found.n, "p": found.p, "bound": found.bound}
        about |= found.shown()
    else:
        about |= {"estimate": None, "n": (1,) * bool(rows), "p": 1.0, "bound": ""}
        about |= dict(zip(("value", "low", "high"), found, strict=True)) | {"detectable": None}
    if about["scale"] == "sample":
        verdict = verdicts.SAMPLE
    return about | {"verdict": verdict or _verdict(claim, about, gap)}


def _verdict(claim: Claim | None, line: dict, gap: float | None) -> str:
    if claim is None:
        return verdicts.NO_CLAIM
    if claim.gate and (gap is None or gap < verdicts.GATE):
        return REGIME
    if line["estimate"]:
        return verdicts.verdict(line["estimate"], verdicts.size(claim), claim.over)
    if claim.kind == "level" and claim.paper is not None:
        return verdicts.level(line["low"], line["high"], claim.paper)
    return f"{CANNOT_TELL}; one net"


# ---- rules ---------------------------------------------------------------------------------------


def variant(claim: Claim, rows: Rows):
    """Variants against their baseline, in each group of comparable rows."""
    for group in rows.groups:
        yield from variants_of(claim, group)


def variants_of(claim: Claim, group: list[dict]) -> list[dict]:
    """A line for each variant of the claim; with the option `least` only the least, of all."""
    kind = "cifar" if "stack" in group[0]["config"]["net"] else "alexnet"
    if kind != claim.options.get("net", "alexnet"):
        return []
    names, measure = claim.options["variants"], claim.options["measure"]
    lines = [found for name in names for found in effect(claim, group, name, measure)]
    if claim.options.get("least"):
        return [min(lines, key=lambda line: line["low"])] if len(lines) == len(names) else []
    return lines


def effect(claim: Claim | None, group: list[dict], name: str, measure: str) -> Iterator[dict]:
    """The line of one variant and measure, with both as fields; none if it was not measured."""
    against = VARIANTS[name].against
    used = [row for row in group if row["variant"] in (name, against)]
    found = measures.effect(group, name, against, measure)
    if found and (measure != TEST5 or _many_classes(used)):
        gap = measures.regime([row for row in ended(used) if row["variant"] == against])
        made = line(claim, f"{name}: {measure}", used, found, gap=gap)
        if lost := sum(not row["metrics"] for row in used):
            made["verdict"] += f"; {lost} diverged"
        yield made | {"variant": name, "measure": measure}


def _many_classes(rows: list[dict]) -> bool:
    return rows[0]["config"]["net"]["classes"] >= TOP5_CLASSES


def ten_views(claim: Claim, rows: Rows):
    """The error of the centre view minus that of ten views, over runs that differ in the seed."""
    error, groups = claim.options["measure"], {}
    for row in ended(rows):
        is_plain = row["variant"] in ("baseline", "paper", "source2012")
        if is_plain and "ten" in row["metrics"] and "kernels" in row["config"]["net"]:
            place = (row["study"], row["scale"], row["data"]["train"], row["variant"])
            groups.setdefault((*place, str(row["config"])), []).append(row)
    for group in groups.values():
        if error == "top1" or _many_classes(group):
            gains = [test_error(row, error, "centre") - test_error(row, error) for row in group]
            images = image_part([(group, "centre"), (group, "ten")], error, paired=True)
            name = f"centre view minus ten views, {group[0]['spec']}"
            yield line(claim, name, group, _mean(gains, *images))


def ensemble(claim: Claim, rows: Rows):
    """The mean error of several nets minus that of their average; the interval is over images.

    At each scale the average of the most nets counts.
    """
    error, most = claim.options["measure"], {}
    for row, nets in sorted(rows.measured("ensemble"), key=lambda pair: pair[0]["nets"]):
        if len(nets) == row["nets"] and (error == "top1" or _many_classes(nets)):
            most[row["scale"]] = row, nets
    for row, nets in most.values():
        single = np.mean([wrong(net, "ten", error) for net in nets], axis=0)
        gain = 100 * (single - ~hit_bits(row["values"]["ten"]["hits"][error], row["n"]))  # (N,)
        images = gain.var(ddof=1) / len(gain)
        found = Estimate(float(gain.mean()), 0.0, images, math.inf, (len(nets),), len(gain))
        few = CANNOT_TELL if len(nets) < claim.options["nets"] else None
        yield line(claim, f"one net minus {len(nets)} averaged", nets, found, verdict=few)


def halving(claim: Claim, rows: Rows):
    """How much nearer to the mean of the dropout nets the halved net is than a single one.

    In points of total variation distance, over the nets of a scale.
    """
    scales = {}
    for row, runs in rows.measured("halving"):
        scales.setdefault(row["scale"], []).append((row, runs))
    for pairs in scales.values():
        gains = [row["values"]["gain"] for row, _ in pairs]  # value, low, high
        images = float(np.mean([(100 * (high - value) / 1.96) ** 2 for value, _, high in gains]))
        found = _mean([100 * value for value, _, _ in gains], images, pairs[0][0]["n"])
        name = "distance of one dropout net minus that of the halved net"
        yield line(claim, name, [run for _, runs in pairs for run in runs], found)


def _mean(values: list[float], images: float, n_images: int) -> Estimate:
    """The mean of one value for each run."""
    scatter, df = pooled([values])
    seeds, n = scatter / len(values), (len(values),)
    return Estimate(float(np.mean(values)), seeds, images, df, n, n_images)


def relu_race(claim: Claim, rows: Rows):
    """Epochs of tanh / epochs of ReLU to the error of Figure 1, for each net (stack).

    With the option `consistent`, the least ratio of two nets or more.
    """
    raced = [row for row in ended(rows) if row["study"] == "02_relu_vs_tanh"]
    for scale, data in dict.fromkeys((row["scale"], row["data"]["train"]) for row in raced):
        here = [r for r in raced if (r["scale"], r["data"]["train"]) == (scale, data)]
        counted, lines = race.at_best_rates(here, config_at(FIGURE1, scale)), []
        for stack in dict.fromkeys(stack for stack, _ in counted):
            tanh, relu = (counted.get((stack, name)) for name in ("tanh", "relu"))
            if tanh and relu:
                found = race.sooner(tanh, relu, FIGURE1.train.target)
                lines.append(line(claim, f"tanh / ReLU, {stack} net", tanh + relu, found))
        if not claim.options["consistent"]:
            yield from lines
        elif len(lines) > 1:
            yield min(lines, key=lambda line: (min(line["n"]) > 1, line["low"]))


def error(claim: Claim, rows: Rows):
    """The error on ImageNet itself, ten views; the interval is over images."""
    for row in ended(rows):
        if row["study"] == "04_train" and row["scale"] == row["data"]["name"] == "imagenet":
            share, n = row["metrics"]["ten"][claim.options["measure"]], row["metrics"]["ten"]["n"]
            found = proportion(round(share * n), n)
            yield line(claim, f"{row['variant']}, seed {row['seed']}", [row], found)


def colour(claim: Claim, rows: Rows):
    """The share of the runs of a config whose two towers differ in colour with p < 0.05."""
    groups = {}
    for row in trained(rows):
        if "colour" in row and row["history"]:
            groups.setdefault((row["scale"], row["spec"]), []).append(row)
    for group in groups.values():
        long = [r for r in group if r["history"][-1]["step"] >= verdicts.UPDATES]
        counted = long or group
        found = proportion(sum(row["colour"]["p"] < 0.05 for row in counted), len(counted))
        verdict = verdicts.in_every_run(*found[:2])
        if not long:
            updates = max(row["history"][-1]["step"] for row in group)
            verdict = f"{REGIME}; {updates:,} updates of the paper's 840,000"
        made = line(claim, "runs whose towers differ", group, found, verdict=verdict)
        yield made | {"n": (len(counted),)}


def features(claim: Claim, rows: Rows):
    """What notebook 05 measured of a net; of measurements on as many images the last one."""
    key = claim.options["quantity"]
    last = {str((r["run"], r["queries"], r["among"])): r for r in rows if "measured" in r}
    for look in last.values():
        for run in rows.runs(look["run"]):
            if key in look["measured"] and key not in look.get("withdrawn", {}):
                name = f"{run['variant']}, seed {run['seed']}"
                name += f": {look['queries']:,} images among {look['among']:,}"
                made = line(claim, name, [run], look["measured"][key])
                yield made | {"study": look["study"]}


RULES = {
    "variant": variant,
    "ten-views": ten_views,
    "ensemble": ensemble,
    "halving": halving,
    "race": relu_race,
    "error": error,
    "colour": colour,
    "features": features,
}
