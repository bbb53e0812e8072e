"""The scorecard: every claim of the register and what the rows on record say of it, by the rules of docs/protocol.md.

Rows alone are read: no images, no training. A line of evidence is a dict: claim, name (what was compared), value, low,
high (95 %), n (runs in each arm; "-" for facts), detectable (at 80 % power; None where there is no estimate), p, bound
(what `value` is where it is none: "at least"), verdict; study, scale, setting, device, hours, runs (those it rests on);
rank (the least is shown first); estimate.
"""

import hashlib
import json
import math
from collections.abc import Iterable

from alexold import effects, facts, features, findings, race, rows, verdicts
from alexold.ablations import VARIANTS
from alexold.claims import CLAIMS, Claim
from alexold.config import FIGURE1, SPECS, spec_at, spec_from
from alexold.costs import setting, size
from alexold.effects import trained
from alexold.nets import STACKS
from alexold.verdicts import AGREES, CANNOT_TELL, LARGER, NOT_TESTED, OPPOSITE, REGISTER, SMALLER, judged

NEAREST = ("imagenet", "miniimagenet", "imagenette", "imagenette128", "cifar10", "sample")  # the paper's own first


def record(sample: bool = False) -> list[dict]:
    """The rows that the scorecard is drawn from; with `sample` those of generated images too, which claim nothing."""
    return rows.everything() + (rows.everything(sample=True) if sample else [])


def fingerprint(found: list[dict]) -> str:
    """What ties a page to the rows that it was drawn from."""
    return hashlib.sha256(_key(found).encode()).hexdigest()[:16]


def card(found: list[dict]) -> list[dict]:
    """Every claim, in the order of the paper: claim (of the register), verdict, lines (of evidence), reason.

    The first line gives the verdict (section 7 of the protocol). It is of the runs that have an interval, then of those
    that keep hits, of the scale nearest to the paper, of the widest net and the most images; where a claim has several
    parts (a layer each), of the one least borne out.
    Without a line the verdict is `NOT_TESTED` and `reason` says why. Primary claims are corrected by Holm's method.
    """
    known, table = evidence(found), []
    for claim in CLAIMS:
        lines = [line for line in known if line["claim"] == claim.id]
        verdict, reason = (lines[0]["verdict"], "") if lines else (NOT_TESTED, _reason(claim, known, found))
        table.append({"claim": claim, "verdict": verdict, "lines": lines, "reason": reason})
    return _corrected(table)


def _corrected(table: list[dict]) -> list[dict]:
    """Primary claims that are not significant after Holm's correction over those that were tested cannot tell."""
    tested = {
        entry["claim"].id: entry["lines"][0]["p"]
        for entry in table
        if entry["claim"].primary and entry["lines"] and _enough(entry["lines"][0])
    }
    adjusted = verdicts.holm(tested)
    for entry in table:
        if (p := adjusted.get(entry["claim"].id)) is not None:
            entry["holm"] = p
            if p > 0.05 and entry["verdict"].split(";")[0] in (AGREES, SMALLER, LARGER, OPPOSITE):
                entry["verdict"] = f"{CANNOT_TELL}; p = {p:.2g} after Holm's correction"
                entry["lines"][0] |= {"verdict": entry["verdict"]}
    return table


def _enough(line: dict) -> bool:
    """Whether a line is a test: of two runs in each arm at least, and in the claim's regime."""
    tested = line["estimate"] and min(line["estimate"].n) > 1 and line["scale"] != "sample"
    return bool(tested) and not line["verdict"].startswith(verdicts.REGIME)


def evidence(found: list[dict]) -> list[dict]:
    """All lines of evidence, those first that are shown first."""
    runs, measured = trained(found), [row for row in found if row["study"] == "measures"]
    lines = [*_facts(), *_effects(runs), *_views(runs), *_speed(runs), *_errors(runs), *_colours(runs)]
    lines += [*_measures(runs, measured), *_features(runs, [row for row in found if "measured" in row])]
    return sorted(lines, key=lambda line: line["rank"])


def _reason(claim: Claim, known: list[dict], found: list[dict]) -> str:
    if any(line["claim"] == claim.id.removesuffix("-top5") for line in known):
        return f"{effects.CLASSES} classes or more: five guesses out of fewer say little"
    id = claim.id.removesuffix("-top5")
    tests = [v.name for v in VARIANTS for tested, _ in v.claims + v.small_claims if tested == id]
    if lost := sum(row["variant"] in tests and not row["metrics"] for row in trained(found)):
        return f"all {lost} runs of {' and of '.join(tests)} diverged"
    return claim.needs or f"runs of {' and of '.join(tests)} beside their baseline, two seeds at least"


# ---- lines of evidence ----------------------------------------------------------------------------------------


def _facts() -> Iterable[dict]:
    """What is counted from the net itself."""
    for id, value in facts.counts().items():
        line = {"claim": id, "name": "counted from the net", "value": value, "low": value, "high": value, "n": "-"}
        about = {"study": "", "scale": "", "setting": "the paper's net", "device": "", "hours": 0.0, "runs": 0}
        line |= {
            "bound": "at least" if REGISTER[id].over else "",
            "verdict": verdicts.fact(value, REGISTER[id]),
            "detectable": None,
            "p": 1.0,
        }
        yield line | about | {"rank": (0,), "estimate": None}


def _effects(found: list[dict]) -> Iterable[dict]:
    for group in effects.comparable(found):
        for effect in effects.variant_effects(group):
            against = next(v.against for v in VARIANTS if v.name == effect["variant"])
            yield from _lines(effect, [r for r in group if r["variant"] in (against, effect["variant"])])


def _views(found: list[dict]) -> Iterable[dict]:
    plain = [row for row in effects.ended(found) if row["variant"] in ("baseline", *SPECS)]
    for group in _alike(row for row in plain if "ten" in row["metrics"] and "kernels" in row["config"]["net"]):
        for row in findings.ten_views(group):
            yield from _lines(row | {"name": f"{row['name']}, {group[0]['spec']}"}, group)


def _speed(found: list[dict]) -> Iterable[dict]:
    for scale, data in dict.fromkeys((row["scale"], row["data"]["train"]) for row in found):
        here = [row for row in found if (row["scale"], row["data"]["train"]) == (scale, data)]
        speeds = []
        for stack, pair in races(here).items():
            speed = relu_speed(pair["tanh"], pair["relu"], _chance(here))
            speeds.append((speed | {"name": f"tanh / ReLU, {stack} net"}, pair["tanh"] + pair["relu"]))
            yield from _lines(*speeds[-1])
        if len(speeds) > 1:  # "consistently": the net in which ReLUs gain least
            least, used = min(speeds, key=lambda pair: (min(pair[0]["n"]) > 1, pair[0]["low"]))
            yield from _lines(judged(least, "relu-architectures", scale, least["estimate"]), used)


def relu_speed(tanh: list[dict], relu: list[dict], chance: float, evidence: bool = True) -> dict:
    """How many times sooner runs with ReLUs reach the error of Figure 1: `race.sooner` with a verdict.

    Args:
        tanh, relu: rows of one stack, each at its best rate.
        chance: the error before the first epoch.
    """
    found = race.sooner(tanh, relu, FIGURE1.train.target, chance)
    row = {"name": "tanh / ReLU", "unit": "x", **found}
    return judged(row, "relu-speed", relu[0]["scale"], found["estimate"], evidence=evidence)


def races(found: list[dict]) -> dict[str, dict[str, list[dict]]]:
    """The runs of notebook 02 that count, out of the rows of a scale: {stack: {"tanh": rows, "relu": rows}}."""
    raced = [row for row in effects.ended(found) if row["study"] == "02_relu_vs_tanh"]
    if not raced:
        return {}
    known = race.at_best_rates(raced, spec_at(FIGURE1, raced[0]["scale"]), _chance(raced))
    pairs = {stack: {name: known.get((stack, name)) for name in ("tanh", "relu")} for stack in STACKS}
    return {stack: pair for stack, pair in pairs.items() if all(pair.values())}


def _chance(found: list[dict]) -> float:
    return 1 - 1 / found[0]["config"]["net"]["classes"]


def _errors(found: list[dict]) -> Iterable[dict]:
    for row in effects.ended(found):
        if row["study"] == "04_train":
            for error in findings.imagenet_errors(row):
                yield from _lines(error, [row])


def _colours(found: list[dict]) -> Iterable[dict]:
    """Runs whose two towers differ in colour more than 19 of 20 random halves of their kernels do: a line a config."""
    told = [row for row in found if "colour" in row]
    for spec in dict.fromkeys((row["scale"], row["spec"]) for row in told):
        part = [row for row in told if (row["scale"], row["spec"]) == spec]
        yield from _lines(findings.colour_claim(part), part)


def _measures(found: list[dict], measured: list[dict]) -> Iterable[dict]:
    """Averages of several nets, and halving: what was measured of runs on record without training."""
    for row in findings.ensembles(measured, found) + findings.halvings(measured, found):
        yield from _lines(row, row["of"])


def _features(found: list[dict], looks: list[dict]) -> Iterable[dict]:
    """What notebook 05 measured of runs on record; with as many images again, the last time counts."""
    runs = {_key(features.named(row)): row for row in found}
    last = {_key([look["run"], look["queries"], look["among"]]): look for look in looks}
    for look in (look for look in last.values() if _key(look["run"]) in runs):
        run = runs[_key(look["run"])] | {"study": look["study"]}
        name = f"{run['variant']}, seed {run['seed']}: {look['queries']:,} images among {look['among']:,}"
        kept = {id: bounds for id, bounds in look["measured"].items() if id not in look.get("withdrawn", {})}
        for row in findings.of_features(kept, look["scale"]).values():
            yield from _lines(row | {"name": name, "n": (1,)}, [run])


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
    first = used[0]
    yield {
        **{key: row[key] for key in ("claim", "name", "value", "low", "high", "verdict", "n")},
        **{"detectable": row.get("detectable"), "p": row.get("p", 1.0), "estimate": row.get("estimate")},
        **{"bound": row.get("bound", ""), "study": first["study"], "scale": first["scale"], "rates": _rates(used)},
        **{"setting": setting(first), "device": ", ".join(dict.fromkeys(one["device"] for one in used))},
        **{"hours": sum(one["seconds"] for one in used) / 3600, "runs": len(used), "rank": _rank(row, first)},
    }


def _rates(used: list[dict]) -> str:
    """The learning rates of the arms, where they differ."""
    rates = {row["variant"]: row["config"]["train"]["lr"] for row in used}
    return ", ".join(f"{name} {lr:g}" for name, lr in rates.items()) if len(set(rates.values())) > 1 else ""


def _rank(row: dict, first: dict) -> tuple:
    single = not math.isfinite(row["low"]) or not math.isfinite(row["high"]) or min(row["n"]) < 2
    old = row["unit"] == "points" and "hits" not in first
    weakness = next((i for i, verdict in enumerate(verdicts.VERDICTS) if row["verdict"].startswith(verdict)), 0)
    width, images = size(first)
    near = NEAREST.index(first["scale"])
    return 1, first["scale"] == "sample", single, old, near, -width, -images, weakness, row["name"]


# ---- as figures and as text ----------------------------------------------------------------------------------


def in_points(table: list[dict]) -> list[dict]:
    """The effects on errors of a scorecard, in percentage points, as `contrasts.forest` draws them."""
    found = []
    for claim, line in ((entry["claim"], entry["lines"][0]) for entry in table if entry["lines"]):
        if claim.unit == "pp" and claim.notebook != "05_features":
            later = [(study, value) for study, value, _ in claim.later if value is not None]
            ends = {key: line[key] for key in ("value", "low", "high", "n")}
            name = f"{claim.id} ({line['scale']})"
            found.append({"name": name, **ends, "paper": claim.paper, "log": claim.log, "later": later})
    return found


NOWHERE = {"where": "-", "device": "-"}


def cells(claim: Claim, line: dict | None) -> dict[str, str]:
    """A claim and a line of evidence (None: there is none), column by column."""
    paper, log = (number(value, claim.unit) for value in (claim.paper, claim.log))
    about = {"claim": claim.statement, "verdict": line["verdict"] if line else NOT_TESTED, "paper": paper}
    about |= {"2012 log": log, "later studies": claim.studies or "-"}
    what = {"quantity": f"{claim.quantity} ({claim.unit})"}
    if line is None:
        return about | dict.fromkeys(("ours", "95 % interval", "detectable", "runs"), "-") | what | NOWHERE
    ours = f"{line['bound']} {number(line['value'], claim.unit)}".strip()
    single = line["n"] == "-" or not math.isfinite(line["high"] - line["low"])
    span = "-" if single else f"{number(line['low'], claim.unit)} to {number(line['high'], claim.unit)}"
    detectable = None if single or line["detectable"] is None else line["detectable"]
    about |= {"ours": ours, "95 % interval": span, "detectable": number(detectable, claim.unit)}
    about |= {"runs": line["n"] if line["n"] == "-" else " + ".join(map(str, line["n"]))}
    return about | what | {"where": line["setting"], "device": line["device"] or "-"}


def number(value: float | None, unit: str) -> str:
    """`60,965,224` for a count, `1.53` for all else, `-` for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if unit == "count" else f"{round(value, 2):g}"
