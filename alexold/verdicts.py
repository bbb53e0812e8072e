"""The rules of docs/protocol.md: estimates with their uncertainty, and what they say of a claim."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from alexold.claims import CLAIMS, Claim

REGISTER = {claim.id: claim for claim in CLAIMS}
AGREES, SMALLER, LARGER = "agrees", "same direction, smaller", "same direction, larger"
OPPOSITE, EXCLUDED, CANNOT_TELL = "opposite", "paper's size excluded", "cannot tell"
REGIME, SLIP, NOT_TESTED = "regime not reached", "slip of the paper", "not tested"
SAMPLE, NO_CLAIM = "sample run, not evidence for any claim", "no claim of the paper"
NO_EVIDENCE = "a run that the protocol does not list, not evidence for any claim"
VERDICTS = (OPPOSITE, EXCLUDED, SMALLER, CANNOT_TELL, REGIME, SLIP, LARGER, AGREES)  # the least borne out first
GATE = 5.0  # points by which the baseline's training error must lie below its test error
UPDATES = 84_000  # updates after which the colour of the towers is judged: a tenth of the paper's
DIRECTION = 1.0  # points: "equivalent to zero" within this where the paper names no size


@dataclass(frozen=True)
class Estimate:
    """An effect with its standard error; for ratios both are those of the logarithm.

    Args:
        seeds, images: the two parts of the squared standard error.
        df: degrees of freedom of the part of the seeds; infinite where only images count.
        n: runs in each arm.
        n_images: test images.
    """

    value: float
    seeds: float
    images: float
    df: float
    n: tuple[int, ...]
    n_images: int = 10_000

    @property
    def se(self) -> float:
        return math.sqrt(self.seeds + self.images)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of the sum of both parts."""
        parts = self.seeds**2 / self.df + self.images**2 / (self.n_images - 1)
        return (self.seeds + self.images) ** 2 / parts if parts else self.df

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval; infinite where nothing is known of the scatter over seeds."""
        if not self.df or math.isnan(self.se):
            return -math.inf, math.inf
        if not self.se:  # no scatter at all, as in runs that all count with their last possible epoch
            return self.value, self.value
        half = stats.t.ppf((1 + level) / 2, self.freedom) * self.se
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p-value against no effect."""
        if not self.df or not self.se > 0:
            return float(not self.df or self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.se, self.freedom))

    @property
    def detectable(self) -> float:
        """The effect that a two-sided test at 5 % finds with a power of 80 %."""
        if not self.df:
            return math.inf
        return (stats.t.ppf(0.975, self.freedom) + stats.t.ppf(0.8, self.freedom)) * self.se

    def runs_needed(self, size: float) -> int | None:
        """Runs in each of two arms until `size` is detectable; None if the test images alone are too few."""
        each = self.seeds / sum(1 / n for n in self.n)  # the variance of a single run
        for n in range(2, 1000):
            if (
                Estimate(0, each * len(self.n) / n, self.images, len(self.n) * (n - 1), (n,) * len(self.n)).detectable
                <= size
            ):
                return n
        return None


def pooled(arms: Iterable[Iterable[float]]) -> tuple[float, int]:
    """Variance of a single run over seeds, pooled over arms, and its degrees of freedom."""
    groups = [np.asarray(arm, np.float64) for arm in arms]
    df = sum(len(arm) - 1 for arm in groups)
    squares = sum(((arm - arm.mean()) ** 2).sum() for arm in groups)
    return (float(squares / df), df) if df else (math.nan, 0)


def image_variance(wrong: Iterable[np.ndarray], than: Iterable[np.ndarray] = ()) -> float:
    """The part of a squared standard error that comes from the choice of test images.

    Two arms of runs are tested on the same N images. The variance over images of the difference d of the arms' mean
    errors contains scatter over seeds, which the part of the seeds already counts: it is taken off.

    Args:
        wrong, than: for each arm, 0 or 1 (or any number) for each run and image, (runs, N); without `than` one arm.
    """
    arms = [np.asarray(arm, np.float64) for arm in (wrong, than) if len(arm)]
    d = arms[0].mean(0) - (arms[1].mean(0) if len(arms) > 1 else 0)
    scatter = sum(arm.var(0, ddof=1).mean() / len(arm) for arm in arms if len(arm) > 1)
    return max(0.0, (d.var(ddof=1) - scatter) / d.size)


def welch(slow, fast) -> Estimate:
    """Welch's comparison of two groups of times: the logarithm of the ratio of their geometric means."""
    logs = [np.log(np.asarray(group, np.float64)) for group in (slow, fast)]
    value, n = float(logs[0].mean() - logs[1].mean()), tuple(map(len, logs))
    if min(n) < 2:
        return Estimate(value, math.nan, 0.0, 0, n)
    parts = [float(group.var(ddof=1)) / len(group) for group in logs]
    below = sum(part**2 / (size - 1) for part, size in zip(parts, n, strict=True))
    return Estimate(value, sum(parts), 0.0, sum(parts) ** 2 / below if below else sum(n) - 2, n)


def verdict(
    estimate: Estimate, paper: float | tuple[float, float] | None, over: bool = False, points: bool = True
) -> str:
    """What an effect says of a claim whose sign is positive; section 7 of the protocol.

    Args:
        paper: the size that the paper names (a logarithm for ratios), or the least and the largest number that it may
            have been rounded from; None for a direction alone.
        over: the paper says "over" that size.
        points: whether the effect is in percentage points: of ratios no equivalence is said.
    """
    least, most = paper if isinstance(paper, tuple) else (paper, paper)
    low, high = estimate.interval()
    if min(estimate.n) < 2 or not math.isfinite(low):
        return CANNOT_TELL
    if high < 0:
        return OPPOSITE
    if low > 0:
        if paper is None or (low <= most and least <= high) or (over and low > most):
            return AGREES
        return LARGER if low > most else SMALLER
    within = DIRECTION if paper is None else (least + most) / 4
    said = EXCLUDED if paper is not None and high < least else CANNOT_TELL
    return (
        f"{said}; equivalent to zero within {within:.2g}" if points and equivalent_to_zero(estimate, within) else said
    )


def size(claim: Claim, unit: str) -> tuple[float, float] | None:
    """The numbers that the paper's size may have been rounded from, half a unit of its last digit to either side.

    A size that is to be surpassed ("over 1 point") is taken as it stands.
    """
    if claim.paper is None:
        return None
    decimals = len(f"{claim.paper:g}".partition(".")[2])
    half = 0.0 if claim.over else 0.5 * 10**-decimals
    return tuple(logarithm(end, unit) for end in (claim.paper - half, claim.paper + half))


def equivalent_to_zero(estimate: Estimate, within: float) -> bool:
    """Two one-sided tests at 5 %: whether the 90 % interval lies inside -within .. within."""
    low, high = estimate.interval(0.9)
    return -within < low and high < within


def level(low: float, high: float, paper: float) -> str:
    """An error or a share agrees if its interval holds the paper's number."""
    return AGREES if low <= paper <= high else EXCLUDED


def fact(value: float, claim: Claim) -> str:
    """A count agrees to within one unit of the paper's last digit that is not 0; else it is a slip of the paper.

    Where the paper says "over", the count is a lower bound: above the paper's number it agrees, else it cannot tell.
    """
    paper = claim.paper
    if claim.over:
        return AGREES if value > paper else CANNOT_TELL
    digits = str(int(paper))
    unit = 10 ** (len(digits) - len(digits.rstrip("0")))
    agrees = abs(value - paper) < unit if float(paper).is_integer() and claim.unit == "count" else value <= paper
    return AGREES if agrees else SLIP if claim.slip else EXCLUDED


def in_every_run(value: float, low: float) -> str:
    """What a share of runs, per cent, says of a claim about every run: one without refutes it, some are no proof."""
    if value < 100:
        return OPPOSITE
    return AGREES if low > 50 else CANNOT_TELL


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values of a family of tests."""
    adjusted, largest = {}, 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = largest
    return adjusted


def judged(
    row: dict,
    claim: str | None,
    scale: str,
    estimate: Estimate | None = None,
    gap: float | None = None,
    evidence: bool = True,
) -> dict:
    """A row of value, low, high and unit with what the register says of its claim, and the verdict.

    Args:
        estimate: of an effect; facts, levels and what was measured on one net have none.
        gap: of the baseline, points (section 6 of the protocol); None where it is not known.
        evidence: whether the protocol lists all runs that the row rests on.
    """
    if estimate:
        row = row | {"p": estimate.p, "detectable": _shown(estimate.detectable, row["unit"]), "estimate": estimate}
    about, verdict_ = dict.fromkeys(("claim", "statement", "paper", "log")) | {"later": ()}, NO_CLAIM
    if claim is not None:
        c = REGISTER[claim]
        later = tuple((study, value) for study, value, _ in c.later if value is not None)
        about = {"claim": claim, "statement": c.statement, "paper": c.paper, "log": c.log, "later": later}
        verdict_ = _verdict(row, c, estimate, gap)
    return row | about | {"verdict": SAMPLE if scale == "sample" else verdict_ if evidence else NO_EVIDENCE}


def _verdict(row: dict, claim: Claim, estimate: Estimate | None, gap: float | None) -> str:
    if claim.id == "colour-towers":
        return in_every_run(row["value"], row["low"])
    if claim.gate and (gap is None or gap < GATE):
        return REGIME
    if estimate:
        said = verdict(estimate, size(claim, row["unit"]), claim.over, row["unit"] != "x")
        return bounded(said, row.get("bound", ""), claim)
    if claim.kind == "level" and claim.paper is not None:
        return level(row["low"], row["high"], claim.paper)
    return f"{CANNOT_TELL}; one net"


def bounded(said: str, bound: str, claim: Claim) -> str:
    """The verdict of a value that is only a bound: "at least" can show that an effect is large, not small."""
    shown = said == LARGER or (said == AGREES and (claim.paper is None or claim.over))
    return said if not bound or (bound == "at least" and shown) else CANNOT_TELL


def logarithm(value: float | None, unit: str) -> float | None:
    """An effect on a scale that has none at 0: ratios as logarithms."""
    return math.log(max(value, 1e-300)) if unit == "x" and value is not None else value


def _shown(value: float, unit: str) -> float:
    return (math.exp(value) if value < 700 else math.inf) if unit == "x" else value


def bounds(estimate: Estimate, unit: str) -> dict:
    """Value and 95 % interval of an estimate, in its unit."""
    return {
        key: _shown(x, unit)
        for key, x in zip(("value", "low", "high"), (estimate.value, *estimate.interval()), strict=True)
    }


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
