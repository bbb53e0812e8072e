"""Verdicts: a finding beside what the register says of its claim, judged by the rules of `stats`."""

import math

from alexlib import stats
from alexlib.claims import CLAIMS

REGISTER = {claim.id: claim for claim in CLAIMS}
NOT_TESTED = "not tested at this scale"


def judged(row: dict, claim: str | None, scale: str) -> dict:
    """A row with what the register says of its claim, and the verdict."""
    if claim is None:
        about = dict.fromkeys(("claim", "statement", "paper", "log")) | {"later": ()}
        return row | about | {"verdict": "no claim of the paper"}
    c = REGISTER[claim]
    later = tuple((study, value) for study, value, _ in c.later if value is not None)
    row = row | {"claim": claim, "statement": c.statement, "paper": c.paper, "log": c.log, "later": later}
    return row | {"verdict": _verdict(row, scale)}


def _verdict(row: dict, scale: str) -> str:
    bounds = [row["low"], row["high"], row["paper"]]
    if row["unit"] == "%" and scale != "sample":
        return stats.at_most(row["low"], row["paper"])
    if row["unit"] == "x":  # a ratio of 1 is no effect
        bounds = [None if bound is None else math.log(max(bound, 1e-300)) for bound in bounds]
    return stats.verdict(*bounds, scale)
