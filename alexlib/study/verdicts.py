"""The rules of docs/protocol.md: effects with their uncertainty, and what they say about a claim.

Pure functions of numbers. `rules.py` and `scorecard.py` apply them to the runs on record.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from alexlib.paper import Claim

AGREES, SMALLER, LARGER = "agrees", "same direction, smaller", "same direction, larger"
OPPOSITE, EXCLUDED, CANNOT_TELL = "opposite", "paper's size excluded", "cannot tell"
REGIME, SLIP, NOT_TESTED = "regime not reached", "slip of the paper", "not tested"

# Strongest evidence against the claim first.
ORDER = (OPPOSITE, EXCLUDED, SMALLER, CANNOT_TELL, REGIME, SLIP, LARGER, AGREES)

SAMPLE = "sample run, not evidence for any claim"
NO_EVIDENCE = "a run that the protocol does not list, not evidence for any claim"
NO_CLAIM = "no claim of the paper"

GATE = 5.0  # points: the overfitting of the baseline from which regularisation is judged
UPDATES = 84_000  # updates from which the colour of the towers is judged: a tenth of the paper's
DIRECTION = 1.0  # points: margin of "equivalent to zero" where the paper names no size


# ---- uncertainty: section 5 of the protocol ------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """An effect and its uncertainty, in percentage points; for a ratio, in natural logarithms.

    Args:
        seeds: the part of the variance (squared standard error) that comes from the seeds.
        images: the part that comes from the choice of test images.
        df: degrees of freedom of `seeds`; 0: unknown scatter; infinite: only images count.
        n: runs in each arm.
        n_images: number of test images.
        ratio: whether the effect is the logarithm of a ratio.
        bound: what the value is: "" (the effect itself), "at least", "at most" or "unknown".
    """

    value: float
    seeds: float
    images: float
    df: float
    n: tuple[int, ...]
    n_images: int = 10_000
    ratio: bool = False
    bound: str = ""

    @property
    def se(self) -> float:
        """Standard error of the value."""
        return math.sqrt(self.seeds + self.images)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of the standard error."""
        parts = self.seeds**2 / self.df + self.images**2 / (self.n_images - 1)
        return (self.seeds + self.images) ** 2 / parts if parts else self.df

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's confidence interval; infinite if the scatter over seeds is unknown."""
        if not self.df:
            return -math.inf, math.inf
        if not self.se:  # e.g. no run reached the target: all count with the same last epoch
            return self.value, self.value
        return stats.t.interval(level, self.freedom, self.value, self.se)

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that there is no effect."""
        if not self.df:
            return 1.0
        if not self.se:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.se, self.freedom))

    @property
    def detectable(self) -> float:
        """The effect that a two-sided test at 5 % finds with a power of 80 %."""
        if not self.df:
            return math.inf
        return float(sum(stats.t.ppf((0.975, 0.8), self.freedom)) * self.se)

    def runs_needed(self, size: float) -> int | None:
        """Runs in each arm that make an effect of this size detectable.

        None if no number below 1,000 is enough: then there are too few test images.
        """
        arms, one_run = len(self.n), self.seeds / sum(1 / n for n in self.n)
        for n in range(2, 1000):
            scatter = {"seeds": one_run * arms / n, "df": arms * (n - 1), "n": (n,) * arms}
            if dataclasses.replace(self, **scatter).detectable <= size:
                return n
        return None

    def shown(self) -> dict[str, float]:
        """Value, 95 % interval (low, high) and detectable effect, with ratios as ratios."""
        numbers = dict(zip(("value", "low", "high"), (self.value, *self.interval()), strict=True))
        numbers["detectable"] = self.detectable
        return {key: float(np.exp(x)) for key, x in numbers.items()} if self.ratio else numbers


def difference(
    arms: list, pool: Iterable, images: float = 0.0, n_images: int = 2, weights=(1, -1)
) -> Estimate:
    """The mean of one arm, a first arm's mean minus a second's, or another contrast of arms.

    Args:
        arms: each with one value for each run.
        pool: the arms whose variances over seeds are pooled.
        images, n_images: as in `Estimate`.
        weights: of the arms' means in the contrast.
    """
    means, n = [float(np.mean(arm)) for arm in arms], tuple(map(len, arms))
    pool = [np.asarray(arm) for arm in pool]
    df = sum(len(arm) - 1 for arm in pool)
    squares = sum(((arm - arm.mean()) ** 2).sum() for arm in pool)
    share = sum(w**2 / k for w, k in zip(weights, n, strict=False))
    value = sum(w * mean for w, mean in zip(weights, means, strict=False))
    return Estimate(value, float(squares / df) * share if df else 0.0, images, df, n, n_images)


def image_variance(*arms: np.ndarray, weights=(1, -1)) -> float:
    """The variance of an effect that comes from the choice of test images.

    Arms are tested on the same N images: 0 or 1 (or any number) for each run and image, (runs, N).
    The variance over images of the contrast also contains scatter over seeds, which `difference`
    counts already. It is subtracted here.
    """
    pairs = list(zip(weights, arms, strict=False))
    effect = sum(w * arm.mean(0) for w, arm in pairs)  # (N,)
    several = [(w, arm) for w, arm in pairs if len(arm) > 1]
    scatter = sum(w**2 * arm.var(0, ddof=1).mean() / len(arm) for w, arm in several)
    return max(0.0, (effect.var(ddof=1) - scatter) / effect.size)


def ratio(slow, fast, complete: tuple[bool, bool] = (True, True)) -> Estimate:
    """The ratio of two groups of times: Welch's t test on their logarithms.

    Args:
        slow, fast: the times of the runs.
        complete: whether all of these runs reached the target. If not, the ratio is only a bound.
    """
    logs = [np.log(np.asarray(times, np.float64)) for times in (slow, fast)]
    value, n = float(logs[0].mean() - logs[1].mean()), tuple(map(len, logs))
    variance, df = 0.0, 0.0
    if min(n) > 1:
        parts = [float(group.var(ddof=1)) / len(group) for group in logs]
        variance, below = sum(parts), sum(x**2 / (k - 1) for x, k in zip(parts, n, strict=True))
        df = variance**2 / below if below else sum(n) - 2
    bounds = {(True, True): "", (False, True): "at least", (True, False): "at most"}
    bound = bounds.get(complete, "unknown")
    return Estimate(value, variance, 0.0, df, n, ratio=True, bound=bound)


def proportion(count: int, n: int) -> tuple[float, float, float]:
    """The share `count` of n with its 95 % interval (Wilson), %: (value, low, high)."""
    ends = stats.binomtest(count, n).proportion_ci(0.95, "wilson")
    return 100 * count / n, 100 * ends.low, 100 * ends.high


# ---- verdicts: sections 6 and 7 of the protocol --------------------------------------------------


def size(claim: Claim) -> tuple[float, float] | None:
    """The range of the paper's size (for ratios, the logarithms); None if the paper names no size.

    It extends half a unit of the last digit to either side, for rounding. A size that must be
    exceeded ("over 1 point") is not rounded, and its range has no upper end.
    """
    if claim.paper is None:
        return None
    half = 0.5 / 10 ** len(f"{claim.paper:g}".partition(".")[2])
    ends = (claim.paper, math.inf) if claim.over else (claim.paper - half, claim.paper + half)
    return tuple(map(math.log, ends)) if claim.unit == "x" else ends


def verdict(estimate: Estimate, size: tuple[float, float] | None) -> str:
    """What an effect says about a claim that predicts a positive one (table in section 7).

    `size` is the range of the paper's size; None if the claim only has a direction.
    """
    least, most = size or (0.0, math.inf)
    low, high = estimate.interval()
    if min(estimate.n) < 2 or math.isinf(low):
        return CANNOT_TELL
    if low > 0:
        said = SMALLER if high < least else LARGER if low > most else AGREES
    elif high < 0:
        said = OPPOSITE
    else:
        said = EXCLUDED if high < least else CANNOT_TELL

    if estimate.bound:
        no_limit = said == LARGER or (said == AGREES and math.isinf(most))
        return said if estimate.bound == "at least" and no_limit else CANNOT_TELL
    named = least if math.isinf(most) else (least + most) / 2
    within = named / 2 or DIRECTION
    holds_zero = low <= 0 <= high
    if holds_zero and not estimate.ratio and max(map(abs, estimate.interval(0.9))) < within:
        said += f"; equivalent to zero within {within:.2g}"  # two one-sided tests at 5 %
    return said


def fact(value: float, claim: Claim) -> str:
    """The verdict on a count: it may differ by less than one unit of the last non-zero digit.

    Where the paper says "over", the count is a lower bound. A share must not exceed the paper's.
    """
    if claim.over:
        return AGREES if value > claim.paper else CANNOT_TELL
    digits = str(int(claim.paper))
    unit = 10 ** (len(digits) - len(digits.rstrip("0")))
    is_count = claim.unit == "count"
    agrees = abs(value - claim.paper) < unit if is_count else value <= claim.paper
    return AGREES if agrees else SLIP if claim.slip else EXCLUDED


def holm(p_values: list[float]) -> np.ndarray:
    """Holm's adjusted p-values of a family of tests, in their order."""
    adjusted = np.array(p_values)
    order, n = adjusted.argsort(), len(adjusted)
    factors = n - np.arange(n)  # the smallest p-value counts n times, the largest once
    raised = np.minimum(1, adjusted[order] * factors)
    adjusted[order] = np.maximum.accumulate(raised)
    return adjusted
