"""What finished runs say of the paper's claims without a variant: views, averages, towers, features, one run."""

import math

import numpy as np
from scipy import stats

from alexold import rows, verdicts
from alexold.ablations import TEST, TEST5
from alexold.claims import CLAIMS
from alexold.effects import five_guesses, test_error, trained, wrong
from alexold.study import Run
from alexold.train import hit_bits, ranks
from alexold.verdicts import REGISTER, Estimate, beside, judged

FIVE_GUESSES = 6  # with fewer classes a top-5 error means nothing and is not shown
FIVE_NETS = 5  # as many as the paper averages


# ---- without a variant -----------------------------------------------------------------------------------------


def ten_views(found: list[dict], evidence: bool = True) -> list[dict]:
    """How much lower the error is with ten views than with the centre alone, over the runs (seeds) of one setting.

    Rows as of `variant_effects`; one for the top-5 error where there are classes enough.
    """
    table, n = [], (len(found),)
    for error, claim in (("top1", "ten-views"), ("top5", "ten-views-top5"))[: 1 + five_guesses(found[0])]:
        gains = [test_error(row, error, "centre") - test_error(row, error) for row in found]
        scatter, df = verdicts.pooled([gains])
        count = found[0]["metrics"]["ten"]["n"]
        pairs = [(wrong(row, "centre", error), wrong(row, "ten", error)) for row in found]
        if any(one is None for one, _ in pairs):
            rates = [np.mean([row["metrics"][views][error] for row in found]) for views in ("centre", "ten")]
            images = sum(rate * (1 - rate) / count for rate in rates)
        else:
            images = verdicts.image_variance(np.stack([one * 1.0 - ten for one, ten in pairs]))
        estimate = Estimate(float(np.mean(gains)), scatter / len(gains), 1e4 * images, df, n, count)
        row = {"name": "centre view minus ten views", "measure": TEST if error == "top1" else TEST5, "unit": "points"}
        row |= {**verdicts.bounds(estimate, "points"), "n": n}
        table.append(judged(row, claim, found[0]["scale"], estimate, evidence=evidence))
    return table


def ensembles(measured: list[dict], found: list[dict]) -> list[dict]:
    """Several nets averaged (rows of study "measures"): the mean error of the nets minus that of their average.

    Rows as of `variant_effects`, with `of`, the rows of the nets; the interval is over test images. The paper averages
    five nets: fewer cannot tell. Of several averages at a scale that of the most nets counts. Averages of runs that are
    not among `found` are left out.
    """
    table, most = [], {}
    for row in sorted((r for r in measured if r["kind"] == "ensemble"), key=lambda row: row["nets"]):
        nets = _of(row, found)
        if len(nets) == row["nets"]:
            most[row["scale"]] = row, nets
    for row, nets in most.values():
        for error, claim in (("top1", "five-nets"), ("top5", "five-nets-top5"))[: 1 + five_guesses(nets[0])]:
            single = np.mean([wrong(net, "ten", error) for net in nets], axis=0)
            gain = single - ~hit_bits(row["values"]["ten"]["hits"][error], row["n"])
            images = 1e4 * gain.var(ddof=1) / len(gain)
            estimate = Estimate(100 * float(gain.mean()), 0.0, images, math.inf, (len(nets),), len(gain))
            one = {"name": f"one net minus {len(nets)} averaged", "measure": TEST if error == "top1" else TEST5}
            one |= {"unit": "points", **verdicts.bounds(estimate, "points"), "n": (len(nets),), "of": nets}
            one = judged(one, claim, row["scale"], estimate)
            table.append(one | {"verdict": verdicts.CANNOT_TELL} if len(nets) < FIVE_NETS else one)
    return table


def _of(row: dict, found: list[dict]) -> list[dict]:
    """The rows of the runs that a row of study "measures" rests on, as far as they are in `found`."""
    return [r for run in row["runs"] for r in found if run.items() <= r.items()]


def halvings(measured: list[dict], found: list[dict]) -> list[dict]:
    """What halving the outputs approximates (rows of study "measures"), over the nets of a scale; rows as above."""
    table, known = [], [r for r in measured if r["kind"] == "halving"]
    for scale in dict.fromkeys(row["scale"] for row in known):
        part = [row for row in known if row["scale"] == scale]
        gains = [100 * row["values"]["gain"][0] for row in part]
        halves = [100 * (row["values"]["gain"][2] - row["values"]["gain"][0]) / 1.96 for row in part]
        scatter, df = verdicts.pooled([gains])
        images = float(np.mean(np.square(halves)))
        estimate = Estimate(float(np.mean(gains)), scatter / len(gains), images, df, (len(gains),), part[0]["n"])
        row = {"name": "one dropout net minus the halved net, distance", "measure": "distance", "unit": "points"}
        of = [r for one in part for r in _of(one, found)]
        row |= {**verdicts.bounds(estimate, "points"), "n": (len(gains),), "of": of}
        table.append(judged(row, "halving", scale, estimate))
    return table


def imagenet_errors(row: dict) -> list[dict]:
    """The errors of a run on ImageNet itself, ten views, beside the paper's; 95 % interval over test images.

    Rows as of `variant_effects`, unit "%"; none for a run on other images.
    """
    if not row["scale"] == row["data"]["name"] == "imagenet":
        return []
    table, metrics = [], row["metrics"]["ten"]
    for error, claim in (("top1", "error-2012"), ("top5", "error-2012-top5")):
        low, high = proportion(metrics[error], metrics["n"])
        values = {"value": 100 * metrics[error], "low": 100 * low, "high": 100 * high, "n": (1,)}
        table.append(
            judged({"name": f"{row['variant']}, seed {row['seed']}", "unit": "%", **values}, claim, "imagenet")
        )
    return table


def proportion(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share found on n items (Wilson), in 0..1."""
    return tuple(stats.binomtest(round(share * n), n).proportion_ci(0.95, "wilson"))


# ---- the two towers --------------------------------------------------------------------------------------------


def colours(scale: str) -> list[dict]:
    """How far off grey the first-layer kernels of each tower are, for all runs of a scale that are on record.

    Rows: run, updates, tower 1, tower 2 (means, 0..1), p (`towers.colour`), of the claim that they differ in every run.
    """
    found = [row for row in trained(rows.everything(sample=scale == "sample")) if row["scale"] == scale]
    return [
        colour_row(
            f"{row['study'][:2]} {row['variant']}, seed {row['seed']}", row["colour"], row["history"][-1]["step"]
        )
        for row in found
        if "colour" in row and row["history"]  # a run stopped in its first epoch has none
    ]


def colour_row(run: str, colour: dict, updates: int | None = None) -> dict:
    """A row as of `colours`, from what `towers.colour` says of a net."""
    towers = {f"tower {i}": mean for i, mean in enumerate(colour["means"], 1)}
    return {"run": run, "updates": updates, **towers, "p": colour["p"]}


def colours_apart(chances: list[float]) -> tuple[float, float, float]:
    """Of runs with these p of `towers.colour`, the share whose towers differ (p < 0.05): %, with its 95 % interval."""
    share = sum(p < 0.05 for p in chances) / len(chances)
    return tuple(100 * bound for bound in (share, *proportion(share, len(chances))))


def colour_claim(found: list[dict]) -> dict:
    """The claim about the towers' colour from all runs of one config: judged after enough updates alone."""
    long = [row for row in found if row["history"][-1]["step"] >= verdicts.UPDATES]
    value, low, high = colours_apart([row["colour"]["p"] for row in long or found])
    row = {"name": "runs whose towers differ", "unit": "%", "value": value, "low": low, "high": high}
    row = judged(row | {"n": (len(long or found),)}, "colour-towers", found[0]["scale"])
    if long or found[0]["scale"] == "sample":
        return row
    updates = max(run["history"][-1]["step"] for run in found)
    return row | {"verdict": f"{verdicts.REGIME}; {updates:,} updates of the paper's 840,000"}


# ---- a single run ----------------------------------------------------------------------------------------------


def view_errors(run: Run) -> list[dict]:
    """Rows of measure (top-1, top-5), views, value, low, high: test errors in %, 95 % interval over test images.

    The top-5 error is left out where there are fewer than six classes.
    """
    found = []
    for measure in ("top1", "top5")[: 1 + (len(run.probabilities["centre"].T) >= FIVE_GUESSES)]:
        for views, metrics in run.row["metrics"].items():
            bounds = (metrics[measure], *proportion(metrics[measure], metrics["n"]))
            value, low, high = (100 * bound for bound in bounds)
            name = {"measure": measure.replace("top", "top-"), "views": views}
            found.append({**name, "value": value, "low": low, "high": high, "n": metrics["n"]})
    return found


def view_gains(run: Run) -> list[dict]:
    """Rows of measure, value, low, high, paper: the error of the centre view minus that of ten views, in points.

    The interval is a paired one over test images.
    """
    found = []
    for k, claim in ((1, "ten-views"), (5, "ten-views-top5")):
        wrong = {views: ranks(p, run.labels) >= k for views, p in run.probabilities.items()}
        d = 100.0 * (wrong["centre"] * 1.0 - wrong["ten"])
        half = 1.96 * d.std(ddof=1) / math.sqrt(len(d)) if len(d) > 1 else math.inf
        paper = REGISTER[claim].paper
        value = float(d.mean())
        found.append({"measure": f"top-{k}", "value": value, "low": value - half, "high": value + half, "paper": paper})
    return found[: 1 + (len(run.probabilities["centre"].T) >= FIVE_GUESSES)]


def compare(run: Run) -> list[dict]:
    """The claims of the register that one run speaks of beside what it says: rows as of `verdicts.beside`.

    One run is one seed, so that no effect gets a verdict from it.
    """
    gains = zip(("ten-views", "ten-views-top5"), view_gains(run), strict=False)
    ours = {id: judged({**gain, "unit": "points"}, id, run.row["scale"]) for id, gain in gains}
    if not five_guesses(run.row):
        ours.pop("ten-views-top5", None)
    ours |= {row["claim"]: row for row in imagenet_errors(run.row)}
    return beside((c for c in CLAIMS if c.id.removesuffix("-top5") in ("ten-views", "error-2012")), ours)


def of_features(measured: dict[str, tuple[float, float, float]], scale: str) -> dict[str, dict]:
    """What was measured of the claims of section 6.1, {id: (value, low, high)}, with verdicts: {id: row}."""
    bounds = {id: dict(zip(("value", "low", "high"), found, strict=True)) for id, found in measured.items()}
    return {id: judged(row | {"unit": REGISTER[id].unit}, id, scale) for id, row in bounds.items()}


def compare_features(measured: dict[str, tuple[float, float, float]], scale: str) -> list[dict]:
    """The claims of section 6.1 beside what was measured of them, as for `of_features`; rows as of `compare`."""
    return beside((c for c in CLAIMS if c.notebook == "05_features"), of_features(measured, scale))
