"""The scorecard: every claim of the register and what the rows on record say of it.

Rows alone are read: no pictures, no training. A line of evidence is a dict: claim, name (what was compared), value,
low, high (95 %), n (runs, or pairs of runs with and without), bound (what `value` is where it is none: "at least"),
verdict; study, scale, setting, device, hours, runs (those it rests on); rank (the least is shown first).
"""

import hashlib
import json
import math
from collections.abc import Iterable

from alexlib import features, findings, race, rows, stats
from alexlib.ablations import VARIANTS
from alexlib.claims import CLAIMS, Claim
from alexlib.config import FIGURE1, PAPER, SPECS, spec_at, spec_from
from alexlib.costs import setting, size
from alexlib.nets import STACKS, trace
from alexlib.paper import CONSTANTS
from alexlib.verdicts import NOT_TESTED, REGISTER, judged

NEAREST = ("imagenet", "imagenette", "imagenette128", "cifar10", "sample")  # scales, the paper's own first
VERDICTS = ("not reproduced", "inconclusive", "direction only", "reproduced")  # the least borne out first


def record(sample: bool = False) -> list[dict]:
    """The rows that the scorecard is drawn from; with `sample` those of generated pictures too, which claim nothing."""
    return rows.everything() + (rows.everything(sample=True) if sample else [])


def fingerprint(found: list[dict]) -> str:
    """What ties a page to the rows that it was drawn from."""
    return hashlib.sha256(_key(found).encode()).hexdigest()[:16]


def card(found: list[dict]) -> list[dict]:
    """Every claim, in the order of the paper: claim (of the register), verdict, lines (of evidence), reason.

    The first line gives the verdict. It is of the runs that have an interval, of the scale nearest to the paper, then
    of the widest net and the most pictures; where a claim has several parts (a layer each), of the one least borne out.
    Without a line the verdict is `NOT_TESTED` and `reason` says why.
    """
    known, table = evidence(found), []
    for claim in CLAIMS:
        lines = [line for line in known if line["claim"] == claim.id]
        verdict, reason = (lines[0]["verdict"], "") if lines else (NOT_TESTED, _reason(claim, known))
        table.append({"claim": claim, "verdict": verdict, "lines": lines, "reason": reason})
    return table


def evidence(found: list[dict]) -> list[dict]:
    """All lines of evidence, those first that are shown first."""
    runs = findings.trained(found)
    lines = [*_counts(), *_effects(runs), *_views(runs), *_speed(runs), *_errors(runs), *_colours(runs)]
    lines += _features(runs, [row for row in found if "measured" in row])
    return sorted(lines, key=lambda line: line["rank"])


def _reason(claim: Claim, known: list[dict]) -> str:
    if any(line["claim"] == claim.id.removesuffix("-top5") for line in known):
        return f"{findings.CLASSES} classes or more: five guesses out of fewer say little"
    id = claim.id.removesuffix("-top5")
    tests = [v.name for v in VARIANTS for tested, _ in v.claims + v.small_claims if tested == id]
    return claim.needs or f"runs of {' and of '.join(tests)} beside their baseline, two seeds at least"


# ---- lines of evidence ----------------------------------------------------------------------------------------


def _counts() -> Iterable[dict]:
    """What is computed from the net itself."""
    stages, sides = trace(PAPER), [int(CONSTANTS[name].value) for name in ("side", "crop")]
    parameters = sum(stage["parameters"] for stage in stages)
    conv = [stage for stage in stages if stage["stage"].startswith("conv")]
    counts = {
        "parameters": parameters,
        "neurons": sum(stage["neurons"] for stage in stages),
        "conv1-neurons": conv[0]["neurons"],
        "crops-factor": 2 * (sides[0] - sides[1] + 1) ** 2,
    }
    for id, value in counts.items():
        yield _count(id, value, stats.count(value, REGISTER[id].paper))
    share = 100 * max(stage["parameters"] for stage in conv) / parameters
    yield _count("one-percent", share, stats.at_most(share, REGISTER["one-percent"].paper))


def _count(id: str, value: float, verdict: str) -> dict:
    line = {"claim": id, "name": "computed from the net", "value": value, "low": value, "high": value, "n": 0}
    about = {"study": "", "scale": "", "setting": "the paper's net", "device": "", "hours": 0.0, "runs": 0}
    return line | {"bound": "", "verdict": verdict, **about, "rank": (0,)}


def _effects(found: list[dict]) -> Iterable[dict]:
    for group in findings.comparable(found):
        for effect in findings.effects(group):
            yield from _lines(effect, [r for r in group if r["variant"] in ("baseline", effect["variant"])])


def _views(found: list[dict]) -> Iterable[dict]:
    plain = [row for row in findings.ended(found) if row["variant"] in ("baseline", *SPECS)]
    for group in _alike(row for row in plain if "ten" in row["metrics"]):
        for row in findings.ten_views(group):
            yield from _lines(row | {"name": f"{row['name']}, {group[0]['spec']}"}, group)


def _speed(found: list[dict]) -> Iterable[dict]:
    for scale, data in dict.fromkeys((row["scale"], row["data"]["train"]) for row in found):
        here = [row for row in found if (row["scale"], row["data"]["train"]) == (scale, data)]
        for stack, pair in races(here).items():
            speed = relu_speed(pair["tanh"], pair["relu"], _chance(here))
            yield from _lines(speed | {"name": f"tanh / ReLU, {stack} net"}, pair["tanh"] + pair["relu"])


def relu_speed(tanh: list[dict], relu: list[dict], chance: float) -> dict:
    """How many times sooner runs with ReLUs reach the error of Figure 1: `race.sooner` with a verdict.

    Args:
        tanh, relu: rows of one stack, each at its best rate.
        chance: the error before the first epoch.
    """
    found = race.sooner(tanh, relu, FIGURE1.train.target, chance)
    row = judged({"name": "tanh / ReLU", "unit": "x", **found}, "relu-speed", relu[0]["scale"])
    return row if found["bound"] in ("", "at least") else row | {"verdict": "inconclusive"}


def races(found: list[dict]) -> dict[str, dict[str, list[dict]]]:
    """The runs of notebook 02 that count, out of the rows of a scale: {stack: {"tanh": rows, "relu": rows}}."""
    raced = [row for row in findings.ended(found) if row["study"] == "02_relu_vs_tanh"]
    if not raced:
        return {}
    known = race.at_best_rates(raced, spec_at(FIGURE1, raced[0]["scale"]), _chance(raced))
    pairs = {stack: {name: known.get((stack, name)) for name in ("tanh", "relu")} for stack in STACKS}
    return {stack: pair for stack, pair in pairs.items() if all(pair.values())}


def _chance(found: list[dict]) -> float:
    return 1 - 1 / found[0]["config"]["net"]["classes"]


def _errors(found: list[dict]) -> Iterable[dict]:
    for row in findings.ended(found):
        if row["study"] == "04_train":
            for error in findings.imagenet_errors(row):
                yield from _lines(error, [row])


def _colours(found: list[dict]) -> Iterable[dict]:
    """Runs whose two towers differ in colour more than 19 of 20 random halves of their kernels do."""
    told = [row for row in found if "colour" in row]
    for study, scale, data in dict.fromkeys((row["study"], row["scale"], row["data"]["train"]) for row in told):
        part = [r for r in told if (r["study"], r["scale"], r["data"]["train"]) == (study, scale, data)]
        value, low, high = findings.colours_apart([row["colour"]["p"] for row in part])
        row = {"name": "runs whose towers differ", "unit": "%", "value": value, "low": low, "high": high}
        yield from _lines(judged(row | {"n": len(part)}, "colour-towers", scale), part)


def _features(found: list[dict], looks: list[dict]) -> Iterable[dict]:
    """What notebook 05 measured of runs on record; with as many pictures again, the last time counts."""
    runs = {_key(features.named(row)): row for row in found}
    last = {_key([look["run"], look["queries"], look["among"]]): look for look in looks}
    for look in (look for look in last.values() if _key(look["run"]) in runs):
        run = runs[_key(look["run"])] | {"study": look["study"]}
        name = f"{run['variant']}, seed {run['seed']}: {look['queries']:,} pictures among {look['among']:,}"
        for row in findings.of_features(look["measured"], look["scale"]).values():
            yield from _lines(row | {"name": name, "n": 1}, [run])


def _key(value) -> str:
    """Text in which values are equal if they are."""
    return json.dumps(value, sort_keys=True)


def _alike(found: Iterable[dict]) -> list[list[dict]]:
    """Groups of rows that differ in their seeds alone."""
    groups = {}
    for row in found:
        key = (row["study"], row["scale"], row["data"]["train"], row["variant"], spec_from(row["config"]))
        groups.setdefault(key, []).append(row)
    return [*groups.values()]


def _lines(row: dict, used: list[dict]) -> Iterable[dict]:
    """A finding about a claim as a line of evidence; nothing for a finding about none."""
    if row["claim"] is None:
        return
    first, n = used[0], min(row["n"]) if isinstance(row["n"], tuple) else row["n"]
    yield {
        **{key: row[key] for key in ("claim", "name", "value", "low", "high", "verdict")},
        **{"n": n, "bound": row.get("bound", ""), "study": first["study"], "scale": first["scale"]},
        **{"setting": setting(first), "device": ", ".join(dict.fromkeys(one["device"] for one in used))},
        **{"hours": sum(one["seconds"] for one in used) / 3600, "runs": len(used), "rank": _rank(row, first)},
    }


def _rank(row: dict, first: dict) -> tuple:
    single = not math.isfinite(row["low"]) or not math.isfinite(row["high"])
    weakness = next((i for i, verdict in enumerate(VERDICTS) if row["verdict"].startswith(verdict)), 0)
    width, pictures = size(first)
    near = NEAREST.index(first["scale"])
    return 1, first["scale"] == "sample", single, near, -width, -pictures, weakness, row["name"]


# ---- as figures and as text ----------------------------------------------------------------------------------


def in_points(table: list[dict]) -> list[dict]:
    """The effects on errors of a scorecard, in percentage points, as `contrasts.forest` draws them."""
    found = []
    for claim, line in ((entry["claim"], entry["lines"][0]) for entry in table if entry["lines"]):
        if claim.unit == "pp" and claim.notebook != "05_features":
            later = [(study, value) for study, value, _ in claim.later if value is not None]
            ends = {key: line[key] for key in ("value", "low", "high")}
            name = f"{claim.id} ({line['scale']})"
            found.append({"name": name, **ends, "paper": claim.paper, "log": claim.log, "later": later})
    return found


def cells(claim: Claim, line: dict | None) -> dict[str, str]:
    """A claim and a line of evidence (None: there is none), column by column."""
    paper, log = (number(value, claim.unit) for value in (claim.paper, claim.log))
    about = {"claim": claim.statement, "verdict": line["verdict"] if line else NOT_TESTED, "paper": paper}
    about |= {"2012 log": log, "later studies": claim.studies or "-"}
    what = {"quantity": f"{claim.quantity} ({claim.unit})"}
    if line is None:
        return about | dict.fromkeys(("ours", "95 % interval", "runs"), "-") | what | {"where": "-", "device": "-"}
    ours = f"{line['bound']} {number(line['value'], claim.unit)}".strip()
    single = line["n"] == 0 or not math.isfinite(line["high"] - line["low"])
    span = "-" if single else f"{number(line['low'], claim.unit)} to {number(line['high'], claim.unit)}"
    about |= {"ours": ours, "95 % interval": span, "runs": str(line["n"] or "-")}
    return about | what | {"where": line["setting"], "device": line["device"] or "-"}


def number(value: float | None, unit: str) -> str:
    """`60,965,224` for a count, `1.53` for all else, `-` for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if unit == "count" else f"{round(value, 2):g}"
