"""What finished runs say of the paper's claims: errors and effects with their intervals, and verdicts."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from alexlib import race, rows, stats
from alexlib.ablations import GAP, LENGTH, TEST, TEST5, TRAINING, VARIANTS
from alexlib.claims import CLAIMS
from alexlib.config import spec_from
from alexlib.data import Images
from alexlib.study import Run, probabilities
from alexlib.train import ranks
from alexlib.verdicts import REGISTER, beside, judged

CLASSES = 100  # with fewer, five guesses out of all classes say little: claims about the top-5 error are not tested


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


def trained(found: list[dict]) -> list[dict]:
    """The rows of runs that trained a net; those of notebook 05 hold what it measured of such runs."""
    return [row for row in found if "history" in row]


def ended(found: list[dict]) -> list[dict]:
    """The rows of runs that trained to their end: a run that diverged has no errors, and its row says so."""
    return [row for row in trained(found) if row["metrics"]]


def test_error(row: dict, error: str = "top1") -> float:
    """Top-1 (or top-5) error on the test pictures, ten views averaged, %."""
    return 100 * row["metrics"]["ten"][error]


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
        least = [race.reached(history, target, 1.0, "val_top1") for history in (base[seed], mine[seed])]
        logs.append(math.log(least[0] / least[1]))
    mean, low, high = stats.over_seeds(logs)
    value, low, high = (math.exp(min(bound, 700)) for bound in (mean, low, high))
    return {"variant": variant, "value": value, "low": low, "high": high, "n": len(seeds)}


MEASURES = {TEST: test_error, TEST5: partial(test_error, error="top5"), GAP: overfitting, TRAINING: training_error}


def comparable(found: list[dict]) -> list[list[dict]]:
    """Groups of rows that can be compared: of one notebook, scale and set of pictures, a baseline and its variants.

    A row of a variant is in the group if it was trained as the baseline is but for the variant's change.
    """
    made = {variant.name: variant.of for variant in VARIANTS} | {"baseline": lambda base: base}
    known = [(_place(row), row["variant"], spec_from(row["config"]), row) for row in found if row["variant"] in made]
    bases = dict.fromkeys((place, spec) for place, variant, spec, _ in known if variant == "baseline")
    return [
        [row for here, variant, spec, row in known if here == place and made[variant](base) == spec]
        for place, base in bases
    ]


def _place(row: dict) -> tuple:
    return row["study"], row["scale"], row["data"]["train"]


def effects(found: list[dict]) -> list[dict]:
    """What each variant does against the baseline, from the rows of one setting, in the order of `VARIANTS`.

    Every variant has its test error, and before it what else its claims are about. Rows: name, variant, measure, unit,
    value, low, high, n (paired by seed), claim, statement, paper, log, later, verdict. Seeds of which a run diverged
    are not in value and n; the verdict counts them. A variant without a pair of ended runs has no row.
    """
    table, good = [], ended(found)
    seeds = {name: {r["seed"] for r in good if r["variant"] == name} for name in {r["variant"] for r in found}}
    for variant in VARIANTS:
        if not seeds.get(variant.name, set()) & seeds.get("baseline", set()):
            continue
        lost = {r["seed"] for r in found if not r["metrics"] and r["variant"] in ("baseline", variant.name)}
        for measure, claim in _measured(variant, good):
            row = {"name": f"{variant.name}: {measure}", "measure": measure, **_effect(good, variant.name, measure)}
            row = judged(row, claim, good[0]["scale"])
            table.append(row | {"verdict": f"{row['verdict']}; {len(lost)} diverged"} if lost else row)
    return table


def _measured(variant, good: list[dict]) -> list[tuple[str, str | None]]:
    """What to measure of a variant, and the claim that it tests; the test error last."""
    about = variant.small_claims if "stack" in good[0]["config"]["net"] else variant.claims
    held_out = all(r["history"][-1]["val_top1"] is not None for r in good)
    others = [(measure, claim) for claim, measure in about if measure != TEST and (held_out or measure != LENGTH)]
    main = next((claim for claim, measure in about if measure == TEST), None)
    twin = [(TEST5, f"{main}-top5")] if f"{main}-top5" in REGISTER and five_guesses(good[0]) else []
    return [*others, *twin, (TEST, main)]


def five_guesses(row: dict) -> bool:
    """Whether a run has classes enough for its top-5 error to test a claim."""
    return row["config"]["net"].get("classes", 0) >= CLASSES


def ten_views(found: list[dict]) -> list[dict]:
    """How much lower the error is with ten views than with the centre alone, over the runs (seeds) of one setting.

    Rows as of `effects`; one for the top-5 error where there are classes enough.
    """
    table = []
    for error, claim in (("top1", "ten-views"), ("top5", "ten-views-top5"))[: 1 + five_guesses(found[0])]:
        gains = [100 * (row["metrics"]["centre"][error] - row["metrics"]["ten"][error]) for row in found]
        mean, low, high = stats.over_seeds(gains)
        row = {"name": "centre view minus ten views", "measure": TEST if error == "top1" else TEST5, "unit": "points"}
        row |= {"value": mean, "low": low, "high": high, "n": len(gains)}
        table.append(judged(row, claim, found[0]["scale"]))
    return table


def without_training(found: list[dict], images: Images, labels: np.ndarray) -> list[dict]:
    """Two claims that need no run of their own, from the runs of the baseline: ten views, and several nets averaged.

    Rows as of `effects`. Ten views: over seeds. The mean error of single nets minus that of their averaged
    probabilities, ten views: over test pictures; from the probabilities that are on this machine, two nets or more.

    Args:
        images: the training pictures, which name the runs.
        labels: of the test pictures (N,).
    """
    base = [row for row in ended(found) if row["variant"] == "baseline"]
    table = ten_views(base)
    kept = [p["ten"].astype(np.float32) for row in base if (p := probabilities(row, images))]
    if len(kept) > 1:
        single = np.mean([ranks(p, labels) >= 1 for p in kept], axis=0)
        value, low, high = (100 * bound for bound in stats.paired(single, ranks(np.mean(kept, 0), labels) >= 1))
        row = {"name": f"one net minus {len(kept)} averaged", "measure": TEST, "unit": "points"}
        row |= {"value": value, "low": low, "high": high, "n": len(kept)}
        table.append(judged(row, "five-nets", base[0]["scale"]))
    return table


def imagenet_errors(row: dict) -> list[dict]:
    """The errors of a run on ImageNet itself, ten views, beside the paper's; 95 % interval over test pictures.

    Rows as of `effects`, unit "%"; none for a run on other pictures.
    """
    if not row["scale"] == row["data"]["name"] == "imagenet":
        return []
    table, metrics = [], row["metrics"]["ten"]
    for error, claim in (("top1", "error-2012"), ("top5", "error-2012-top5")):
        low, high = stats.wilson(metrics[error], metrics["n"])
        values = {"value": 100 * metrics[error], "low": 100 * low, "high": 100 * high, "n": 1}
        table.append(
            judged({"name": f"{row['variant']}, seed {row['seed']}", "unit": "%", **values}, claim, "imagenet")
        )
    return table


def _effect(found: list[dict], variant: str, measure: str) -> dict:
    if measure == LENGTH:
        return {"unit": "x", **epochs_ratio(found, variant)}
    return {"unit": "points", **effect(found, variant, MEASURES[measure])}


def colours(scale: str, studies: tuple[str, ...] = ("01_augmentation", "03_ablations", "04_train")) -> list[dict]:
    """How far off grey the first-layer kernels of each tower are, for all runs of a scale that are on record.

    Rows: run, tower 1, tower 2 (means, 0..1), p (`towers.colour`), of the paper's claim that they differ in every run.
    """
    found = [row for name in studies for row in rows.read(name, scale) if "colour" in row]
    return [colour_row(f"{row['study'][:2]} {row['variant']}, seed {row['seed']}", row["colour"]) for row in found]


def colour_row(run: str, colour: dict) -> dict:
    """A row as of `colours`, from what `towers.colour` says of a net."""
    return {"run": run, **{f"tower {i}": mean for i, mean in enumerate(colour["means"], 1)}, "p": colour["p"]}


def colours_apart(chances: list[float]) -> tuple[float, float, float]:
    """Of runs with these p of `towers.colour`, the share whose towers differ (p < 0.05): %, with its 95 % interval."""
    share = sum(p < 0.05 for p in chances) / len(chances)
    return tuple(100 * bound for bound in (share, *stats.wilson(share, len(chances))))


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
    """The claims of the register that one run speaks of beside what it says: rows as of `verdicts.beside`."""
    gains = zip(("ten-views", "ten-views-top5"), view_gains(run), strict=True)
    ours = {id: judged({**gain, "unit": "points"}, id, run.row["scale"]) for id, gain in gains}
    if not five_guesses(run.row):
        del ours["ten-views-top5"]
    ours |= {row["claim"]: row for row in imagenet_errors(run.row)}
    return beside((c for c in CLAIMS if c.id.removesuffix("-top5") in ("ten-views", "error-2012")), ours)


def of_features(measured: dict[str, tuple[float, float, float]], scale: str) -> dict[str, dict]:
    """What was measured of the claims of section 6.1, {id: (value, low, high)}, with verdicts: {id: row}."""
    bounds = {id: dict(zip(("value", "low", "high"), found, strict=True)) for id, found in measured.items()}
    return {id: judged(row | {"unit": REGISTER[id].unit}, id, scale) for id, row in bounds.items()}


def compare_features(measured: dict[str, tuple[float, float, float]], scale: str) -> list[dict]:
    """The claims of section 6.1 beside what was measured of them, as for `of_features`; rows as of `compare`."""
    return beside((c for c in CLAIMS if c.notebook == "05_features"), of_features(measured, scale))
