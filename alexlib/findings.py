"""What finished runs say of the paper's claims: errors and effects with their intervals, and verdicts."""

import math
from collections.abc import Callable

import numpy as np

from alexlib import rows, stats
from alexlib.ablations import GAP, LENGTH, TEST, TRAINING, VARIANTS
from alexlib.claims import CLAIMS
from alexlib.data import Images
from alexlib.race import reached
from alexlib.study import Run, probabilities
from alexlib.train import ranks


def effect(found: list[dict], variant: str, value: Callable[[dict], float], baseline: str = "baseline") -> dict:
    """How much higher `value` of a row is in a variant than in the baseline: paired by seed.

    Returns value, low, high (95 % interval over seeds: infinite for a single seed) and n, the number of seeds.
    """
    mine, base = ({r["seed"]: value(r) for r in found if r["variant"] == name} for name in (variant, baseline))
    seeds = sorted(mine.keys() & base.keys())
    if not seeds:
        raise ValueError(f"no seed has rows of both {variant!r} and {baseline!r}")
    mean, low, high = stats.over_seeds([mine[seed] - base[seed] for seed in seeds])
    return {"variant": variant, "value": mean, "low": low, "high": high, "n": len(seeds)}


def ended(found: list[dict]) -> list[dict]:
    """The rows of runs that trained to their end: a run that diverged has no errors, and its row says so."""
    return [row for row in found if row["metrics"]]


def test_error(row: dict) -> float:
    """Top-1 error on the test pictures, ten views averaged, %."""
    return 100 * row["metrics"]["ten"]["top1"]


def overfitting(row: dict) -> float:
    """Top-1 error on test pictures, centre view, minus that on the training pictures as they were shown, points."""
    return 100 * (row["metrics"]["centre"]["top1"] - row["history"][-1]["train_top1"])


def training_error(row: dict) -> float:
    """Top-1 error on the training pictures as they were shown, in the last epoch, %."""
    return 100 * row["history"][-1]["train_top1"]


def epochs_ratio(found: list[dict], variant: str, baseline: str = "baseline") -> dict:
    """How many times as many epochs the BASELINE takes to a held-out error: paired by seed, as `effect` returns it.

    The error, for each seed, is the least that both runs reach; between epochs on a straight line. The interval is
    Student's over the logarithms of the seeds' ratios.
    """
    mine, base = ({r["seed"]: r["history"] for r in found if r["variant"] == name} for name in (variant, baseline))
    seeds = sorted(mine.keys() & base.keys())
    logs = []
    for seed in seeds:
        target = max(min(h["val_top1"] for h in history) for history in (mine[seed], base[seed]))
        least = [reached(history, target, 1.0, "val_top1") for history in (base[seed], mine[seed])]
        logs.append(math.log(least[0] / least[1]))
    mean, low, high = stats.over_seeds(logs)
    value, low, high = (math.exp(min(bound, 700)) for bound in (mean, low, high))
    return {"variant": variant, "value": value, "low": low, "high": high, "n": len(seeds)}


MEASURES = {TEST: test_error, GAP: overfitting, TRAINING: training_error}


def effects(found: list[dict]) -> list[dict]:
    """What each variant does against the baseline, from the rows of one scale, in the order of `VARIANTS`.

    Every variant has its test error, and before it what else its claims are about. Rows: name, variant, measure, unit,
    value, low, high, n (paired by seed), claim, statement, paper, log, later, verdict. Seeds of which a run diverged
    are not in value and n; the verdict counts them. A variant without a pair of ended runs has no row.
    """
    table, claims = [], {claim.id: claim for claim in CLAIMS}
    good = ended(found)
    seeds = {name: {r["seed"] for r in good if r["variant"] == name} for name in {r["variant"] for r in found}}
    for variant in VARIANTS:
        if not seeds.get(variant.name, set()) & seeds.get("baseline", set()):
            continue
        lost = {r["seed"] for r in found if not r["metrics"] and r["variant"] in ("baseline", variant.name)}
        about = variant.small_claims if "stack" in good[0]["config"]["net"] else variant.claims
        held_out = all(r["history"][-1]["val_top1"] is not None for r in good)
        others = [(m, claim) for claim, m in about if m != TEST and (held_out or m != LENGTH)]
        for measure, claim in [*others, (TEST, {measure: claim for claim, measure in about}.get(TEST))]:
            row = {"name": f"{variant.name}: {measure}", "measure": measure, **_effect(good, variant.name, measure)}
            row |= _claim(claims.get(claim))
            verdict = _verdict(row, good[0]["scale"])
            table.append(row | {"verdict": f"{verdict}; {len(lost)} diverged" if lost else verdict})
    return table


def without_training(found: list[dict], images: Images, labels: np.ndarray) -> list[dict]:
    """Two claims that need no run of their own, from the runs of the baseline: ten views, and several nets averaged.

    Rows as of `effects`. Ten views: over seeds. The mean error of single nets minus that of their averaged
    probabilities, ten views: over test pictures; from the probabilities that are on this machine, two nets or more.

    Args:
        images: the training pictures, which name the runs.
        labels: of the test pictures (N,).
    """
    claims = {claim.id: claim for claim in CLAIMS}
    base = [row for row in ended(found) if row["variant"] == "baseline"]
    gains = [100 * (row["metrics"]["centre"]["top1"] - row["metrics"]["ten"]["top1"]) for row in base]
    mean, low, high = stats.over_seeds(gains)
    name = "centre view minus ten views"
    table = [{"name": name, "value": mean, "low": low, "high": high, "n": len(gains), **_claim(claims["ten-views"])}]
    kept = [p["ten"].astype(np.float32) for row in base if (p := probabilities(row, images))]
    if len(kept) > 1:
        single = np.mean([ranks(p, labels) >= 1 for p in kept], axis=0)
        value, low, high = (100 * bound for bound in stats.paired(single, ranks(np.mean(kept, 0), labels) >= 1))
        name = f"one net minus {len(kept)} averaged"
        table.append(
            {"name": name, "value": value, "low": low, "high": high, "n": len(kept), **_claim(claims["five-nets"])}
        )
    scale = found[0]["scale"]
    return [
        row | {"measure": TEST, "unit": "points", "verdict": _verdict(row | {"unit": "points"}, scale)} for row in table
    ]


def _effect(found: list[dict], variant: str, measure: str) -> dict:
    if measure == LENGTH:
        return {"unit": "x", **epochs_ratio(found, variant)}
    return {"unit": "points", **effect(found, variant, MEASURES[measure])}


def _claim(claim) -> dict:
    if claim is None:
        return dict.fromkeys(("claim", "statement", "paper", "log")) | {"later": ()}
    later = tuple((study, value) for study, value, _ in claim.later if value is not None)
    return {"claim": claim.id, "statement": claim.statement, "paper": claim.paper, "log": claim.log, "later": later}


def _verdict(row: dict, scale: str) -> str:
    if row["claim"] is None:
        return "no claim of the paper"
    bounds = [row["low"], row["high"], row["paper"]]
    if row["unit"] == "x":  # a ratio of 1 is no effect
        bounds = [None if bound is None else math.log(max(bound, 1e-300)) for bound in bounds]
    return stats.verdict(*bounds, scale)


def colours(scale: str, studies: tuple[str, ...] = ("01_augmentation", "03_ablations", "04_train")) -> list[dict]:
    """How far off grey the first-layer kernels of each tower are, for all runs of a scale that are on record.

    Rows: run, tower 1, tower 2 (means, 0..1), p (`towers.colour`), of the paper's claim that they differ in every run.
    """
    found = [row for name in studies for row in rows.read(name, scale) if "colour" in row]
    return [colour_row(f"{row['study'][:2]} {row['variant']}, seed {row['seed']}", row["colour"]) for row in found]


def colour_row(run: str, colour: dict) -> dict:
    """A row as of `colours`, from what `towers.colour` says of a net."""
    return {"run": run, **{f"tower {i}": mean for i, mean in enumerate(colour["means"], 1)}, "p": colour["p"]}


def view_errors(run: Run) -> list[dict]:
    """Rows of measure (top-1, top-5), views, value, low, high: test errors in %, 95 % interval over test pictures."""
    found = []
    for measure in ("top1", "top5"):
        for views, metrics in run.row["metrics"].items():
            bounds = (metrics[measure], *stats.wilson(metrics[measure], metrics["n"]))
            value, low, high = (100 * bound for bound in bounds)
            name = {"measure": measure.replace("top", "top-"), "views": views}
            found.append({**name, "value": value, "low": low, "high": high, "n": metrics["n"]})
    return found


def view_gains(run: Run) -> list[dict]:
    """Rows of measure, value, low, high, paper: the error of the centre view minus that of ten views, in points.

    The interval is a paired one over test pictures.
    """
    found = []
    for k, claim in ((1, "ten-views"), (5, "ten-views-top5")):
        wrong = {views: ranks(p, run.labels) >= k for views, p in run.probabilities.items()}
        value, low, high = (100 * bound for bound in stats.paired(wrong["centre"], wrong["ten"]))
        paper = next(c.paper for c in CLAIMS if c.id == claim)
        found.append({"measure": f"top-{k}", "value": value, "low": low, "high": high, "paper": paper})
    return found


def compare(run: Run) -> list[dict]:
    """The claims of the register that one run speaks of: paper, 2012 log, later studies, this run, verdict."""
    scale, metrics = run.row["scale"], run.row["metrics"]["ten"]
    gains = [(gain["value"], gain["low"], gain["high"]) for gain in view_gains(run)]
    ours = dict(zip(("ten-views", "ten-views-top5"), gains, strict=True))
    if scale == run.row["data"]["name"] == "imagenet":
        for end, key in (("", "top1"), ("-top5", "top5")):
            bounds = stats.wilson(metrics[key], metrics["n"])
            ours[f"error-2012{end}"] = tuple(100 * value for value in (metrics[key], *bounds))
    table = []
    for claim in CLAIMS:
        if claim.id.removesuffix("-top5") not in ("ten-views", "error-2012"):
            continue
        value, low, high = ours.get(claim.id, (None, None, None))
        if value is None:
            said = "not tested at this scale"
        elif claim.unit == "pp":
            said = stats.verdict(low, high, claim.paper, scale)
        else:  # an error: as low as the paper's, or lower
            said = "reproduced" if low <= claim.paper else "not reproduced"
        table.append(_line(claim, value, low, high, said))
    return table


def compare_features(measured: dict[str, tuple[float, float, float]], scale: str) -> list[dict]:
    """The claims of section 6.1 beside what was measured: {id of a claim: (value, low, high)}; rows as of `compare`.

    Two are no effects and have rules of their own. Towers that differ in colour: one run in which they do not refutes
    it; in its favour the interval of the share of runs must lie above one half. Neighbours that are not close by
    pixels: more than 1 % of the pictures must be closer, by all of the interval of the median.
    """
    table = []
    for claim in CLAIMS:
        if claim.notebook != "05_features":
            continue
        value, low, high = measured.get(claim.id, (None, None, None))
        if value is None:
            said = "not tested at this scale"
        elif scale != "sample" and claim.id == "colour-towers":
            said = "not reproduced" if value < claim.paper else "reproduced" if low > 50 else "inconclusive"
        elif scale != "sample" and claim.id == "neighbours-pixels":
            said = "reproduced" if low > 1 else "not reproduced" if high < 1 else "inconclusive"
        else:
            said = stats.verdict(low, high, claim.paper, scale)
        table.append(_line(claim, value, low, high, said))
    return table


def _line(claim, value, low, high, said: str) -> dict:
    """A row of a closing table: the claim, the paper's number, the authors' log, later studies, this run, verdict."""
    return {
        "claim": claim.quantity,
        "unit": claim.unit,
        "paper": claim.paper,
        "2012 log": claim.log,
        "later studies": ", ".join(f"{study} {found}" for study, found, _ in claim.later if found is not None),
        "this run": value,
        "95 % interval": "" if low is None else f"{low:.2f} to {high:.2f}",
        "verdict": said,
    }
