"""The claim register: what the paper says that can be checked. The ledger: where it can be read in two ways.

Both are files in `alexold/tables`: claims.toml, ambiguities.toml. The head of a file tells how to write an entry.

Sign convention: an effect (unit "pp", percentage points, or "x", a ratio) is phrased so that the paper is
right when it is positive (pp) or above 1 (x): an error "without minus with" is positive when the thing helps.
A claim whose `paper` is None has a direction only. Units "%", "points", "count", "days" and "GB" are levels.

`log` is the authors' own number, one run each, from the files named in `alexold.paper`; None where the
released source holds no such run. `later` lists other studies as (study, value, note) in the same unit and
sign; the value is None when they measured another quantity, which the note gives. `needs` says what a test takes,
for claims that no variant of `alexold.ablations` tests.

docs/protocol.md says how claims are judged. `kind`: an effect (of a variant, a ratio, a difference), a level (an error,
a share, a number of days) or a fact, which is counted from the net. `primary`: one of the seven primary claims. `gate`:
judged only where the baseline overfits. `over`: the paper says "over" its number. `slip`: what in the paper itself
contradicts the fact.
"""

from dataclasses import dataclass

from alexold.paper import BY_RUN, read


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
    needs: str = ""
    kind: str = "effect"
    primary: bool = False
    gate: bool = False
    over: bool = False
    slip: str = ""

    @property
    def studies(self) -> str:
        """The later studies in one line."""
        parts = [(study, [f"{value:g}"] if value is not None else [], note) for study, value, note in self.later]
        return "; ".join(f"{study}: {', '.join(said + [note] * bool(note))}" for study, said, note in parts)


def _study(study: str, value: float | None = None, note: str = "") -> tuple:
    return study, value, note


def _claim(id: str, error: str, /, runs=(), later=(), **entry) -> Claim:
    """A claim about that error. The log of one run ("145-2010", "145-2010 centre") is a level; of two, an effect."""
    if runs:
        keys = [run.partition(" ") for run in runs]
        logs = [100 * getattr(BY_RUN[run, views or "ten"], error) for run, _, views in keys]
        entry = dict(log=round(logs[0] - sum(logs[1:]), 3), **entry)
    return Claim(id, **{"paper": None, "log": None} | entry, later=tuple(_study(**study) for study in later))


def _claims(id: str, top5: dict | None = None, error: str = "top1", **entry) -> list[Claim]:
    """The claim of an entry and, where it has `top5`, a twin about that error; `paper` and `later` are its own."""
    claims = [_claim(id, error, **entry)]
    if top5 is not None:
        own = {
            "paper": None,
            "later": (),
            "primary": False,
            "quantity": entry["quantity"].replace("top-1", "top-5"),
        } | top5
        claims.append(_claim(f"{id}-top5", "top5", **entry | own))
    return claims


CLAIMS = tuple(claim for entry in read("claims.toml", _claims) for claim in entry)


@dataclass(frozen=True)
class Ambiguity:
    """A question that the text leaves open or answers differently from the source, and both readings of it.

    Where `field` names a field of `alexold.config`, the readings are its values in `PAPER` and `SOURCE2012`; elsewhere
    `where` names what implements the one reading that both have, as module.name.
    """

    id: str
    question: str
    paper_says: str
    source_did: str
    reading_paper: object
    reading_source: object
    field: str = ""
    where: str = ""


def _ambiguity(id: str, /, **entry) -> Ambiguity:
    return Ambiguity(id, **{key: tuple(x) if isinstance(x, list) else x for key, x in entry.items()})


AMBIGUITIES = read("ambiguities.toml", _ambiguity)
