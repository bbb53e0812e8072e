"""Lines of evidence: what rows say about a claim, by the claim's rule (`Claim.rule`, in RULES).

A rule takes a claim and `Rows` and yields lines. A line is a dict:
    claim (its id), name (what is compared), unit
    value, low, high (95 % interval), n (runs in each arm), bound, detectable, p, estimate
    paper, log, later (numbers from elsewhere); verdict; rows (those it rests on), study, scale
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from alexlib.config import FIGURE1, config_at
from alexlib.paper import Claim
from alexlib.study import measures, race, verdicts
from alexlib.study.measures import TEST5, ended, grouped, image_part, place, test_error, trained
from alexlib.study.variants import VARIANTS, on_gpu
from alexlib.study.verdicts import CANNOT_TELL, REGIME, Estimate, difference, proportion
from alexlib.training.loop import hit_bits

UNCLAIMED = Claim("", "", "", "", unit="pp", rule="variant")  # what the paper does not claim
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


def line(claim: Claim, name: str, rows: list[dict], found, verdict: str = "", gap=None) -> dict:
    """A line of evidence.

    Args:
        rows: those that it rests on; the first one gives study and scale.
        found: an Estimate, or value, low and high.
        verdict: if it does not follow from `found`.
        gap: overfitting of the baseline, points; None if it is not known (section 6).
    """
    made = {"claim": claim.id, "name": name, "rows": rows}
    made |= {key: rows[0][key] if rows else "" for key in ("study", "scale")}
    made |= {"unit": claim.unit, "paper": claim.paper, "log": claim.log}
    made["later"] = [value for _, value, _ in claim.later if value is not None]
    if isinstance(found, Estimate):
        made |= {"estimate": found, "n": found.n, "p": found.p, "bound": found.bound}
        made |= found.shown()
    else:
        made |= {"estimate": None, "n": (1,) * bool(rows), "p": 1.0, "bound": ""}
        made |= dict(zip(("value", "low", "high"), found, strict=True)) | {"detectable": None}
    return made | {"verdict": verdict or _verdict(claim, made, gap)}


def _verdict(claim: Claim, line: dict, gap: float | None) -> str:
    if claim is UNCLAIMED:
        return verdicts.NO_CLAIM
    if claim.gate and (gap is None or gap < verdicts.GATE):
        return REGIME
    if line["estimate"]:
        return verdicts.verdict(line["estimate"], verdicts.size(claim))
    if claim.kind == "level" and claim.paper is not None:
        agrees = line["low"] <= claim.paper <= line["high"]
        return verdicts.AGREES if agrees else verdicts.EXCLUDED
    return f"{CANNOT_TELL}; one net"


# ---- rules ---------------------------------------------------------------------------------------


def variant(claim: Claim, rows: Rows):
    """Variants against their baseline, in each group of comparable rows."""
    for group in rows.groups:
        yield from variants_of(claim, group)


def variants_of(claim: Claim, group: list[dict]) -> list[dict]:
    """A line for each variant of the claim; with the option `least`, only the least of all."""
    kind = "cifar" if "stack" in group[0]["config"]["net"] else "alexnet"
    if kind != claim.options.get("net", "alexnet"):
        return []
    names, measure = claim.options["variants"], claim.options["measure"]
    lines = [found for name in names for found in effect(claim, group, name, measure)]
    return _least(lines, len(names)) if claim.options.get("least") else lines


def _least(lines: list[dict], needed: int) -> list[dict]:
    """The line with the lowest interval, if there are enough lines."""
    return [min(lines, key=lambda line: line["low"])] if len(lines) >= needed else []


def effect(claim: Claim, group: list[dict], name: str, measure: str) -> Iterator[dict]:
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
    error = claim.options["measure"]
    plain = [row for row in ended(rows) if row["variant"] in ("baseline", "paper", "source2012")]
    plain = [row for row in plain if "ten" in row["metrics"] and "kernels" in row["config"]["net"]]
    for group in grouped(plain, lambda row: (*place(row), row["variant"], str(row["config"]))):
        if error == "top1" or _many_classes(group):
            gains = [test_error(row, error, "centre") - test_error(row, error) for row in group]
            images = image_part([(group, "centre"), (group, "ten")], error, paired=True)
            name = f"centre view minus ten views, {group[0]['spec']}"
            yield line(claim, name, group, difference([gains], [gains], *images))


def ensemble(claim: Claim, rows: Rows):
    """The mean error of several nets minus that of their average; the interval is over images.

    At each scale the average of the most nets counts; among equal numbers, one made on a GPU.
    """
    error, most = claim.options["measure"], {}
    made = rows.measured("ensemble")
    for row, nets in sorted(made, key=lambda pair: (pair[0]["nets"], _gpu(pair))):
        if len(nets) == row["nets"] and (error == "top1" or _many_classes(nets)):
            most[row["scale"]] = row, nets
    for row, nets in most.values():
        single = np.mean([measures.wrong(net, error) for net in nets], axis=0)
        gain = 100 * (single - ~hit_bits(row["values"]["ten"]["hits"][error], row["n"]))  # (N,)
        images = gain.var(ddof=1) / len(gain)
        found = Estimate(float(gain.mean()), 0.0, images, math.inf, (len(nets),), len(gain))
        few = CANNOT_TELL if len(nets) < claim.options["nets"] else ""
        yield line(claim, f"one net minus {len(nets)} averaged", nets, found, few)


def halving(claim: Claim, rows: Rows):
    """How much nearer the halved net is to the mean of the dropout nets than a single one is.

    In points of total variation distance, over the nets of a scale and kind of device.
    """
    for pairs in grouped(rows.measured("halving"), lambda pair: (pair[0]["scale"], _gpu(pair))):
        gains = 100 * np.array([row["values"]["gain"] for row, _ in pairs])
        found = _over_nets(gains, pairs[0][0]["n"])
        name = "distance of one dropout net minus that of the halved net"
        yield line(claim, name, [run for _, runs in pairs for run in runs], found)


def _gpu(pair: tuple[dict, list[dict]]) -> bool:
    return any(map(on_gpu, pair[1]))


def _over_nets(measured, images: int) -> Estimate:
    """The mean of a measure over nets, given each net's value, low and high over some images."""
    value, low, high = np.transpose(measured)
    return difference([value], [value], float(np.mean(((high - low) / 3.92) ** 2)), images)


def relu_race(claim: Claim, rows: Rows):
    """Epochs of tanh / epochs of ReLU to the error of Figure 1, for each net or for one `stack`.

    With the option `least`, only the least ratio, if there are two nets or more.
    """
    raced = [row for row in ended(rows) if row["study"] == "02_relu_vs_tanh"]
    for group in grouped(raced, place):
        figure1 = config_at(FIGURE1, group[0]["scale"])
        counted, lines = race.at_best_rates(group, figure1), []
        for stack in dict.fromkeys(stack for stack, _ in counted):
            tanh, relu = (counted.get((stack, name)) for name in ("tanh", "relu"))
            if tanh and relu and claim.options.get("stack", stack) == stack:
                found = race.sooner(tanh, relu, FIGURE1.train.target)
                lines.append(line(claim, f"tanh / ReLU, {stack} net", tanh + relu, found))
        yield from _least(lines, 2) if claim.options.get("least") else lines


def error(claim: Claim, rows: Rows):
    """The error on ImageNet itself, ten views; the interval is over images."""
    for row in ended(rows):
        if row["study"] == "04_train" and row["scale"] == row["data"]["name"] == "imagenet":
            share, n = row["metrics"]["ten"][claim.options["measure"]], row["metrics"]["ten"]["n"]
            found = proportion(round(share * n), n)
            yield line(claim, f"{row['variant']}, seed {row['seed']}", [row], found)


def colour(claim: Claim, rows: Rows):
    """The share of the runs of a config whose two towers differ in colour with p < 0.05."""
    seen = [row for row in trained(rows) if "colour" in row and row["history"]]
    for group in grouped(seen, lambda row: (row["scale"], row["spec"])):
        updates = [row["history"][-1]["step"] for row in group]
        long = [row for row, n in zip(group, updates, strict=True) if n >= verdicts.UPDATES]
        counted = long or group
        found = proportion(sum(row["colour"]["p"] < 0.05 for row in counted), len(counted))
        share, low, _ = found
        verdict = verdicts.AGREES if low > 50 else CANNOT_TELL
        verdict = verdict if share == 100 else verdicts.OPPOSITE
        if not long:
            verdict = f"{REGIME}; {max(updates):,} updates of the paper's 840,000"
        made = line(claim, "runs whose towers differ", counted, found, verdict)
        yield made | {"n": (len(counted),)}


def features(claim: Claim, rows: Rows):
    """What notebook 05 measured, over the nets of a config; of repeated measurements the last."""
    key = claim.options["quantity"]
    last = {str((r["run"], r["queries"], r["among"])): r for r in rows if "measured" in r}
    groups = defaultdict(list)
    for look in last.values():
        if key in look["measured"] and key not in look.get("withdrawn", {}):
            for run in rows.runs(look["run"]):
                alike = look["queries"], look["among"], place(run), str(run["config"])
                groups[alike].append((look, run))
    for (queries, among, *_), group in groups.items():
        looks, runs = zip(*group, strict=True)
        name = f"{runs[0]['variant']}: {queries:,} images among {among:,}"
        found, said = looks[0]["measured"][key], ""
        if len(group) > 1:
            found = _over_nets([look["measured"][key] for look in looks], queries)
            above = found.value - claim.options.get("more_than", 0)
            said = verdicts.verdict(dataclasses.replace(found, value=above), None)
        yield line(claim, name, list(runs), found, said) | {"study": looks[0]["study"]}


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
