"""What the runs on record took: hours and images, deviations from the configs, runs that an effect would take."""

from alexold import effects, verdicts
from alexold.config import CIFAR13, FIGURE1, SPECS, spec_from

READINGS = SPECS | {spec.name: spec for spec in (FIGURE1, CIFAR13)}


def images(row: dict) -> int:
    """Training images that a run has seen, repetitions included."""
    return row["history"][-1]["step"] * row["config"]["train"]["batch"] if row["history"] else 0


def size(row: dict) -> tuple[float, int]:
    """Width of the net, and training images in an epoch."""
    return row["config"]["net"]["width"], round(images(row) / max(1, len(row["history"])))


def setting(row: dict) -> str:
    """How large a run was: `imagenette, 48 epochs of 1,856 images, width 0.5`."""
    net, train = (row["config"][part] for part in ("net", "train"))
    width, epoch = size(row)
    kind = f"{net['stack']} net, " if "stack" in net else ""
    length = f"{train['epochs']} epochs{' at most' if train.get('target') else ''}"
    return f"{row['scale']}, {kind}{length} of {epoch:,} images" + ("" if width == 1 else f", width {width:g}")


def ledger(found: list[dict]) -> list[dict]:
    """Runs, those that diverged, hours and training images: by device, notebook and scale, then of the device."""
    table = []
    for device in dict.fromkeys(row["device"] for row in found):
        here = [row for row in found if row["device"] == device]
        for study, scale in dict.fromkeys((row["study"], row["scale"]) for row in here):
            part = [row for row in here if (row["study"], row["scale"]) == (study, scale)]
            table.append({"device": device, "notebook": study, "scale": scale, **_sums(part)})
        table.append({"device": device, "notebook": "all", "scale": "all", **_sums(here)})
    return table


def _sums(part: list[dict]) -> dict:
    diverged = len(part) - len(effects.ended(part))
    hours = sum(row["seconds"] for row in part) / 3600
    return {"runs": len(part), "diverged": diverged, "hours": hours, "images": sum(map(images, part))}


def deviations(found: list[dict]) -> list[dict]:
    """How the runs of a notebook at a scale differ, all of them, from the reading that they name, and in images."""
    parts = {}
    for row in found:
        parts.setdefault((row["study"], row["scale"], row["spec"], row["data"]["origin"]), []).append(row)
    head = ("notebook", "scale", "reading", "images")
    return [dict(zip(head, key, strict=True)) | {"differs": _differs(part)} for key, part in parts.items()]


def _differs(part: list[dict]) -> str:
    reading = READINGS.get(part[0]["spec"])
    if reading is None:
        return "a reading of its own"
    changes = [reading.changes(spec_from(row["config"])) for row in part]
    common = {field: pair for field, pair in changes[0].items() if all(c.get(field) == pair for c in changes)}
    said = (f"{field} {_text(theirs)} → {_text(ours)}" for field, (theirs, ours) in common.items())
    return ", ".join(said) or "nothing but the images"


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def difficulty(table: list[dict]) -> list[dict]:
    """What the effects in a scorecard took, and how many runs it would take to detect the paper's size, fewest first.

    Rows: claim (id), size (of the effect, as the paper or else the 2012 log has it), detectable (with the runs so far),
    runs and hours so far, needed (runs in each arm until `size` is detectable; None: the test images are too few, or no
    size is known). Ratios are logarithms.
    """
    found = []
    for claim, line in ((entry["claim"], entry["lines"][0]) for entry in table if entry["lines"]):
        estimate = line["estimate"]
        gated = line["verdict"].startswith(verdicts.REGIME)
        if estimate and min(estimate.n) > 1 and estimate.seeds and claim.unit in ("pp", "x") and not gated:
            named = verdicts.logarithm(claim.log if claim.paper is None else claim.paper, claim.unit)
            needed = estimate.runs_needed(abs(named)) if named else None
            seen = {"detectable": estimate.detectable, "runs": " + ".join(map(str, estimate.n)), "hours": line["hours"]}
            found.append({"claim": claim.id, "size": named, "needed": needed, **seen})
    return sorted(found, key=lambda row: (row["needed"] is None, row["needed"] or 0, row["detectable"]))
