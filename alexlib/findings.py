"""What finished runs say of the paper's claims: errors and effects with their intervals, and verdicts."""

from collections.abc import Callable

from alexlib import stats
from alexlib.claims import CLAIMS
from alexlib.study import Run
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


def test_error(row: dict) -> float:
    """Top-1 error on the test pictures, ten views averaged, %."""
    return 100 * row["metrics"]["ten"]["top1"]


def overfitting(row: dict) -> float:
    """Top-1 error on test pictures, centre view, minus that on the training pictures as they were shown, points."""
    return 100 * (row["metrics"]["centre"]["top1"] - row["history"][-1]["train_top1"])


# Notebook 01: what is measured, in which variant, and the claim of the register that it speaks of.
AUGMENTATION = {
    "no crops, flips: overfitting": ("no-crops-flips", overfitting, "crops-overfit"),
    "no colour noise: test error": ("no-colour-noise", test_error, "colour-pca"),
    "no crops, flips: test error": ("no-crops-flips", test_error, None),
}


def augmentation_effects(found: list[dict]) -> list[dict]:
    """The effects of leaving augmentation out, without minus with, from the rows of one scale, with their verdicts."""
    table, claims = [], {claim.id: claim for claim in CLAIMS}
    for name, (variant, value, claim) in AUGMENTATION.items():
        row = {"name": name, "paper": None, **effect(found, variant, value), "verdict": "no claim of the paper"}
        if claim:
            row["paper"] = claims[claim].paper
            row["verdict"] = stats.verdict(row["low"], row["high"], row["paper"], found[0]["scale"])
        table.append(row)
    return table


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
        table.append(
            {
                "claim": claim.quantity,
                "unit": claim.unit,
                "paper": claim.paper,
                "2012 log": claim.log,
                "later studies": ", ".join(f"{study} {found}" for study, found, _ in claim.later if found is not None),
                "this run": value,
                "95 % interval": "" if low is None else f"{low:.2f} to {high:.2f}",
                "verdict": said,
            }
        )
    return table
