"""The scorecard: verdicts recomputed from the committed rows by other means, and the rules by rows made for them."""

import base64
import dataclasses
import itertools
import json
import math
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats as scipy_stats

from alexold import costs, effects, protocol, rows, scorecard, verdicts
from alexold.ablations import VARIANTS
from alexold.claims import CLAIMS
from alexold.config import CIFAR13, FIGURE1, SCALES, SOURCE2012, spec_at
from alexold.paths import ROOT

REGISTER = {claim.id: claim for claim in CLAIMS}
COMMITTED = [
    json.loads(line)
    for file in sorted((ROOT / "reports" / "results").glob("*.jsonl"))
    for line in file.read_text().splitlines()
]

# ---- the committed rows, by numpy and scipy alone -------------------------------------------------------------

EVIDENCE = rows.evidence(COMMITTED)

# Which runs test which claim and how, read off the paper and docs/protocol.md, not off alexold.ablations.
TESTS = {
    "lrn": ("no-lrn", "baseline", "error"),
    "conv2-norms": ("lrn-conv1-only", "baseline", "error"),
    "norm-after-relu": ("conv2-norms-before-relu", "baseline", "error"),
    "two-gpus": ("one-tower", "baseline", "error"),
    "no-cross-talk": ("no-cross-talk", "baseline", "error"),
    "overlap": ("non-overlapping", "baseline", "error"),
    "overlap-overfit": ("non-overlapping", "baseline", "overfit"),
    "colour-pca": ("no-colour-noise", "baseline", "error"),
    "crops-overfit": ("no-crops-flips", "baseline", "overfit"),
    "dropout-overfit": ("no-dropout", "baseline", "overfit"),
    "dropout-overfit wide": ("wide-fc-no-dropout", "wide-fc", "overfit"),
    "dropout-iterations": ("baseline", "no-dropout", "converged"),
    "bias-one": ("bias-zero", "baseline", "early"),
    "weight-decay": ("no-decay", "baseline", "training"),
    "larger-nets": ("half-width", "baseline", "error"),
    **{f"remove-middle {i}": (f"no-conv{i}", "baseline", "error") for i in (3, 4, 5)},
}
SMALL_TESTS = {"lrn-cifar": ("no-lrn", "baseline", "error"), "weight-decay": ("no-decay", "baseline", "training")}
GATED = {
    *("lrn", "lrn-cifar", "overlap", "overlap-overfit", "colour-pca", "crops-overfit", "dropout-overfit"),
    *("dropout-iterations", "weight-decay", "conv2-norms", "norm-after-relu"),
}
LOSS = {"miniimagenet": {"converged": 2.5, "early": 4.0}, "imagenette128": {"converged": 1.3, "early": 2.0}}
VIEWS = {"error": "ten", "overfit": "centre"}


def place(row):
    """What the runs of one group share; the learning rate may have been chosen for a variant."""
    net, train = row["config"]["net"], row["config"]["train"]
    size = [net["width"], net["input"], train["epochs"], train["batch"], train["validation"]]
    return (row["study"], row["scale"], row["spec"], row["data"]["train"], *size)


def value(row, kind):
    """One run's number, in points; the logarithm of epochs for times; None where the row does not have it."""
    if kind in ("converged", "early"):
        history = [h for h in row["history"] if h["lr"] == row["history"][0]["lr"]]
        if "plain_loss" not in history[0]:
            return None
        curve = [math.log(row["config"]["net"]["classes"]), *(h["plain_loss"] for h in history)]
        below = [i for i, loss in enumerate(curve) if loss <= LOSS[row["scale"]][kind]]
        if not below:
            return math.log(len(history))
        i = below[0]
        return math.log(i - (LOSS[row["scale"]][kind] - curve[i]) / (curve[i - 1] - curve[i]))
    if kind != "error" and "training" not in row:
        return None
    training = row["training"]["top1"] if "training" in row else 0
    test = {"error": row["metrics"]["ten"]["top1"], "overfit": row["metrics"]["centre"]["top1"] - training}
    return 100 * (test | {"training": training})[kind]


def wrong(row, views):
    packed = np.frombuffer(base64.b64decode(row["hits"][views]["top1"]), np.uint8)
    return 1.0 - np.unpackbits(packed)[: row["metrics"][views]["n"]]


def shared_by_images(arms, views):
    """Variance that the choice of images adds: the covariance over images of differences of runs that share no run."""
    n = arms[0][0]["metrics"][views]["n"]
    if any("hits" not in row for arm in arms for row in arm):
        means = [np.mean([row["metrics"][views]["top1"] for row in arm]) for arm in arms]
        return 1e4 * sum(p * (1 - p) / n for p in means), n
    runs = [[wrong(row, views) for row in arm] for arm in arms]
    found = [
        np.cov(runs[0][i] - runs[1][k], runs[0][j] - runs[1][m])[0, 1]
        for i, j in itertools.permutations(range(len(runs[0])), 2)
        for k, m in itertools.permutations(range(len(runs[1])), 2)
    ]
    return 1e4 * max(0.0, np.mean(found)) / n, n


def interval(arms, others, kind):
    """Mean difference, 95 % interval and whether both arms have two runs."""
    x = [[value(row, kind) for row in arm] for arm in arms]
    enough = min(map(len, x)) > 1
    if kind in ("converged", "early"):
        if not enough:
            return np.mean(x[0]) - np.mean(x[1]), -math.inf, math.inf, enough
        ends = scipy_stats.ttest_ind(*x, equal_var=False).confidence_interval()
        return np.mean(x[0]) - np.mean(x[1]), ends.low, ends.high, enough
    groups = [[value(row, kind) for row in arm] for arm in others]
    df = sum(len(g) - 1 for g in groups)
    scatter = sum((len(g) - 1) * np.var(g, ddof=1) for g in groups if len(g) > 1) / df
    seeds = scatter * (1 / len(x[0]) + 1 / len(x[1]))
    images, n = shared_by_images(arms, VIEWS[kind]) if kind in VIEWS and enough_hits(arms) else (0.0, 2)
    freedom = (seeds + images) ** 2 / (seeds**2 / df + images**2 / (n - 1))
    half = scipy_stats.t.ppf(0.975, freedom) * math.sqrt(seeds + images)
    mean = np.mean(x[0]) - np.mean(x[1])
    return mean, mean - half, mean + half, enough


def enough_hits(arms):
    """With hits and a single run in an arm covariances tell nothing; then no verdict is given either."""
    return all(len(arm) > 1 for arm in arms) or any("hits" not in row for arm in arms for row in arm)


def said(low, high, paper, over, enough):
    """Section 7 of the protocol, without the remark about equivalence."""
    if not enough or not math.isfinite(low):
        return "cannot tell"
    least, most = rounded(paper)
    if low > 0:
        if paper is None or not (high < least or low > most) or (over and low > most):
            return "agrees"
        return "same direction, larger" if low > most else "same direction, smaller"
    if high < 0:
        return "opposite"
    return "paper's size excluded" if paper is not None and high < least else "cannot tell"


def rounded(paper):
    """The paper's size, with half a unit of the last digit that it prints: for each of the sizes that it names."""
    printed = {1.4: 0.05, 2.0: 0.5, 1.7: 0.05, 0.4: 0.05, 1.5: 0.05, 1.0: 0.0, math.log(6): None, math.log(2): None}
    if paper is None:
        return None, None
    if printed[paper] is None:
        number = round(math.exp(paper))
        return math.log(number - 0.5), math.log(number + 0.5)
    return paper - printed[paper], paper + printed[paper]


def effects_by_hand():
    """(claim, scale, runs, verdict, value, low, high) of every effect that the rows on record speak of."""
    found, groups = [], defaultdict(lambda: defaultdict(list))
    for row in EVIDENCE:
        if row["study"] in ("01_augmentation", "03_ablations") and row["metrics"]:
            groups[place(row)][row["variant"]].append(row)
    for where, arms in groups.items():
        base = arms["baseline"]
        if not base:
            continue
        gaps = [value(row, "overfit") for row in base]
        gap = 0 if None in gaps else np.mean(gaps)
        for claim, (one, other, kind) in (SMALL_TESTS if "stack" in base[0]["config"]["net"] else TESTS).items():
            pair = [arms.get(one), arms.get(other)]
            if not all(pair) or any(value(row, kind) is None for arm in pair for row in arm):
                continue
            variant = pair[1] if kind == "converged" else pair[0]
            others = [arm for arm in arms.values() if arm and all(value(row, kind) is not None for row in arm)]
            mean, low, high, enough = interval(pair, others, kind)
            id, ratio = claim.split()[0], kind in ("converged", "early")
            paper = REGISTER[id].paper
            verdict = said(low, high, math.log(paper) if ratio and paper else paper, id == "colour-pca", enough)
            verdict = "regime not reached" if id in GATED and gap < 5 else verdict
            ends = np.exp([mean, low, high]) if ratio else (mean, low, high)
            found.append((id, where[1], len(variant), verdict, *ends))
    return found


def of(lines):
    ends = ("value", "low", "high")
    told = ((x["claim"], x["scale"], x["n"][0], x["verdict"].split(";")[0], *(x[end] for end in ends)) for x in lines)
    return sorted(told)


def test_every_effect_and_its_verdict_follow_from_the_committed_rows():
    ids = {claim.split()[0] for claim in (TESTS | SMALL_TESTS)}
    lines = [line for line in scorecard.evidence(EVIDENCE) if line["claim"] in ids]
    expected = sorted(effects_by_hand())
    assert len(expected) == len(lines) > 5
    for ours, theirs in zip(of(lines), expected, strict=True):
        assert ours[:4] == theirs[:4]
        single = theirs[3] == "cannot tell" and math.isinf(ours[5])
        assert ours[4:5] == pytest.approx(theirs[4:5], rel=2e-3, abs=2e-3)
        assert single or ours[2] == 1 or ours[4:] == pytest.approx(theirs[4:], rel=5e-3, abs=5e-3)


def test_views_averages_and_halving_follow_from_the_committed_rows():
    shown = scorecard.evidence(EVIDENCE)
    lines = {(x["claim"], x["scale"], x["n"]): x for x in shown if x["claim"] != "ten-views"}
    groups = defaultdict(list)
    for row in EVIDENCE:
        if row.get("variant") == "baseline" and "hits" in row:
            groups[place(row)].append(row)
    assert groups
    for base in groups.values():
        if len(base) < 2:
            continue
        gains = np.array([100 * (wrong(row, "centre") - wrong(row, "ten")) for row in base])
        runs, n = gains.mean(1), gains.shape[1]
        pairs = [np.cov(gains[i], gains[j])[0, 1] for i, j in itertools.permutations(range(len(base)), 2)]
        seeds, images = runs.var(ddof=1) / len(base), max(0.0, np.mean(pairs)) / n
        freedom = (seeds + images) ** 2 / (seeds**2 / (len(base) - 1) + images**2 / (n - 1))
        half = scipy_stats.t.ppf(0.975, freedom) * math.sqrt(seeds + images)
        ends = (runs.mean(), runs.mean() - half, runs.mean() + half)
        found = [x for x in shown if x["claim"] == "ten-views" and x["value"] == pytest.approx(ends[0])]
        assert (found[0]["low"], found[0]["high"]) == pytest.approx(ends[1:], rel=5e-3, abs=5e-3)
        assert found[0]["verdict"] == said(*ends[1:], 1.5, False, True)
    for row in EVIDENCE:
        if row.get("kind") == "ensemble" and (key := ("five-nets", row["scale"], (row["nets"],))) in lines:
            nets = [r for r in EVIDENCE if any(run.items() <= r.items() for run in row["runs"])]
            together = wrong({"hits": {"ten": row["values"]["ten"]["hits"]}, "metrics": {"ten": row}}, "ten")
            gain = 100 * (np.mean([wrong(net, "ten") for net in nets], axis=0) - together)
            assert lines[key]["value"] == pytest.approx(gain.mean()) and len(nets) == row["nets"]
            assert lines[key]["high"] - gain.mean() == pytest.approx(1.96 * gain.std() / math.sqrt(row["n"]), rel=1e-2)
            assert lines[key]["verdict"] == "cannot tell" or row["nets"] >= 5
    for scale in {row["scale"] for row in EVIDENCE if row.get("kind") == "halving"}:
        mine = [row for row in EVIDENCE if row.get("kind") == "halving" and row["scale"] == scale]
        gains = [100 * row["values"]["gain"][0] for row in mine]
        line = lines["halving", scale, (len(gains),)]
        assert line["value"] == pytest.approx(np.mean(gains))
        if len(gains) > 1:
            seeds = np.var(gains, ddof=1) / len(gains)
            images = np.mean(
                [(100 * (row["values"]["gain"][2] - row["values"]["gain"][0]) / 1.96) ** 2 for row in mine]
            )
            freedom = (seeds + images) ** 2 / (seeds**2 / (len(gains) - 1) + images**2 / (mine[0]["n"] - 1))
            half = scipy_stats.t.ppf(0.975, freedom) * math.sqrt(seeds + images)
            assert (line["low"], line["high"]) == pytest.approx((line["value"] - half, line["value"] + half), rel=1e-3)
            assert line["verdict"] == said(line["low"], line["high"], None, False, True)


def test_figure_1_follows_from_the_committed_rows():
    """Each activation at the rate that was soonest with seed 0; the other seeds count."""
    epochs = defaultdict(lambda: defaultdict(dict))
    for row in EVIDENCE:
        if row["study"] == "02_relu_vs_tanh" and row["scale"] == "cifar10":
            net, train = row["config"]["net"], row["config"]["train"]
            if net["stack"] == "four-layer" and row["history"][-1]["train_top1"] <= 0.25:
                curve = [0.9, *(h["train_top1"] for h in row["history"])]
                i = next(i for i, error in enumerate(curve) if error <= 0.25)
                time = i - 1 + (curve[i - 1] - 0.25) / (curve[i - 1] - curve[i])
                epochs[net["activation"]][train["lr"]][row["seed"]] = time
    best = {name: min(rates.values(), key=lambda runs: runs.get(0, math.inf)) for name, rates in epochs.items()}
    tanh, relu = ([math.log(time) for seed, time in best[name].items() if seed] for name in ("tanh", "relu"))
    theirs = scipy_stats.ttest_ind(tanh, relu, equal_var=False)
    line = next(line for line in scorecard.evidence(EVIDENCE) if line["claim"] == "relu-speed")
    assert line["value"] == pytest.approx(math.exp(np.mean(tanh) - np.mean(relu))) and line["n"] == (3, 3)
    low, high = theirs.confidence_interval()
    assert (line["low"], line["high"]) == pytest.approx((math.exp(low), math.exp(high)))
    assert line["verdict"] == said(low, high, math.log(6), False, True) and line["p"] == pytest.approx(theirs.pvalue)


def test_superseded_rows_and_withdrawn_numbers_are_kept_and_not_read():
    superseded = [row for row in COMMITTED if "superseded" in row]
    assert {row["variant"] for row in superseded} == {"no-dropout"} and len(superseded) == 3
    withdrawn = [row for row in COMMITTED if "withdrawn" in row]
    assert withdrawn and all("conv1-kernels" in row["measured"] for row in withdrawn)
    used = rows_used()
    assert not any(row in used for row in superseded)
    lines = [line for line in scorecard.evidence(EVIDENCE) if line["claim"] == "conv1-kernels"]
    assert not any(line["value"] == withdrawn[0]["measured"]["conv1-kernels"][0] for line in lines)


def rows_used():
    return [row for row in EVIDENCE if "config" in row]


def test_committed_sample_rows_there_are_none():
    assert {row["scale"] for row in COMMITTED} <= SCALES.keys() - {"sample"}


# ---- the card -------------------------------------------------------------------------------------------------


ONE = "cannot tell; one net"
LISTED = next(block.data for block in protocol.BLOCKS if block.id == "imagenette128-full-width")


@pytest.fixture
def reopened(monkeypatch):
    """The blocks that have ended take rows once more."""
    monkeypatch.setattr(protocol, "BLOCKS", tuple(dataclasses.replace(b, closed=False) for b in protocol.BLOCKS))


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
    history = [{"epoch": 1, "step": steps, "train_top1": train, "val_top1": test, "seconds": 1800.0, "lr": 0.01}]
    errors = {
        "ten": {"top1": test, "top5": test / 5, "n": 5000},
        "centre": {"top1": test + 0.02, "top5": test / 4, "n": 5000},
    }
    name = SCALES[scale].source
    return {
        "study": study, "variant": variant, "seed": seed, "scale": scale, "spec": spec.name, "metrics": errors,
        "config": json.loads(json.dumps(spec.as_dict())), "history": history, "seconds": 1800.0, "device": "a CPU",
        "started": "2026-01-02T03:04:05+00:00", "training": {"top1": train},
        "data": {"train": data, "test": LISTED[1], "name": name, "origin": f"pictures of {name}"},
    }  # fmt: skip


def pairs(variant, gains, more=0, **where):
    """A baseline and a variant that is worse by `gains` (points), a seed each; `more` seeds that repeat these."""
    gains = (*gains, *(gains[i % len(gains)] for i in range(more)))
    return [r for seed, gain in enumerate(gains)
            for r in (row(seed=seed, **where), row(variant, seed, 0.3 + gain / 100, **where))]  # fmt: skip


def entry(found, id):
    return next(e for e in scorecard.card(found) if e["claim"].id == id)


def test_each_claim_has_one_entry_with_evidence_or_a_reason():
    for found in ([], EVIDENCE, pairs("no-lrn", (1.0, 2.0))):
        table = scorecard.card(found)
        assert [e["claim"] for e in table] == list(CLAIMS)
        for e in table:
            assert (e["verdict"] == "not tested") == (not e["lines"]) == bool(e["reason"])
            assert e["verdict"].split(";")[0] in {*verdicts.VERDICTS, "not tested"}


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
    assert [line["n"] for line in e["lines"]] == [(2, 2), (2, 2), (1, 1)] and e["lines"][2]["verdict"] == "cannot tell"
    wide = pairs("no-lrn", (1.3, 1.5), data="whole") + pairs("no-lrn", (0.2, 0.3), width=0.5)
    assert [line["setting"][-9:] for line in entry(wide, "lrn")["lines"]] == ["80 images", "width 0.5"]


def test_a_claim_about_several_layers_is_as_good_as_the_worst_of_them():
    found = pairs("no-conv3", (9.4, 9.5)) + pairs("no-conv4", (-9.4, -9.5))[1::2] + pairs("no-conv5", (2.1, 2.0))[1::2]
    e = entry(found, "remove-middle")
    words = [line["verdict"].split(";")[0] for line in e["lines"]]
    assert words == ["opposite", "same direction, larger", "agrees"] and e["verdict"] == "opposite"


def test_primary_claims_are_corrected_by_holm():
    weak = pairs("one-tower", (2.0, 4.6), 2)
    quiet = [r for v in ("no-lrn", "non-overlapping", "no-conv3") for r in pairs(v, (0.0, 2.6), 2)[1::2]]
    alone, many = entry(weak, "two-gpus"), entry(weak + quiet, "two-gpus")
    p = many["lines"][0]["p"]
    assert alone["holm"] == alone["lines"][0]["p"] < 0.05 and alone["verdict"] == "agrees"
    assert 0.0125 < p < 0.05 and many["holm"] == pytest.approx(4 * p)
    assert many["verdict"].startswith("cannot tell; p =") and many["lines"][0]["verdict"] == many["verdict"]


def test_runs_that_all_diverged_are_the_reason_why_a_claim_is_not_tested():
    lost = [row("no-lrn", s) | {"metrics": {}, "history": []} for s in range(3)]
    e = entry([row(seed=s) for s in range(3)] + lost, "lrn")
    assert (e["verdict"], e["reason"]) == ("not tested", "all 3 runs of no-lrn diverged")


def test_settings_that_differ_are_not_compared():
    found = [row(), row("no-lrn", 0, 0.4, epochs=3), row("no-lrn", 0, 0.4, data="other")]
    assert entry(found, "lrn")["lines"] == []
    mixed = pairs("no-lrn", (1.0, 1.2)) + pairs("no-lrn", (5.0, 5.2), epochs=3)
    assert sorted(round(line["value"], 6) for line in entry(mixed, "lrn")["lines"]) == [1.1, 5.1]


def test_sample_runs_claim_nothing_and_stand_last(monkeypatch, tmp_path, reopened):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    generated = pairs("no-lrn", (9.0, 9.1), scale="sample")
    real = pairs("no-lrn", (1.4,), scale="imagenette128", data=LISTED[0], validation=0.1)
    for one in generated + real:
        rows.append(one)
    assert scorecard.record() == real and scorecard.record(sample=True) == real + generated
    e = entry(scorecard.record(sample=True), "lrn")
    assert [line["scale"] for line in e["lines"]] == ["imagenette128", "sample"] and e["verdict"] == "cannot tell"
    assert entry(generated, "lrn")["verdict"] == "sample run, not evidence for any claim"


def test_diverged_runs_are_counted_in_verdict_and_ledger():
    lost = row("no-lrn", 2) | {"metrics": {}, "history": [], "seconds": 0.0, "diverged": "NaN"}
    found = [*pairs("no-lrn", (1.3, 1.5)), row(seed=2), lost]
    assert entry(found, "lrn")["verdict"].endswith("; 1 diverged")
    part, total = costs.ledger(found)
    assert (part["runs"], part["diverged"], part["hours"]) == (6, 1, 2.5) and part["notebook"] == "03_ablations"
    assert part["images"] == 5 * 10 * 128 and total["runs"] == 6 and total["notebook"] == "all"
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
    assert line["value"] == pytest.approx(6.05 / 5) and line["n"] == (2, 2)
    assert entry(many, "ten-views-top5")["lines"][0]["value"] == pytest.approx(100 * 0.3 * (1 / 4 - 1 / 5))


@pytest.mark.parametrize(
    ("top1", "verdict"),
    [(0.40, "agrees"), (0.415, "agrees"), (0.43, "paper's size excluded"), (0.38, "paper's size excluded")],
)
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
    [((0.001,) * 4, "agrees"), ((0.001,) * 3, "cannot tell"), ((0.001,) * 9 + (0.05,), "opposite")],
)
def test_colour_in_one_tower_alone_is_asked_of_every_run(chances, verdict):
    found = [row(seed=i, steps=84_000) | {"colour": {"means": [0.1, 0.4], "p": p}} for i, p in enumerate(chances)]
    line = entry([*found, row(seed=99)], "colour-towers")["lines"][0]
    share = scipy_stats.binomtest(sum(p < 0.05 for p in chances), len(chances))
    low, high = share.proportion_ci(0.95, method="wilson")
    assert (line["value"], line["n"]) == (100 * share.statistic, (len(chances),)) and line["verdict"] == verdict
    assert (line["low"], line["high"]) == pytest.approx((100 * low, 100 * high), abs=0.01)
    generated = [one | {"scale": "sample"} for one in found]
    assert entry(generated, "colour-towers")["verdict"] == "sample run, not evidence for any claim"
    short = row(seed=9, steps=83_999) | {"colour": {"means": [0.1, 0.4], "p": 0.9}}  # judges nothing, hides nothing
    assert entry([short, *found], "colour-towers")["verdict"] == verdict
    assert entry([short], "colour-towers")["verdict"] == "regime not reached; 83,999 updates of the paper's 840,000"


def look(run, measured, queries=500):
    """A row of notebook 05 about a run."""
    about = {"study": "05_features", "scale": run["scale"], "queries": queries, "among": 1856}
    return about | {"run": {key: run[key] for key in ("study", "variant", "seed", "started")}, "measured": measured}


def test_what_notebook_05_measured_counts_beside_its_run(monkeypatch, tmp_path, reopened):
    run, bounds = row("source2012", 3, study="04_train"), {"neighbours": [30.0, 27.0, 33.0]}
    before, other = look(run, {"neighbours": [-9.0, -9.5, -8.5]}), look(row(seed=8), {"neighbours": [-9.0, -9.5, -8.5]})
    (line,) = entry([run, before, look(run, bounds), other], "neighbours")["lines"]
    assert [line["value"], line["low"], line["high"]] == bounds["neighbours"] and line[
        "verdict"
    ] == "cannot tell; one net"
    assert (line["study"], line["n"], line["runs"], line["hours"]) == ("05_features", (1,), 1, 0.5)
    assert line["setting"] == costs.setting(run) and line["name"] == "source2012, seed 3: 500 images among 1,856"
    fewer = look(run, {"neighbours": [1.0, -1.0, 3.0]}, queries=9)
    assert len(entry([run, look(run, bounds), fewer], "neighbours")["lines"]) == 2
    assert costs.ledger(effects.trained([run, fewer]))[-1]["runs"] == 1
    assert scorecard.in_points(scorecard.card([run, fewer])) == scorecard.in_points(scorecard.card([run]))
    bad = look(run, bounds) | {"withdrawn": {"neighbours": "counted twice"}}
    assert entry([run, bad], "neighbours")["lines"] == []
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    listed = row("source2012", study="04_train", data="94c8a27bbf907307", epochs=12)
    listed["data"]["test"] = "737d700b1d446c7e"
    for one in (listed, look(listed, bounds), look(row(seed=8), bounds)):  # what was measured of other runs is none
        rows.append(one)
    assert scorecard.record() == [listed, look(listed, bounds)]


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
    assert whole["lines"][0]["value"] == pytest.approx(per[0] / per[1]) and whole["lines"][0]["n"] == (2, 2)
    assert (
        whole["verdict"] == "same direction, smaller"
        and "four-layer net, 60 epochs at most" in whole["lines"][0]["setting"]
    )
    bound = entry(raced((slow, never, never)), "relu-speed")["lines"][0]
    assert bound["bound"] == "at least"
    assert scorecard.cells(REGISTER["relu-speed"], bound)["ours"] == f"at least {60 / per[1]:.2f}"
    lost = entry(raced((slow,) * 3, ((0.5, 0.2), never, never)), "relu-speed")
    assert lost["lines"][0]["bound"] == "at most" and lost["verdict"] == "cannot tell"
    both = entry(raced((slow,) * 3) + raced((slow,), ((0.5, 0.2),), stack="local"), "relu-speed")
    assert [(line["n"], line["name"][-9:]) for line in both["lines"]] == [((2, 2), "layer net"), ((1, 1), "local net")]


def test_runs_needed_until_an_effect_shows():
    found = pairs("no-lrn", (-1.0, 1.0, 3.0))
    (one,) = [r for r in costs.difficulty(scorecard.card(found)) if r["claim"] == "lrn"]
    line = entry(found, "lrn")["lines"][0]
    assert (one["size"], one["runs"], one["hours"]) == (1.4, "3 + 3", 3.0) and one["detectable"] == line["detectable"]
    assert one["needed"] == line["estimate"].runs_needed(1.4)
    assert costs.difficulty(scorecard.card(pairs("no-lrn", (1.0,)))) == []
    without = pairs("no-crops-flips", (1.0, 2.0)) + pairs("no-lrn", (1.0, 2.0))[1::2]
    ranked = costs.difficulty(scorecard.card(without))
    assert [r["needed"] is None for r in ranked] == sorted(r["needed"] is None for r in ranked)


def test_deviations_are_what_all_runs_of_a_notebook_share():
    found = [*pairs("no-lrn", (1.0,), epochs=12), row(study="04_train", scale="imagenet", epochs=90, validation=0.05)]
    found.insert(0, row("no-lrn", 1, epochs=12))  # what it alone has is no deviation of the notebook
    table = costs.deviations(found)
    assert [r["differs"] for r in table] == ["classes 1000 → 10, epochs 90 → 12", "nothing but the images"]
    assert table[0]["images"] == "pictures of imagenette" and table[0]["reading"] == "source2012"
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
    assert (cells["paper"], cells["2012 log"], cells["ours"], cells["runs"]) == ("1.4", "1.37", "1.4", "2 + 2")
    assert cells["later studies"] == "Mishkin 2017: -0.1; VGG 2014: -0.1"
    single = entry(pairs("no-lrn", (1.3,)), "lrn")["lines"][0]
    assert (scorecard.cells(REGISTER["lrn"], single)["95 % interval"], single["verdict"]) == ("-", "cannot tell")
    assert scorecard.cells(REGISTER["lrn"], None).keys() == cells.keys()
    counted = entry([], "parameters")
    assert scorecard.cells(counted["claim"], counted["lines"][0])["ours"] == "60,965,224"


def test_later_studies_in_one_line():
    assert REGISTER["error-2012"].studies == "Zeiler 2014: 40.5, replication; cuda-convnet2: 40.42"
    assert REGISTER["bias-one"].studies == "Mishkin 2017: no biases at all: top-1 2.6 pp worse"
    assert REGISTER["parameters"].studies == ""
