"""What rows say, from rows whose truth is known; intervals by simulation; averages and halving."""

import base64
import functools
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from alexlib.config import FIGURE1, SCALES, SOURCE2012
from alexlib.data.images import Images
from alexlib.models.layers import Dropout
from alexlib.study import measures, race
from alexlib.study.measures import EARLY, LENGTH, OVERFITTING, TEST, TRAINING, effect, overfitting
from alexlib.study.variants import baseline, variants


def bits(right):
    return base64.b64encode(np.packbits(right).tobytes()).decode()


@functools.cache
def settings(variant, scale, **fields):
    base = baseline(scale, **fields)
    return json.dumps(variants(base).get(variant, base).as_dict())


def row(variant="baseline", seed=0, test=0.3, training=0.1, *, scale="miniimagenet", **more):
    """A row as a run leaves it: top-1 errors on 1,000 images (or `wrong`, a boolean for each).

    `more`: wrong, study, data (fingerprint), steps; all else are fields of its config.
    """
    wrong = more.pop("wrong", np.random.default_rng(7).permutation(1000) < round(1000 * test))
    errors = {"top1": float(wrong.mean()), "top5": float(wrong.mean()) / 4, "n": len(wrong)}
    hits = dict.fromkeys(("top1", "top5"), bits(~wrong))
    study, data = more.pop("study", "03_ablations"), more.pop("data", "d")
    last = {"step": more.pop("steps", 10), "train_top1": training, "plain_loss": None, "lr": 0.01}
    return {
        "study": study, "scale": scale, "variant": variant, "seed": seed, "spec": "source2012",
        "config": json.loads(settings(variant, scale, **more)), "history": [last],
        "metrics": {"ten": errors, "centre": errors}, "hits": {"ten": hits, "centre": hits},
        "training": {"top1": training}, "device": "a CPU, 1 threads", "started": f"{seed} o'clock",
        "data": {"train": data, "test": "t", "name": SCALES[scale].source},
    }  # fmt: skip


# ---- effects -------------------------------------------------------------------------------------


def test_overfitting_and_the_regime_are_measured_in_eval_mode_or_not_known():
    found = [row("baseline", s, 0.32, 0.25) for s in (0, 1)]
    found += [row("no-dropout", s, 0.33, 0.10) for s in (0, 1)]
    for one in found:
        one["history"][-1]["train_top1"] = 0.9  # the running error has no part in it
    of = functools.partial(effect, found, "no-dropout", "baseline")
    values = [of(measure).value for measure in (TEST, OVERFITTING, TRAINING)]
    assert values == pytest.approx([33 - 32, 23 - 7, 10 - 25])
    assert measures.regime(found[:2]) == pytest.approx(7) == overfitting(found[0])
    del found[0]["training"]
    assert of(OVERFITTING) is None and measures.regime(found[:2]) is None and of(TEST) is not None


def test_only_rows_that_differ_by_the_variant_and_the_rate_are_compared():
    alike = [row(), row("no-lrn", lr=0.02), row("no-lrn", 1)]
    where = {"epochs": 3}, {"data": "other"}, {"scale": "imagenette"}, {"study": "rates"}
    others = [row("no-lrn", **fields) for fields in where]
    assert measures.comparable([*others, *alike]) == [alike]
    short = row(epochs=3)
    assert measures.comparable([short, *others, *alike]) == [[short, others[0]], alike]


def test_epochs_to_a_loss_at_the_first_rate_are_a_ratio():
    slow, fast = (4.0, 3.5, 3.0, 2.75, 2.25), (3.5, 2.0)  # to 2.5: 4.5 epochs, and 1 + 1 / 1.5
    early = 1.5 / ((math.log(100) - 4.0) / (math.log(100) - 3.5))  # to 4.0
    constant, falling = [0.01] * 5, [0.01] * 4 + [0.001]
    for variant, measure, base, other, rates, value, bound in (
        ("no-dropout", LENGTH, slow, fast, constant, 4.5 / (1 + 1 / 1.5), ""),
        ("no-dropout", LENGTH, slow, fast, falling, 4 / (1 + 1 / 1.5), "at least"),
        ("bias-zero", EARLY, (3.5, 3.0), (4.5, 3.5), constant, early, ""),
    ):
        found = []
        for name, losses in (("baseline", base), (variant, other)):
            epochs = [{"plain_loss": x, "lr": lr} for x, lr in zip(losses, rates, strict=False)]
            found += [row(name, seed) | {"history": epochs} for seed in (0, 1)]
        made = effect(found, variant, "baseline", measure)
        assert math.exp(made.value) == pytest.approx(value) and made.bound == bound


def test_intervals_cover_the_truth_and_seeds_alone_would_not():
    """Images differ in difficulty and in what the variant does to them; so do the seeds."""
    rng, covered, by_seeds = np.random.default_rng(3), [], []
    for _ in range(400):
        rate, effects = rng.uniform(0.25, 0.55, 1000), 0.05 + rng.uniform(-0.15, 0.15, 1000)
        found = []
        for name, rates, runs in (("baseline", rate, 6), ("no-lrn", rate + effects, 3)):
            missed = [rng.random(1000) < rates + rng.normal(0, 0.006) for _ in range(runs)]
            found += [row(name, seed, wrong=wrong) for seed, wrong in enumerate(missed)]
        made = effect(found, "no-lrn", "baseline", TEST)
        low, high = made.interval()
        covered.append(low <= 5 <= high)
        by_seeds.append(abs(made.value - 5) <= 1.96 * math.sqrt(made.seeds))
    assert 0.925 <= np.mean(covered) <= 0.98 and np.mean(by_seeds) < 0.925


# ---- the race ------------------------------------------------------------------------------------


def curve(*errors):
    return [{"train_top1": error} for error in errors]


def test_a_target_is_met_on_the_line_between_epochs():
    falling, targets = curve(0.6, 0.4, 0.2, 0.3, 0.1), (0.95, 0.75, 0.6, 0.25, 0.2, 0.15, 0.05)
    found = [race.reached(falling, target, 0.9) for target in targets]
    assert found == pytest.approx([0, 0.5, 1, 2.75, 3, 4.75, math.inf])
    assert race.reached([], 0.5, 0.9) == math.inf


def test_the_search_leaves_the_edges_of_its_grid():
    for best, added in ((0.003, []), (0.03, [0.033, 0.11]), (0.0003, [0.00033, 0.00011])):

        def run(rates, best=best):
            return {rate: curve(0.2 + abs(math.log(rate / best)) / 10) for rate in rates}

        found, histories = race.search(run, [0.01, 0.001, 0.003], 0.25, 0.9)
        assert list(histories) == pytest.approx([0.001, 0.003, 0.01, *added])
        assert abs(math.log(found / best)) < 0.2


def runner(*errors, activation="relu", lr=0.001, seed=1, **changes):
    config = FIGURE1.replace(activation=activation, lr=lr, **{"epochs": 10} | changes)
    return {"history": curve(*errors), "config": config.as_dict(), "seed": seed}


FAST, SLOW, NEVER = (0.5, 0.25), (0.7, 0.6, 0.5, 0.4, 0.3, 0.25), (0.8, 0.7)


def test_runs_that_never_arrive_count_with_all_their_epochs():
    for slow, fast, value, bound in (
        ((SLOW, SLOW), (FAST, FAST), 6 / 2, ""),
        ((SLOW, NEVER), (FAST, FAST), math.sqrt(6 * 10) / 2, "at least"),
        ((SLOW, SLOW), (FAST, NEVER), 6 / math.sqrt(2 * 10), "at most"),
        ((NEVER, NEVER), (NEVER, FAST), 10 / math.sqrt(10 * 2), "unknown"),
    ):
        found = race.sooner([runner(*e) for e in slow], [runner(*e) for e in fast], 0.25)
        assert math.exp(found.value) == pytest.approx(value) and found.bound == bound
    with pytest.raises(ValueError, match=r"0\.25"):
        race.sooner([runner(*SLOW)], [runner(*FAST)], 0.2)


def test_seed_0_chooses_the_rate_and_the_others_count():
    seed0 = [runner(*SLOW, seed=0), runner(*FAST, lr=0.003, seed=0)]
    tanh = runner(*SLOW, activation="tanh", seed=0)
    others = [runner(*SLOW, lr=0.003, seed=seed) for seed in (1, 2)]
    elsewhere = [runner(*FAST, lr=0.01, seed=0, epochs=5), runner(*FAST, lr=0.1)]
    elsewhere.append(runner(*FAST, lr=0.01, seed=0, flip=True))
    found = race.at_best_rates([*elsewhere, *seed0, tanh, *others], FIGURE1.replace(epochs=10))
    assert found == {("four-layer", "relu"): others, ("four-layer", "tanh"): [tanh]}


# ---- averages and halving ------------------------------------------------------------------------


def test_an_average_is_scored_as_one_net():
    labels, nets = np.arange(40) % 4, np.random.default_rng(0).dirichlet(np.ones(4), (3, 40))
    made = measures.ensemble([row(seed=s) for s in range(3)], [{"ten": p} for p in nets], labels)
    right, values = nets.sum(0).argmax(1) == labels, made["values"]["ten"]
    assert (values["top1"], values["hits"]["top1"]) == (1 - right.mean(), bits(right))
    assert all(key.items() <= row(seed=s).items() for s, key in enumerate(made["runs"]))


def test_halving_one_layer_of_dropout_is_the_geometric_mean():
    """For one layer before a softmax the paper's statement is exact, up to sampling."""
    config = SOURCE2012.replace(input=32, classes=4, precision="fp32")
    rng, n = np.random.default_rng(0), 32
    pixels = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels, mean = np.arange(n) % 4, np.full((32, 32, 3), 120, np.float32)
    test = Images(pixels, labels, tuple("abcd"), mean, np.ones(3), np.eye(3), "n", "test", "f")
    model = nn.Sequential(nn.Flatten(), Dropout(0.5), nn.Linear(3072, 4))
    nn.init.normal_(model[2].weight, std=5e-4, generator=torch.Generator().manual_seed(0))
    made = measures.halving(model, row() | {"config": config.as_dict()}, test, nets=800)
    found = made["values"]

    x = torch.tensor((pixels - mean).transpose(0, 3, 1, 2))
    masks = torch.randint(0, 2, (300, 1, 3072))  # other nets than those that were drawn
    with torch.no_grad():
        nets = model[2](masks * x.flatten(1)).softmax(2).numpy()  # (300, n, 4)
        halved = model(x).softmax(1).numpy()
    single = 0.5 * np.abs(nets - halved).sum(2).mean()
    assert found["distance"]["single"] == pytest.approx(single, rel=0.05) and single > 0.1
    arithmetic = 0.5 * np.abs(nets.mean(0) - halved).sum(1).mean()
    assert found["distance"]["arithmetic"] == pytest.approx(arithmetic, rel=0.3)
    sampling = found["distance"]["sampling"]  # of half as many nets, twice
    assert found["distance"]["halved"] == pytest.approx(sampling / 2, rel=0.2) and sampling < 0.1
    assert found["top1"]["halved"] == np.mean(halved.argmax(1) != labels) and made["n"] == n
    assert found["top1"]["single"] == pytest.approx(np.mean(nets.argmax(2) != labels), abs=0.02)
    gain = found["distance"]["single"] - found["distance"]["halved"]
    assert found["gain"][0] == pytest.approx(gain) and found["gain"][1] < gain < found["gain"][2]
