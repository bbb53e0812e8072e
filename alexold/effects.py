"""What variants do against their baseline, from the rows of finished runs, by the rules of docs/protocol.md."""

import math
from functools import partial

import numpy as np

from alexold import protocol, race, verdicts
from alexold.ablations import CENTRE, EARLY, GAP, LENGTH, TEST, TEST5, TRAINING, VARIANTS
from alexold.config import spec_from
from alexold.train import hit_bits
from alexold.verdicts import REGISTER, Estimate, judged

CLASSES = 100  # with fewer, five guesses out of all classes say little: claims about the top-5 error are not tested


def trained(found: list[dict]) -> list[dict]:
    """The rows of runs that trained a net; others hold what was measured of such runs, or the check of a rate."""
    return [row for row in found if "history" in row and row["study"] != "rates"]


def ended(found: list[dict]) -> list[dict]:
    """The rows of runs that trained to their end: a run that diverged has no errors, and its row says so."""
    return [row for row in trained(found) if row["metrics"]]


# ---- one run ---------------------------------------------------------------------------------------------------


def test_error(row: dict, error: str = "top1", views: str = "ten") -> float:
    """Top-1 (or top-5) error on the test images, ten views averaged (or the centre view alone), %."""
    return 100 * row["metrics"][views][error]


def training_error(row: dict) -> float | None:
    """Top-1 error on training images in eval mode, centre view, %; None for rows that have none."""
    return 100 * row["training"]["top1"] if "training" in row else None


def overfitting(row: dict) -> float | None:
    """Test error minus training error, both in eval mode and centre view, points; None as for `training_error`."""
    return None if "training" not in row else test_error(row, views="centre") - training_error(row)


def epochs_to_loss(row: dict, early: bool) -> tuple[float, bool] | None:
    """Epochs until the training loss (eval mode) falls to the protocol's value, and whether it did.

    Only epochs at the first learning rate count; a run that does not get there counts with all of these. None for rows
    without that loss.
    """
    history = row["history"]
    if history[0].get("plain_loss") is None:
        return None
    same = [h for h in history if h["lr"] == history[0]["lr"]]
    guess = math.log(row["config"]["net"]["classes"])
    epochs = race.reached(same, protocol.loss(row["scale"], guess, early), guess, "plain_loss")
    return (epochs, True) if math.isfinite(epochs) else (float(len(same)), False)


VALUES = {
    TEST: test_error,
    TEST5: partial(test_error, error="top5"),
    CENTRE: partial(test_error, views="centre"),
    GAP: overfitting,
    TRAINING: training_error,
}
HITS = {TEST: ("ten", "top1"), TEST5: ("ten", "top5"), CENTRE: ("centre", "top1"), GAP: ("centre", "top1")}


def wrong(row: dict, views: str, error: str) -> np.ndarray | None:
    """Which test images a run got wrong, booleans (N,); None for rows that keep no hits."""
    if "hits" not in row:
        return None
    return ~hit_bits(row["hits"][views][error], row["metrics"][views]["n"])


# ---- a variant against its baseline ----------------------------------------------------------------------------


def comparable(found: list[dict]) -> list[list[dict]]:
    """Groups of rows that can be compared: of one study, scale and set of images, a baseline and its variants.

    A row of a variant is in the group if it was trained as the baseline is but for the variant's change and the
    learning rate, which a check may have chosen.
    """
    made = {variant.name: variant.of for variant in VARIANTS} | {"baseline": lambda base: base}
    known = [
        (_place(row), row["variant"], spec_from(row["config"]), row) for row in trained(found) if row["variant"] in made
    ]
    bases = dict.fromkeys((place, spec) for place, variant, spec, _ in known if variant == "baseline")
    return [
        [
            row
            for here, variant, spec, row in known
            if here == place and (changed := made[variant](base)) and changed.replace(lr=spec.train.lr) == spec
        ]
        for place, base in bases
    ]


def _place(row: dict) -> tuple:
    return row["study"], row["scale"], row["data"]["train"]


def variant_effects(found: list[dict], evidence: bool = True) -> list[dict]:
    """What each variant does against its baseline, from the rows of one group, in the order of `VARIANTS`.

    Every variant has its test error, and before it what else its claims are about. Rows: name, variant, measure, unit,
    value, low, high, n (runs of the variant, of the baseline), p, detectable, estimate, claim, statement, paper, log,
    later, verdict. Runs that diverged are not in value and n; the verdict counts them. Without `evidence` (not all rows
    are listed by the protocol) there is no verdict.
    """
    good = ended(found)
    runs = {name: [r for r in good if r["variant"] == name] for name in dict.fromkeys(r["variant"] for r in good)}
    table = []
    for variant in VARIANTS:
        arms = runs.get(variant.name), runs.get(variant.against)
        if not all(arms):
            continue
        gap = regime(arms[1])
        lost = sum(not r["metrics"] and r["variant"] in (variant.name, variant.against) for r in trained(found))
        for measure, claim in _measured(variant, good):
            row = _effect(runs, *arms, measure)
            if row:
                row = {"name": f"{variant.name}: {measure}", "variant": variant.name, "measure": measure} | row
                row = judged(row, claim, good[0]["scale"], row["estimate"], gap, evidence)
                table.append(row | {"verdict": f"{row['verdict']}; {lost} diverged"} if lost else row)
    return [*table, *_least_of_all_layers(table, good, evidence)]


def told(table: list[dict]) -> list[dict]:
    """Rows as of `variant_effects` for a table: n as "3 + 6", later studies in a line, no infinite bounds."""
    return [
        row
        | {key: row[key] if math.isfinite(row[key]) else None for key in ("low", "high", "detectable")}
        | {"n": " + ".join(map(str, row["n"])), "later": ", ".join(f"{s} {value:g}" for s, value in row["later"])}
        for row in table
    ]


def _measured(variant, good: list[dict]) -> list[tuple[str, str | None]]:
    """What to measure of a variant, and the claim that it tests; the test error last."""
    about = variant.small_claims if "stack" in good[0]["config"]["net"] else variant.claims
    others = [(measure, claim) for claim, measure in about if measure != TEST]
    main = next((claim for claim, measure in about if measure == TEST), None)
    twin = [(TEST5, f"{main}-top5" if f"{main}-top5" in REGISTER else None)] if five_guesses(good[0]) else []
    centre = [(CENTRE, None)] if variant.group == "augmentation" else []  # ten views are augmentation themselves
    return [*others, *centre, *twin, (TEST, main)]


def _effect(runs: dict[str, list[dict]], variant: list[dict], base: list[dict], measure: str) -> dict:
    """Value, interval, n and estimate of one effect; nothing where rows lack what it is measured from."""
    if measure in (LENGTH, EARLY):
        return _ratio(variant, base, measure)
    value = VALUES[measure]
    if any(value(row) is None for row in variant + base):
        return {}
    arms = [[value(row) for row in arm] for arm in (variant, base)]
    scatter, df = verdicts.pooled([value(row) for row in arm] for arm in runs.values() if value(arm[0]) is not None)
    n = tuple(map(len, arms))
    images, count = _images(variant, base, measure)
    shift = float(np.mean(arms[0]) - np.mean(arms[1]))
    estimate = Estimate(shift, scatter * sum(1 / k for k in n), images, df, n, count)
    return {"unit": "points", **verdicts.bounds(estimate, "points"), "n": n, "estimate": estimate}


def _images(variant: list[dict], base: list[dict], measure: str) -> tuple[float, int]:
    """The part of the squared standard error, points squared, that comes from the test images, and their number."""
    if measure == TRAINING:  # each seed has training images of its own: its scatter counts them
        return 0.0, 2
    views, error = HITS[measure]
    arms = [[wrong(row, views, error) for row in arm] for arm in (variant, base)]
    n = base[0]["metrics"][views]["n"]
    if any(row is None for arm in arms for row in arm):  # as if the arms had been tested on different images
        rates = [np.mean([row["metrics"][views][error] for row in arm]) for arm in (variant, base)]
        return 1e4 * sum(rate * (1 - rate) / n for rate in rates), n
    return 1e4 * verdicts.image_variance(*map(np.stack, arms)), n


def _ratio(variant: list[dict], base: list[dict], measure: str) -> dict:
    """Epochs to a training loss, as a ratio: of the baseline to the variant; early learning the other way round."""
    arms = (base, variant) if measure == LENGTH else (variant, base)
    times = [[epochs_to_loss(row, measure == EARLY) for row in arm] for arm in arms]
    if any(time is None for arm in times for time in arm):
        return {}
    complete = tuple(all(there for _, there in arm) for arm in times)
    estimate = verdicts.welch(*([epochs for epochs, _ in arm] for arm in times))
    bound = {(True, True): "", (False, True): "at least", (True, False): "at most"}.get(complete, "unknown")
    n = tuple(map(len, (variant, base)))
    return {"unit": "x", **verdicts.bounds(estimate, "x"), "n": n, "estimate": estimate, "bound": bound}


def _least_of_all_layers(table: list[dict], good: list[dict], evidence: bool) -> list[dict]:
    """The claim about every convolutional layer, where all five were left out: that of the lowest interval."""
    layers = [r for r in table if r["variant"] in {f"no-conv{i}" for i in range(1, 6)} and r["measure"] == TEST]
    if len(layers) < 5:
        return []
    least = min(layers, key=lambda row: row["low"])
    name = f"least of five layers ({least['variant']}): {TEST}"
    return [judged(least | {"name": name}, "remove-conv", good[0]["scale"], least["estimate"], evidence=evidence)]


def regime(base: list[dict]) -> float | None:
    """By how many points the baseline overfits, the mean over its runs (section 6 of the protocol).

    None where it is not known: without runs, or with rows that have no training error in eval mode.
    """
    gaps = [overfitting(row) for row in base]
    return float(np.mean(gaps)) if gaps and None not in gaps else None


def five_guesses(row: dict) -> bool:
    """Whether a run has classes enough for its top-5 error to test a claim."""
    return row["config"]["net"].get("classes", 0) >= CLASSES
