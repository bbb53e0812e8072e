"""Verdicts: a finding beside what the register says of its claim, judged by the rules of `stats`."""

import math
from collections.abc import Iterable

from alexlib import stats
from alexlib.claims import CLAIMS, Claim

REGISTER = {claim.id: claim for claim in CLAIMS}
NOT_TESTED = "not tested at this scale"
CLOSE = 1.0  # of the claim neighbours-pixels: a picture is close by pixels if it is among the nearest 1 % of a set


def judged(row: dict, claim: str | None, scale: str) -> dict:
    """A row of value, low, high and unit with what the register says of its claim, and the verdict."""
    if claim is None:
        about = dict.fromkeys(("claim", "statement", "paper", "log")) | {"later": ()}
        return row | about | {"verdict": "no claim of the paper"}
    c = REGISTER[claim]
    later = tuple((study, value) for study, value, _ in c.later if value is not None)
    row = row | {"claim": claim, "statement": c.statement, "paper": c.paper, "log": c.log, "later": later}
    return row | {"verdict": _verdict(row, scale)}


def _verdict(row: dict, scale: str) -> str:
    bounds = [row["low"], row["high"], row["paper"]]
    if scale != "sample" and row["claim"] == "colour-towers":
        return stats.in_every_run(row["value"], row["low"])
    if row["claim"] == "neighbours-pixels":
        bounds = [row["low"] - CLOSE, row["high"] - CLOSE, None]
    elif scale != "sample" and row["unit"] == "%":
        return stats.at_most(row["low"], row["paper"])
    elif row["unit"] == "x":  # a ratio of 1 is no effect
        bounds = [None if bound is None else math.log(max(bound, 1e-300)) for bound in bounds]
    return stats.verdict(*bounds, scale)


def beside(claims: Iterable[Claim], found: dict[str, dict]) -> list[dict]:
    """The closing table of a notebook: claims beside what was found of them, {id: row as of `judged`}.

    Rows: claim (its quantity), unit, paper, 2012 log, later studies, here, 95 % interval, verdict.
    """
    table = []
    for claim in claims:
        row = found.get(claim.id, {})
        table.append(
            {
                "claim": claim.quantity,
                "unit": claim.unit,
                "paper": claim.paper,
                "2012 log": claim.log,
                "later studies": ", ".join(f"{study} {value}" for study, value, _ in claim.later if value is not None),
                "here": row.get("value"),
                "95 % interval": f"{row['low']:.2f} to {row['high']:.2f}" if row else "",
                "verdict": row.get("verdict", NOT_TESTED),
            }
        )
    return table
