"""What the runs on record took: hours and pictures, deviations from the readings, runs that an effect would take."""

import math

from alexlib import findings, stats
from alexlib.config import CIFAR13, FIGURE1, SPECS, spec_from

READINGS = SPECS | {spec.name: spec for spec in (FIGURE1, CIFAR13)}


def pictures(row: dict) -> int:
    """Training pictures that a run has seen, repetitions included."""
    return row["history"][-1]["step"] * row["config"]["train"]["batch"] if row["history"] else 0


def size(row: dict) -> tuple[float, int]:
    """Width of the net, and training pictures in an epoch."""
    return row["config"]["net"]["width"], round(pictures(row) / max(1, len(row["history"])))


def setting(row: dict) -> str:
    """How large a run was: `imagenette, 48 epochs of 1,856 pictures, width 0.5`."""
    net, train = (row["config"][part] for part in ("net", "train"))
    width, epoch = size(row)
    kind = f"{net['stack']} net, " if "stack" in net else ""
    length = f"{train['epochs']} epochs{' at most' if train.get('target') else ''}"
    return f"{row['scale']}, {kind}{length} of {epoch:,} pictures" + ("" if width == 1 else f", width {width:g}")


def ledger(found: list[dict]) -> list[dict]:
    """Runs, those that diverged, hours and training pictures: by device, notebook and scale, then of the device."""
    table = []
    for device in dict.fromkeys(row["device"] for row in found):
        here = [row for row in found if row["device"] == device]
        for study, scale in dict.fromkeys((row["study"], row["scale"]) for row in here):
            part = [row for row in here if (row["study"], row["scale"]) == (study, scale)]
            table.append({"device": device, "notebook": study, "scale": scale, **_sums(part)})
        table.append({"device": device, "notebook": "all", "scale": "all", **_sums(here)})
    return table


def _sums(part: list[dict]) -> dict:
    diverged = len(part) - len(findings.ended(part))
    hours = sum(row["seconds"] for row in part) / 3600
    return {"runs": len(part), "diverged": diverged, "hours": hours, "pictures": sum(map(pictures, part))}


def deviations(found: list[dict]) -> list[dict]:
    """How the runs of a notebook at a scale differ, all of them, from the reading that they name, and in pictures."""
    parts = {}
    for row in found:
        parts.setdefault((row["study"], row["scale"], row["spec"], row["data"]["origin"]), []).append(row)
    head = ("notebook", "scale", "reading", "pictures")
    return [dict(zip(head, key, strict=True)) | {"differs": _differs(part)} for key, part in parts.items()]


def _differs(part: list[dict]) -> str:
    reading = READINGS.get(part[0]["spec"])
    if reading is None:
        return "a reading of its own"
    changes = [reading.changes(spec_from(row["config"])) for row in part]
    common = {field: pair for field, pair in changes[0].items() if all(c.get(field) == pair for c in changes)}
    said = (f"{field} {_text(theirs)} → {_text(ours)}" for field, (theirs, ours) in common.items())
    return ", ".join(said) or "nothing but the pictures"


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def difficulty(table: list[dict]) -> list[dict]:
    """What the effects in a scorecard took, and how many runs it would take to see the paper's size, fewest first.

    Rows: claim, size (of the effect, as the paper or else the 2012 log has it), half (of the interval's width), runs
    and hours so far, needed (runs of each kind until `half` is as small as `size`, with the scatter seen so far).
    """
    found = []
    for claim, line in ((entry["claim"], entry["lines"][0]) for entry in table if entry["lines"]):
        if line["n"] > 1 and claim.unit in ("pp", "x"):
            named = claim.log if claim.paper is None else claim.paper
            low, high, named = (_effect(end, claim.unit) for end in (line["low"], line["high"], named))
            needed = stats.runs_for(abs(named), low, high, line["n"]) if named else None
            seen = {"half": (high - low) / 2, "n": line["n"], "hours": line["hours"]}
            found.append({"claim": claim, "size": named, "needed": needed, **seen})
    return sorted(found, key=lambda row: (row["needed"] is None, row["needed"] or 0, row["half"]))


def _effect(value: float | None, unit: str) -> float | None:
    """An effect on a scale that has none at 0: ratios as logarithms."""
    return math.log(max(value, 1e-300)) if unit == "x" and value is not None else value
