"""The scorecard: verdicts recomputed from the committed rows by other means, and the rules by rows made for them."""

import json
import math
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats as scipy_stats

from alexlib import augment, costs, findings, rows, scorecard
from alexlib.ablations import VARIANTS
from alexlib.batches import generator
from alexlib.claims import CLAIMS
from alexlib.config import CIFAR13, FIGURE1, PAPER, SCALES, SOURCE2012, spec_at
from alexlib.paths import ROOT

REGISTER = {claim.id: claim for claim in CLAIMS}
COMMITTED = [
    json.loads(line)
    for file in sorted((ROOT / "reports" / "results").glob("*.jsonl"))
    for line in file.read_text().splitlines()
]
RUNS = [row for row in COMMITTED if "history" in row]

# ---- the committed rows, by numpy and scipy alone -------------------------------------------------------------

# Which runs test which claim, read off the paper and not off alexlib.ablations.
TESTS = {
    "lrn": ("no-lrn", "error"),
    "conv2-norms": ("lrn-conv1-only", "error"),
    "norm-after-relu": ("conv2-norms-before-relu", "error"),
    "two-gpus": ("one-tower", "error"),
    "no-cross-talk": ("no-cross-talk", "error"),
    "overlap": ("non-overlapping", "error"),
    "overlap-overfit": ("non-overlapping", "overfit"),
    "colour-pca": ("no-colour-noise", "error"),
    "crops-overfit": ("no-crops-flips", "overfit"),
    "dropout-overfit": ("no-dropout", "overfit"),
    "dropout-iterations": ("no-dropout", "length"),
    "weight-decay": ("no-decay", "training"),
    **{f"remove-middle {i}": (f"no-conv{i}", "error") for i in (3, 4, 5)},
}
SMALL_TESTS = {"lrn-cifar": ("no-lrn", "error"), "weight-decay": ("no-decay", "training")}


def student(values):
    """Mean and 95 % interval; a single value has none."""
    if len(values) == 1:
        return values[0], -math.inf, math.inf
    half = scipy_stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return np.mean(values), np.mean(values) - half, np.mean(values) + half


def judged(low, high, paper):
    """The rule of docs/design.md, for effects that support the paper when they are above zero."""
    if low <= 0 <= high:
        return "inconclusive"
    if high < 0:
        return "not reproduced"
    return "reproduced" if paper is None or high >= paper else "direction only"


def crossing(curve, target):
    """Epochs until a curve that starts at 1 falls to the target, on straight lines."""
    curve = np.r_[1.0, curve]
    i = int(np.argmax(curve <= target))
    return i - 1 + (curve[i - 1] - target) / (curve[i - 1] - curve[i])


def measured(kind, base, other):
    """The effect of one pair of runs, in points; `length` as a logarithm of epochs."""
    if kind == "length":
        curves = [[h["val_top1"] for h in row["history"]] for row in (base, other)]
        target = max(map(min, curves))
        return math.log(crossing(curves[0], target) / crossing(curves[1], target))
    value = {
        "error": lambda row: row["metrics"]["ten"]["top1"],
        "overfit": lambda row: row["metrics"]["centre"]["top1"] - row["history"][-1]["train_top1"],
        "training": lambda row: row["history"][-1]["train_top1"],
    }[kind]
    return 100 * (value(other) - value(base))


def place(row):
    net, train = row["config"]["net"], row["config"]["train"]
    size = [net["width"], net["input"], train["epochs"], train["batch"], train["lr"], train["validation"]]
    return (row["study"], row["scale"], row["spec"], row["data"]["train"], *size)


def effects_by_hand():
    """(claim, scale, n, verdict, value, low, high) of every effect that the committed rows speak of."""
    found, runs = [], defaultdict(dict)
    for row in RUNS:
        if row["metrics"]:
            runs[place(row), row["variant"]][row["seed"]] = row
    for where, variant in [key for key in runs if key[1] == "baseline"]:
        small = "stack" in next(iter(runs[where, variant].values()))["config"]["net"]
        for claim, (name, kind) in (SMALL_TESTS if small else TESTS).items():
            pairs = [(runs[where, "baseline"][s], row) for s, row in runs.get((where, name), {}).items()
                     if s in runs[where, "baseline"]]  # fmt: skip
            if pairs:
                id = claim.split()[0]
                mean, low, high = student([measured(kind, *pair) for pair in pairs])
                paper = REGISTER[id].paper
                verdict = judged(low, high, math.log(paper) if kind == "length" else paper)
                ends = np.exp([mean, low, high]) if kind == "length" else (mean, low, high)
                found.append((id, where[1], len(pairs), verdict, *ends))
    return found


def views_by_hand():
    groups, found = defaultdict(list), []
    for row in RUNS:
        if row["variant"] in ("baseline", "paper", "source2012") and "ten" in row["metrics"]:
            gain = 100 * (row["metrics"]["centre"]["top1"] - row["metrics"]["ten"]["top1"])
            groups[place(row), row["variant"]].append(gain)
    for (where, _), gains in groups.items():
        mean, low, high = student(gains)
        found.append(("ten-views", where[1], len(gains), judged(low, high, 1.5), mean, low, high))
    return found


def colours_by_hand():
    groups, found = defaultdict(list), []
    for row in RUNS:
        if "colour" in row:
            groups[row["study"], row["scale"], row["data"]["train"]].append(row["colour"]["p"] < 0.05)
    for (_, scale, _), apart in groups.items():
        ends = scipy_stats.binomtest(sum(apart), len(apart)).proportion_ci(0.95, method="wilson")
        proven = "reproduced" if ends.low > 0.5 else "inconclusive"
        verdict = proven if all(apart) else "not reproduced"  # "in every run"
        found.append(
            ("colour-towers", scale, len(apart), verdict, 100 * np.mean(apart), 100 * ends.low, 100 * ends.high)
        )
    return found


def features_by_hand():
    known = {(row["study"], row["variant"], row["seed"], row["started"]) for row in RUNS}
    looks = [row for row in COMMITTED if "measured" in row and tuple(row["run"].values()) in known]
    last = {(*row["run"].values(), row["queries"], row["among"]): row for row in looks}
    for row in last.values():
        for id, (value, low, high) in row["measured"].items():
            least = 1 if id == "neighbours-pixels" else 0  # "not close": beyond the nearest 1 % of the pictures
            yield id, row["scale"], 1, judged(low - least, high - least, None), value, low, high


def of(lines):
    ends = ("value", "low", "high")
    told = ((x["claim"], x["scale"], x["n"], x["verdict"].split(";")[0], *(x[end] for end in ends)) for x in lines)
    return sorted(told)


def test_every_effect_and_its_verdict_follow_from_the_committed_rows():
    lines = [line for line in scorecard.evidence(COMMITTED) if line["study"] and line["claim"] != "relu-speed"]
    expected = sorted([*effects_by_hand(), *views_by_hand(), *colours_by_hand(), *features_by_hand()])
    assert len(expected) == len(lines) > 5
    for ours, theirs in zip(of(lines), expected, strict=True):
        assert ours[:4] == theirs[:4]
        assert ours[4:] == pytest.approx(theirs[4:], rel=2e-3, abs=2e-3)


def test_figure_1_follows_from_the_committed_rows():
    """Each activation at the rate that was soonest with seed 0; the other seeds count."""
    epochs = defaultdict(lambda: defaultdict(dict))
    for row in RUNS:
        if row["study"] == "02_relu_vs_tanh" and row["scale"] == "cifar10":
            net, train = row["config"]["net"], row["config"]["train"]
            if net["stack"] == "four-layer" and row["history"][-1]["train_top1"] <= 0.25:
                curve = [0.9, *(h["train_top1"] for h in row["history"])]
                i = next(i for i, error in enumerate(curve) if error <= 0.25)
                time = i - 1 + (curve[i - 1] - 0.25) / (curve[i - 1] - curve[i])
                epochs[net["activation"]][train["lr"]][row["seed"]] = time
    best = {name: min(rates.values(), key=lambda runs: runs.get(0, math.inf)) for name, rates in epochs.items()}
    tanh, relu = ([time for seed, time in best[name].items() if seed] for name in ("tanh", "relu"))
    theirs = scipy_stats.bootstrap(
        (tanh, relu), lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis), method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    line = next(line for line in scorecard.evidence(COMMITTED) if line["claim"] == "relu-speed")
    assert line["value"] == pytest.approx(np.mean(tanh) / np.mean(relu)) and line["n"] == min(len(tanh), len(relu))
    assert (line["low"], line["high"]) == pytest.approx((theirs.low, theirs.high), rel=0.01)
    assert line["verdict"] == judged(math.log(theirs.low), math.log(theirs.high), math.log(6))


def test_what_is_computed_from_the_net_is_right():
    conv = [
        (96, 3, 11),
        (256, 48, 5),
        (384, 256, 3),
        (384, 192, 3),
        (256, 192, 3),
    ]  # kernels, maps that one reads, side
    sizes = [n * (maps * side**2 + 1) for n, maps, side in conv]
    fc = [4096 * (9216 + 1), 4096 * 4097, 1000 * 4097]
    top, left, flip = augment.random_windows(300_000, 256, 224, PAPER.augment, generator(0, 0, "look"))
    expected = {
        "parameters": (sum(sizes + fc), "reproduced"),
        "neurons": (55 * 55 * 96 + 27 * 27 * 256 + 13 * 13 * (384 + 384 + 256) + 4096 + 4096 + 1000, "reproduced"),
        "conv1-neurons": (55 * 55 * 96, "not reproduced"),
        "one-percent": (100 * max(sizes) / sum(sizes + fc), "not reproduced"),
        "crops-factor": (len(set(zip(*(x.tolist() for x in (top, left, flip)), strict=True))), "not reproduced"),
    }
    lines = {line["claim"]: line for line in scorecard.evidence([])}
    assert {id: (line["value"], line["verdict"]) for id, line in lines.items()} == expected


def test_committed_sample_rows_there_are_none():
    assert {row["scale"] for row in COMMITTED} <= SCALES.keys() - {"sample"}


# ---- the card -------------------------------------------------------------------------------------------------


def row(
    variant="baseline",
    seed=0,
    test=0.3,
    *,
    scale="imagenette",
    study="03_ablations",
    data="d",
    train=0.1,
    steps=10,
    **fields,
):
    """A row as `study` leaves it, with these errors; `fields` are of its spec."""
    reading = CIFAR13.replace(lrn=True) if scale == "cifar10" else SOURCE2012
    classes = {} if scale == "imagenet" else {"classes": 10}
    base = spec_at(reading, scale, **classes, **fields)
    spec = next((v.of(base) for v in VARIANTS if v.name == variant), base)
    history = [{"epoch": 1, "step": steps, "train_top1": train, "val_top1": test, "seconds": 1800.0}]
    errors = {
        "ten": {"top1": test, "top5": test / 5, "n": 5000},
        "centre": {"top1": test + 0.02, "top5": test / 4, "n": 5000},
    }
    name = SCALES[scale].source
    return {
        "study": study, "variant": variant, "seed": seed, "scale": scale, "spec": spec.name, "metrics": errors,
        "config": json.loads(json.dumps(spec.as_dict())), "history": history, "seconds": 1800.0, "device": "a CPU",
        "started": "2026-01-02T03:04:05+00:00",
        "data": {"train": data, "name": name, "origin": f"pictures of {name}"},
    }  # fmt: skip


def pairs(variant, gains, **where):
    """A baseline and a variant that is worse by `gains` (points), a seed each."""
    return [r for seed, gain in enumerate(gains)
            for r in (row(seed=seed, **where), row(variant, seed, 0.3 + gain / 100, **where))]  # fmt: skip


def entry(found, id):
    return next(e for e in scorecard.card(found) if e["claim"].id == id)


def test_each_claim_has_one_entry_with_evidence_or_a_reason():
    for found in ([], COMMITTED, pairs("no-lrn", (1.0, 2.0))):
        table = scorecard.card(found)
        assert [e["claim"] for e in table] == list(CLAIMS)
        for e in table:
            assert (e["verdict"] == "not tested at this scale") == (not e["lines"]) == bool(e["reason"])
            assert e["verdict"].split(";")[0] in {*scorecard.VERDICTS, "not tested at this scale"}


def test_the_reason_comes_from_the_register_or_from_the_variants():
    tested = {id for v in VARIANTS for id, _ in v.claims + v.small_claims}
    computed = {line["claim"] for line in scorecard.evidence([])}
    for claim in CLAIMS:
        main = claim.id.removesuffix("-top5")
        assert bool(claim.needs) == (main not in tested | computed), claim.id
    assert entry([], "lrn")["reason"] == "runs of no-lrn beside their baseline, two seeds at least"
    assert "conv3 and of no-conv4 and of no-conv5 beside" in entry([], "remove-middle")["reason"]
    assert entry([], "training-days")["reason"] == "two GTX 580"
    assert "five guesses" in entry(pairs("no-lrn", (1.0, 2.0)), "lrn-top5")["reason"]


def test_scales_have_an_order_and_an_interval_comes_before_it():
    assert set(scorecard.NEAREST) == set(SCALES)
    small, near = pairs("no-lrn", (1.3, 1.5), scale="imagenette128", steps=999), pairs("no-lrn", (0.45, 0.46))
    single = pairs("no-lrn", (3.0,), scale="imagenet")
    e = entry(small + single + near, "lrn")
    assert [line["scale"] for line in e["lines"]] == ["imagenette", "imagenette128", "imagenet"]
    assert e["verdict"] == "direction only" and [line["n"] for line in e["lines"]] == [2, 2, 1]
    wide = pairs("no-lrn", (1.3, 1.5), data="whole") + pairs("no-lrn", (0.2, 0.3), width=0.5)
    assert [line["setting"][-9:] for line in entry(wide, "lrn")["lines"]] == [" pictures", "width 0.5"]


def test_a_claim_about_several_layers_is_as_good_as_the_worst_of_them():
    found = pairs("no-conv3", (2.4, 2.5)) + pairs("no-conv4", (-2.4, -2.5))[1::2] + pairs("no-conv5", (0.9, 1.0))[1::2]
    e = entry(found, "remove-middle")
    assert [line["verdict"] for line in e["lines"]] == ["not reproduced", "direction only", "reproduced"]
    assert e["verdict"] == "not reproduced"


def test_settings_that_differ_are_not_compared():
    found = [row(), row("no-lrn", 0, 0.4, epochs=3), row("no-lrn", 0, 0.4, data="other")]
    assert entry(found, "lrn")["lines"] == []
    mixed = pairs("no-lrn", (1.0, 1.2)) + pairs("no-lrn", (5.0, 5.2), epochs=3)
    assert sorted(round(line["value"], 6) for line in entry(mixed, "lrn")["lines"]) == [1.1, 5.1]


def test_sample_runs_claim_nothing_and_stand_last(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    generated, real = pairs("no-lrn", (9.0, 9.1), scale="sample"), pairs("no-lrn", (1.4,), scale="imagenette128")
    for one in generated + real:
        rows.append(one)
    assert scorecard.record() == real and scorecard.record(sample=True) == real + generated
    e = entry(scorecard.record(sample=True), "lrn")
    assert [line["scale"] for line in e["lines"]] == ["imagenette128", "sample"] and e["verdict"] == "inconclusive"
    assert entry(generated, "lrn")["verdict"] == "sample run, no scientific claim"


def test_diverged_runs_are_counted_in_verdict_and_ledger():
    lost = row("no-lrn", 2) | {"metrics": {}, "history": [], "seconds": 0.0, "diverged": "NaN"}
    found = [*pairs("no-lrn", (1.3, 1.5)), row(seed=2), lost]
    assert entry(found, "lrn")["verdict"] == "reproduced; 1 diverged"
    part, total = costs.ledger(found)
    assert (part["runs"], part["diverged"], part["hours"]) == (6, 1, 2.5) and part["notebook"] == "03_ablations"
    assert part["pictures"] == 5 * 10 * 128 and total["runs"] == 6 and total["notebook"] == "all"
    assert scorecard.card([lost])[0]["claim"] and costs.deviations([lost])


def test_the_ledger_keeps_devices_apart():
    gpu = row(seed=5) | {"device": "a GPU", "seconds": 36.0}
    table = costs.ledger([row(), gpu, row(study="04_train", scale="imagenet")])
    assert [(r["device"], r["notebook"], r["runs"]) for r in table] == [
        ("a CPU", "03_ablations", 1), ("a CPU", "04_train", 1), ("a CPU", "all", 2),
        ("a GPU", "03_ablations", 1), ("a GPU", "all", 1),
    ]  # fmt: skip
    assert table[-1]["hours"] == pytest.approx(0.01)


def test_top_5_claims_need_classes_enough():
    assert entry(pairs("no-lrn", (1.0, 2.0)), "lrn-top5")["lines"] == []
    assert entry(pairs("no-lrn", (1.0, 2.0)), "ten-views-top5")["lines"] == []
    many = pairs("no-lrn", (6.0, 6.1), scale="imagenet")
    line = entry(many, "lrn-top5")["lines"][0]
    assert line["value"] == pytest.approx(6.05 / 5) and entry(many, "lrn-top5")["verdict"] == "reproduced"
    assert entry(many, "ten-views-top5")["lines"][0]["value"] == pytest.approx(100 * 0.3 * (1 / 4 - 1 / 5))


@pytest.mark.parametrize(("top1", "verdict"), [(0.40, "reproduced"), (0.415, "reproduced"), (0.43, "not reproduced")])
def test_errors_on_imagenet_itself(top1, verdict):
    found = [row("source2012", 0, top1, study="04_train", scale="imagenet")]
    line = entry(found, "error-2012")["lines"][0]
    theirs = scipy_stats.binomtest(round(5000 * top1), 5000).proportion_ci(0.95, method="wilson")
    assert (line["low"], line["high"]) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=0.01)
    assert entry(found, "error-2012")["verdict"] == verdict
    own = found[0] | {"data": found[0]["data"] | {"name": "mine"}}  # another set, run with the settings of the scale
    assert entry([own], "error-2012")["lines"] == []


@pytest.mark.parametrize(
    ("chances", "verdict"),
    [((0.001,) * 4, "reproduced"), ((0.001,) * 3, "inconclusive"), ((0.001,) * 9 + (0.05,), "not reproduced")],
)
def test_colour_in_one_tower_alone_is_asked_of_every_run(chances, verdict):
    found = [row(seed=i) | {"colour": {"means": [0.1, 0.4], "p": p}} for i, p in enumerate(chances)]
    line = entry([*found, row(seed=99)], "colour-towers")["lines"][0]
    share = scipy_stats.binomtest(sum(p < 0.05 for p in chances), len(chances))
    low, high = share.proportion_ci(0.95, method="wilson")
    assert (line["value"], line["n"]) == (100 * share.statistic, len(chances)) and line["verdict"] == verdict
    assert (line["low"], line["high"]) == pytest.approx((100 * low, 100 * high), abs=0.01)
    generated = [one | {"scale": "sample"} for one in found]
    assert entry(generated, "colour-towers")["verdict"] == "sample run, no scientific claim"


def look(run, measured, queries=500):
    """A row of notebook 05 about a run."""
    about = {"study": "05_features", "scale": run["scale"], "queries": queries, "among": 1856}
    return about | {"run": {key: run[key] for key in ("study", "variant", "seed", "started")}, "measured": measured}


def test_what_notebook_05_measured_counts_beside_its_run(monkeypatch, tmp_path):
    run, bounds = row("source2012", 3, study="04_train"), {"neighbours": [30.0, 27.0, 33.0]}
    before, other = look(run, {"neighbours": [-9.0, -9.5, -8.5]}), look(row(seed=8), {"neighbours": [-9.0, -9.5, -8.5]})
    (line,) = entry([run, before, look(run, bounds), other], "neighbours")["lines"]
    assert [line["value"], line["low"], line["high"]] == bounds["neighbours"] and line["verdict"] == "reproduced"
    assert (line["study"], line["n"], line["runs"], line["hours"]) == ("05_features", 1, 1, 0.5)
    assert line["setting"] == costs.setting(run) and line["name"] == "source2012, seed 3: 500 pictures among 1,856"
    fewer = look(run, {"neighbours": [1.0, -1.0, 3.0]}, queries=9)
    assert [x["verdict"] for x in entry([run, look(run, bounds), fewer], "neighbours")["lines"]] == [
        "inconclusive", "reproduced",
    ]  # fmt: skip
    assert costs.ledger(findings.trained([run, fewer]))[-1]["runs"] == 1
    assert scorecard.in_points(scorecard.card([run, fewer])) == scorecard.in_points(scorecard.card([run]))
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    for one in (run, fewer):
        rows.append(one)
    assert scorecard.record() == [run, fewer]


def race_row(activation, seed, curve, lr=0.01, stack="four-layer"):
    spec = spec_at(FIGURE1, "cifar10", stack=stack, activation=activation, lr=lr, input=24 if stack == "local" else 32)
    history = [
        {"epoch": i, "step": 10 * i, "train_top1": e, "val_top1": None, "seconds": 1.0} for i, e in enumerate(curve, 1)
    ]
    return row(scale="cifar10", study="02_relu_vs_tanh", seed=seed) | {
        "variant": f"{activation}-lr{lr:g}", "spec": "figure1", "config": json.loads(json.dumps(spec.as_dict())),
        "history": history, "metrics": {"centre": {"top1": 0.3, "top5": 0.1, "n": 10}},
    }  # fmt: skip


def raced(tanh, relu=((0.5, 0.2),) * 3, **options):
    return [race_row(name, seed, curve, **options) for name, curves in (("tanh", tanh), ("relu", relu))
            for seed, curve in enumerate(curves)]  # fmt: skip


def test_figure_1_counts_the_runs_after_the_search_and_says_when_it_is_a_bound():
    slow, never = (0.5,) * 8 + (0.2,), (0.5,) * 60
    whole = entry(raced((slow,) * 3), "relu-speed")
    per = [8 + 0.25 / 0.3, 1 + 0.25 / 0.3]
    assert whole["lines"][0]["value"] == pytest.approx(per[0] / per[1]) and whole["lines"][0]["n"] == 2
    assert whole["verdict"] == "direction only" and "four-layer net, 60 epochs at most" in whole["lines"][0]["setting"]
    bound = entry(raced((slow, never, never)), "relu-speed")["lines"][0]
    assert bound["bound"] == "at least" and bound["verdict"] == "reproduced"
    assert scorecard.cells(REGISTER["relu-speed"], bound)["ours"] == f"at least {60 / per[1]:.2f}"
    lost = entry(raced((slow,) * 3, ((0.5, 0.2), never, never)), "relu-speed")
    assert lost["lines"][0]["bound"] == "at most" and lost["verdict"] == "inconclusive"
    both = entry(raced((slow,) * 3) + raced((slow,), ((0.5, 0.2),), stack="local"), "relu-speed")
    assert [(line["n"], line["name"][-9:]) for line in both["lines"]] == [(2, "layer net"), (1, "local net")]


def test_runs_needed_until_an_effect_shows():
    found = pairs("no-lrn", (-1.0, 1.0, 3.0))
    (one,) = [r for r in costs.difficulty(scorecard.card(found)) if r["claim"].id == "lrn"]
    need = next(n for n in range(2, 99) if scipy_stats.t.ppf(0.975, n - 1) * 2.0 / math.sqrt(n) <= 1.4)
    assert (one["size"], one["needed"], one["n"]) == (1.4, need, 3) and one["hours"] == 3.0
    assert one["half"] == pytest.approx(scipy_stats.t.ppf(0.975, 2) * 2.0 / math.sqrt(3), rel=1e-3)
    assert costs.difficulty(scorecard.card(pairs("no-lrn", (1.0,)))) == []
    without = pairs("no-crops-flips", (1.0, 2.0)) + pairs("no-lrn", (1.0, 2.0))[1::2]
    ranked = costs.difficulty(scorecard.card(without))
    assert [r["needed"] is None for r in ranked] == sorted(r["needed"] is None for r in ranked)


def test_deviations_are_what_all_runs_of_a_notebook_share():
    found = [*pairs("no-lrn", (1.0,), epochs=12), row(study="04_train", scale="imagenet", epochs=90, validation=0.05)]
    found.insert(0, row("no-lrn", 1, epochs=12))  # what it alone has is no deviation of the notebook
    table = costs.deviations(found)
    assert [r["differs"] for r in table] == ["classes 1000 → 10, epochs 90 → 12", "nothing but the pictures"]
    assert table[0]["pictures"] == "pictures of imagenette" and table[0]["reading"] == "source2012"
    assert costs.deviations([row() | {"spec": "mine"}])[0]["differs"] == "a reading of its own"


def test_effects_in_points_are_those_of_the_card():
    found = pairs("no-lrn", (1.3, 1.5)) + pairs("no-dropout", (1.0, 1.0))[1::2]
    drawn = {r["name"]: r for r in scorecard.in_points(scorecard.card(found))}
    assert drawn["lrn (imagenette)"]["value"] == pytest.approx(1.4) and drawn["lrn (imagenette)"]["log"] == 1.37
    assert ("VGG 2014", -0.1) in drawn["lrn (imagenette)"]["later"]
    assert not {name.split()[0] for name in drawn} & {"dropout-iterations", "parameters", "one-percent"}


def test_cells():
    line = entry(pairs("no-lrn", (1.3, 1.5)), "lrn")["lines"][0]
    cells = scorecard.cells(REGISTER["lrn"], line)
    assert (cells["paper"], cells["2012 log"], cells["ours"], cells["runs"]) == ("1.4", "1.37", "1.4", "2")
    assert cells["95 % interval"] == "0.13 to 2.67" and cells["verdict"] == "reproduced"
    assert cells["later studies"] == "Mishkin 2017: -0.1; VGG 2014: -0.1"
    single = entry(pairs("no-lrn", (1.3,)), "lrn")["lines"][0]
    assert scorecard.cells(REGISTER["lrn"], single)["95 % interval"] == "-"
    assert scorecard.cells(REGISTER["lrn"], None).keys() == cells.keys()
    counted = entry([], "parameters")
    assert scorecard.cells(counted["claim"], counted["lines"][0])["ours"] == "60,965,224"


def test_later_studies_in_one_line():
    assert REGISTER["error-2012"].studies == "Zeiler 2014: 40.5, replication; cuda-convnet2: 40.42"
    assert REGISTER["bias-one"].studies == "Mishkin 2017: no biases at all: top-1 2.6 pp worse"
    assert REGISTER["parameters"].studies == ""
