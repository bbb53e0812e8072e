"""The claim register: what the paper says that can be checked. The ledger: where it can be read in two ways.

Both are files in `alexlib/tables`: claims.toml, ambiguities.toml. The head of a file tells how to write an entry.

Sign convention: an effect (unit "pp", percentage points, or "x", a ratio) is phrased so that the paper is
right when it is positive (pp) or above 1 (x): an error "without minus with" is positive when the thing helps.
A claim whose `paper` is None has a direction only. Units "%", "points", "count" and "days" are levels.

`log` is the authors' own number, one run each, from the files named in `alexlib.paper`; None where the
released source holds no such run. `later` lists other studies as (study, value, note) in the same unit and
sign; the value is None when they measured another quantity, which the note gives.
"""

from dataclasses import dataclass

from alexlib.paper import BY_RUN, read


@dataclass(frozen=True)
class Claim:
    """A checkable statement. `section` is the paper's; "log" marks what only the 2012 logs answer."""

    id: str
    section: str
    statement: str
    quantity: str
    unit: str
    paper: float | None
    log: float | None
    log_note: str
    later: tuple = ()
    notebook: str = ""


def _percent(run: str, error: str) -> float:
    """Logged error in per cent of a run: "145-2010" with ten views, "145-2010 centre" with one."""
    id, _, views = run.partition(" ")
    return 100 * getattr(BY_RUN[id, views or "ten"], error)


def _study(study: str, value: float | None = None, note: str = "") -> tuple:
    return study, value, note


def _claim(id: str, error: str, /, runs=(), later=(), **entry) -> Claim:
    """A claim about that error. The log of one run is a level; of two, an effect: first minus second."""
    if runs:
        logs = [_percent(run, error) for run in runs]
        entry = dict(log=round(logs[0] - sum(logs[1:]), 3), **entry)
    return Claim(id, **{"paper": None, "log": None} | entry, later=tuple(_study(**study) for study in later))


def _claims(id: str, top5: dict | None = None, **entry) -> list[Claim]:
    """The claim of an entry and, where it has `top5`, a twin about the top-5 error; `paper`, `later` are its own."""
    claims = [_claim(id, "top1", **entry)]
    if top5 is not None:
        shared = {key: value for key, value in entry.items() if key not in ("paper", "later")}
        shared["quantity"] = shared["quantity"].replace("top-1", "top-5")
        claims.append(_claim(f"{id}-top5", "top5", **shared | top5))
    return claims


CLAIMS = tuple(claim for entry in read("claims.toml", _claims) for claim in entry)


@dataclass(frozen=True)
class Ambiguity:
    """A question that the text leaves open or answers differently from the source, and both readings of it.

    Where `field` names a field of `alexlib.config`, the readings are its values in `PAPER` and `SOURCE2012`.
    """

    id: str
    question: str
    paper_says: str
    source_did: str
    reading_paper: object
    reading_source: object
    field: str = ""


def _ambiguity(id: str, /, **entry) -> Ambiguity:
    return Ambiguity(id, **{key: tuple(x) if isinstance(x, list) else x for key, x in entry.items()})


AMBIGUITIES = read("ambiguities.toml", _ambiguity)


def _show(value: object) -> str:
    """A value as table text: `1, 2`, `none`, `0.736`, `60,000,000`."""
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value or "-")


def _cite(study: str, value: float | None, note: str) -> str:
    return f"{study}: " + ", ".join(_show(x) for x in (value, note) if x not in (None, ""))


def _table(head: str, rows: list[tuple]) -> str:
    columns = head.split(", ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_show, line)) + " |" for line in lines)


def ambiguity_table() -> str:
    """The ledger in markdown: a question, both answers, both readings, and the field that chooses."""
    rows = []
    for a in AMBIGUITIES:
        field = a.field and f"`{a.field}`"
        rows.append((a.question, a.paper_says, a.source_did, a.reading_paper, a.reading_source, field))
    return _table("question, the paper, the 2012 source, paper reading, source reading, field", rows)


def claim_table() -> str:
    """The register in markdown: the paper's number, the authors' log and later studies."""
    rows = []
    for c in CLAIMS:
        what, later = f"{c.quantity} ({c.unit})", "; ".join(_cite(*study) for study in c.later)
        rows.append((f"`{c.id}`", c.section, c.statement, what, c.paper, c.log, c.log_note, later))
    return _table("id, section, claim, quantity, paper, 2012 log, about the log, later studies", rows)
