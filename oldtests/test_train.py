"""The loop: it learns, repeats itself, survives being stopped, and says when it does not learn."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch

from alexold import augment, config, findings, rows, study
from alexold import train as train_module
from alexold.batches import Feed
from alexold.config import SOURCE2012
from alexold.data import Images
from alexold.layers import Dropout
from alexold.nets import AlexNet
from alexold.train import evaluate, fit, hit_bits, predict, score, training_part
from alexold.watch import Diverged, StuckWarning, Watch


@pytest.fixture(autouse=True)
def one_thread():
    """Nets this small gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


TINY = SOURCE2012.replace(
    input=64, classes=3, width=1 / 16, batch=8, epochs=3, validation=0.2, precision="fp32", schedule="constant"
)


def images(n=40, split="train", classes=3, seed=0):
    """Noise with stripes whose direction tells the class."""
    rng = np.random.default_rng([seed, split == "train"])
    labels = np.arange(n) % classes
    y, x = np.mgrid[:72, :72] / 4
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)])[:classes]
    pixels = 128 + 70 * waves[labels][..., None] + rng.normal(0, 20, (n, 72, 72, 3))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    mean = pixels.mean(0, dtype=np.float64).astype(np.float32)
    values, vectors = np.linalg.eigh(np.cov(pixels.reshape(-1, 3).T.astype(np.float64)))
    names, fingerprint = tuple("abc"[:classes]), f"{split}-{n}-{seed}"
    return Images(pixels, labels, names, mean, values, vectors, "stripes", split, fingerprint)


def build(spec=TINY, seed=0):
    torch.manual_seed(seed)
    return AlexNet(spec)


def trained(spec=TINY, train=None, **kwargs):
    train = images() if train is None else train
    model = build(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StuckWarning)
        return model, fit(model, train, images(9, "test"), spec, **kwargs)


def without_times(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "pictures_per_second")} for row in history]


def weights(model):
    return {name: p.clone() for name, p in model.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_stripes():
    spec = TINY.replace(epochs=10, dropout=0.0, lr=0.003, chunk=1, colour="none")
    model, history = trained(spec, images(96))
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]
    assert evaluate(model, images(30, "test"), spec)["top1"] < 0.1
    assert [row["epoch"] for row in history] == list(range(1, 11))
    assert history[-1]["step"] == 10 * 12


def test_same_seed_same_run_bit_for_bit():
    (a, rows_a), (b, rows_b) = trained(), trained()
    assert without_times(rows_a) == without_times(rows_b) and equal(weights(a), weights(b))
    _, other = trained(seed=1)
    assert without_times(other) != without_times(rows_a)


@pytest.mark.parametrize("schedule", ["plateau", "four-step"])
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path, schedule):
    spec = TINY.replace(schedule=schedule, epochs=4)
    whole, rows_whole = trained(spec, folder=tmp_path / "whole")
    trained(spec, folder=tmp_path / "cut", finish=1)
    trained(spec, folder=tmp_path / "cut", finish=3)
    parts, rows_parts = trained(spec, folder=tmp_path / "cut")
    assert without_times(rows_parts) == without_times(rows_whole) and equal(weights(whole), weights(parts))


@pytest.mark.parametrize("cut", [1, 4, 5, 7, 9])
def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path, monkeypatch, cut):
    """Interrupted in its step `cut` (5 an epoch), with a checkpoint after every step."""
    spec = TINY.replace(epochs=2)
    whole, rows_whole = trained(spec)
    monkeypatch.setattr(train_module, "SAVE_EVERY", -1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Watch, "__call__", lambda self, loss, step: interrupt(step == cut))
        trained(spec, folder=tmp_path)
    steps, called = [], Watch.__call__
    monkeypatch.setattr(Watch, "__call__", lambda self, loss, step: steps.append(step) or called(self, loss, step))
    rest, rows_rest = trained(spec, folder=tmp_path)
    assert steps == list(range(cut, 10)), "nothing that was saved is done again"
    assert without_times(rows_rest) == without_times(rows_whole) and equal(weights(whole), weights(rest))


def interrupt(now):
    if now:
        raise KeyboardInterrupt


def test_a_folder_with_another_run_is_refused(tmp_path):
    trained(folder=tmp_path, finish=1)
    with pytest.raises(ValueError, match=r"another run: seed \(0 there, 3 here\);"):
        trained(folder=tmp_path, seed=3)
    with pytest.raises(ValueError, match=r"train\.lr \(0\.01 there, 0\.02 here\)"):
        trained(TINY.replace(lr=0.02), folder=tmp_path)


def test_a_half_written_checkpoint_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    trained(folder=tmp_path, finish=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def interrupted(state, out):
        out.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(folder=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_bf16_follows_fp32():
    _, exact = trained(TINY.replace(dropout=0.0))
    _, rounded = trained(TINY.replace(dropout=0.0, precision="bf16"))
    for a, b in zip(exact, rounded, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=0.03)


def test_runs_in_bf16_end_where_runs_in_fp32_do():
    """The mean of six runs, within the standard deviation of single ones from seed to seed."""

    def final(precision):
        spec = TINY.replace(epochs=6, dropout=0.2, lr=0.002, chunk=1, colour="none", precision=precision)
        for seed in range(6):
            torch.manual_seed(seed)
            yield trained(spec, images(96), seed=seed)[1][-1]["train_loss"]

    exact, rounded = (np.fromiter(final(precision), float) for precision in ("fp32", "bf16"))
    assert (exact != rounded).all() and exact.max() < 0.9 < np.log(3)
    assert abs(rounded.mean() - exact.mean()) < exact.std(ddof=1)


def test_colour_ends_and_conv1_freezes_at_their_shares_of_the_run(tmp_path):
    """What the settings do after their share of the run shows in the weights, and not before."""

    def final(finish=None, **fields):
        model, _ = trained(TINY.replace(**fields), finish=finish)
        return weights(model)

    base = final(colour_end=1.0, conv1_freeze=1.0)
    assert not equal(base, final(colour_end=0.5, conv1_freeze=1.0))
    assert equal(final(1, colour_end=1.0), final(1, colour_end=0.5))
    frozen, early = final(conv1_freeze=1 / 3), final(1, conv1_freeze=1 / 3)
    assert torch.equal(frozen["conv1.weight"], early["conv1.weight"])
    assert not torch.equal(frozen["conv2.weight"], early["conv2.weight"])


def test_dropout_works_in_training_and_not_in_testing(monkeypatch):
    modes, forward = [], Dropout.forward
    monkeypatch.setattr(Dropout, "forward", lambda self, x: modes.append(self.training) or forward(self, x))
    model = build()
    fit(model, images(), images().subset([]), TINY.replace(epochs=1))
    assert modes and all(modes)
    modes.clear()
    predict(model, images(9, "test"), TINY)
    assert modes and not any(modes)


def seen_by_a_run(monkeypatch, seed):
    """The order of the pictures in each epoch, and the seeds of each step's augmentation."""
    order, draws = [], []
    served, augmented = Feed.__call__, augment.training_input

    def spy(pixels, mean, axes, size, settings, generator, *rest):
        draws.append(generator.initial_seed())
        return augmented(pixels, mean, axes, size, settings, generator, *rest)

    monkeypatch.setattr(Feed, "__call__", lambda self, parts: order.extend(torch.cat(parts)) or served(self, parts))
    monkeypatch.setattr(augment, "training_input", spy)
    train = images()
    fit(build(), train, train.subset([]), TINY.replace(epochs=2), seed=seed)
    monkeypatch.undo()
    return [list(map(int, part)) for part in np.split(np.array(order), 2)], draws


def test_each_epoch_has_its_order_and_each_step_its_augmentation(monkeypatch):
    (first, second), draws = seen_by_a_run(monkeypatch, 0)
    assert sorted(first) == sorted(second) == list(range(40)) and first != second != sorted(second)
    assert len(set(draws)) == len(draws) == 10
    (other, _), other_draws = seen_by_a_run(monkeypatch, 1)
    assert other != first and set(draws).isdisjoint(other_draws)


def test_prediction_averages_the_softmax_of_the_views_and_keeps_the_last_batch():
    model, test = build(), images(7, "test")
    probabilities = predict(model, test, TINY, views="ten", batch=3)
    model.eval()
    x = torch.from_numpy(test.pixels).float()
    centre = torch.from_numpy(test.mean)[4:68, 4:68]
    expected = torch.zeros(7, 3)
    for top, left in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4)):
        window = x[:, top : top + 64, left : left + 64]
        for view in (window, window.flip(2)):
            expected += model((view - centre).permute(0, 3, 1, 2)).softmax(1).detach() / 10
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=2e-5)
    np.testing.assert_allclose(predict(model, test, TINY, batch=2), predict(model, test, TINY, batch=7), atol=1e-6)


def test_score_is_the_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(8), 50).astype(np.float32)
    labels = rng.integers(0, 8, 50)
    both = list(zip(probabilities, labels, strict=True))
    ranks = [sorted(range(8), key=lambda c, p=p: (-p[c], c)).index(true) for p, true in both]
    found = score(probabilities, labels)
    assert found["top1"] == np.mean([r > 0 for r in ranks]) and found["top5"] == np.mean([r > 4 for r in ranks])
    assert found["loss"] == pytest.approx(-np.mean([np.log(p[true]) for p, true in both]))
    assert found["n"] == 50


def test_score_of_a_constant_guess_is_not_perfect():
    """Equal scores are ranked by class, so a net that says the same for every class is right once in C."""
    assert score(np.full((10, 10), 0.1, np.float32), np.arange(10)) == pytest.approx(
        {"loss": np.log(10), "top1": 0.9, "top5": 0.5, "n": 10}
    )


def test_divergence_stops_the_run_at_once_with_the_causes():
    with pytest.raises(Diverged, match=r"(?s)loss became (nan|inf).*learning rate"):
        trained(TINY.replace(lr=100.0, epochs=40))


def test_probabilities_that_are_no_numbers_are_no_prediction():
    model = build()
    torch.nn.init.constant_(model.fc8.bias, float("nan"))
    with pytest.raises(Diverged, match="probabilities are no longer numbers; known causes"):
        predict(model, images(9, "test"), TINY)


def test_a_loss_that_stays_at_a_guess_is_reported_once():
    watch = Watch(10, every=5)
    with pytest.warns(StuckWarning, match=r"2\.30.*ln 10: .*learning rate") as seen:
        for step in range(60):
            watch(torch.tensor(np.log(10) + 0.001), step)
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learning = Watch(10, every=5)
        for step in range(60):
            learning(torch.tensor(2.3 - 0.01 * step), step)


def test_plateau_needs_a_validation_share():
    spec = TINY.replace(schedule="plateau")
    with pytest.raises(ValueError, match="validation"):
        fit(build(spec), images(), images().subset([]), spec)


def test_a_run_leaves_one_row_and_is_opened_again_without_training(monkeypatch):
    train, test = images(), images(12, "test")
    first = study.run("99_try", "baseline", TINY, "sample", train, test, seed=4)
    assert first.trained_now and json.loads(json.dumps(first.row)) == first.row
    monkeypatch.setattr("alexold.optim.torch.optim.SGD.step", None)  # any training would fail
    again = study.run("99_try", "baseline", TINY, "sample", train, test, seed=4)
    assert not again.trained_now and again.row == first.row and equal(weights(first.model), weights(again.model))
    assert rows.read("99_try", "sample", seed=4) == [first.row]
    assert first.row["metrics"]["ten"]["n"] == 12
    assert first.row["metrics"]["centre"] == evaluate(first.model, test, TINY)
    errors, gains = findings.view_errors(first), findings.view_gains(first)
    assert [e["value"] for e in errors[:2]] == [100 * first.row["metrics"][v]["top1"] for v in ("centre", "ten")]
    assert gains[0]["value"] == pytest.approx(errors[0]["value"] - errors[1]["value"])
    assert {row["verdict"] for row in findings.compare(first)} == {
        "sample run, not evidence for any claim",
        "not tested",
    }
    np.testing.assert_allclose(again.probabilities["ten"], predict(first.model, test, TINY, views="ten"), atol=1e-3)


def grid(variants=("baseline", "small"), seeds=(0, 1), other=0, **fields):
    specs = {"baseline": TINY.replace(epochs=1, **fields), "small": TINY.replace(epochs=1, width=1 / 32, **fields)}
    train, test = images(seed=other), images(12, "test")
    return study.grid("99_grid", {v: specs[v] for v in variants}, seeds, "sample", train, test)


def test_a_grid_trains_what_is_not_on_record(monkeypatch):
    first = grid()
    assert [(r["seed"], r["variant"]) for r in first] == [(0, "baseline"), (0, "small"), (1, "baseline"), (1, "small")]
    assert rows.read("99_grid", "sample") == first
    trained, run = [], study.run
    monkeypatch.setattr(study, "run", lambda *a, **k: trained.append((a[1], k["seed"])) or run(*a, **k))
    shutil.rmtree(study.runs_root())  # rows are enough
    assert grid() == first and trained == []
    again = grid(seeds=(1, 2))
    assert again[:2] == first[2:] and trained == [("baseline", 2), ("small", 2)]
    with pytest.raises(ValueError, match="at least one seed and one variant"):
        grid(seeds=())
    grid(variants=("baseline",), seeds=(0,), lr=0.02)
    grid(variants=("baseline",), seeds=(0,), other=1)
    assert trained[2:] == [("baseline", 0)] * 2, "other settings or pictures are another run"


def test_a_run_of_a_grid_that_diverges_is_on_record():
    wild = TINY.replace(lr=100.0, epochs=40)
    train, test = images(), images(12, "test")
    for _ in range(2):
        (row,) = study.grid("99_wild", {"wild": wild}, (0,), "sample", train, test)
        assert row["metrics"] == {} and len(row["history"]) < 40 and "known causes" in row["diverged"]
    assert rows.read("99_wild", "sample") == [row]
    with pytest.raises(Diverged):
        study.run("99_try", "wild", wild, "sample", train, test)


def test_a_field_that_is_new_renames_no_run_and_no_checkpoint(tmp_path, monkeypatch):
    train = images()
    name = study.run_name("99_try", "baseline", TINY, "sample", 0, train)
    trained(folder=tmp_path, finish=1)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["settings"]["train.patience"]  # as if it had been written before the field came
    torch.save(state, tmp_path / "checkpoint.pt")
    _, history = trained(folder=tmp_path)
    assert len(history) == 3
    older = {field: about for field, about in TINY.fields.items() if field != "patience"}
    monkeypatch.setattr(config.Spec, "fields", older)
    assert study.run_name("99_try", "baseline", TINY, "sample", 0, train) == name


def test_a_row_keeps_hits_and_a_training_error_that_can_be_measured_again():
    train, test = images(), images(12, "test")
    run = study.run("99_hits", "baseline", TINY, "sample", train, test, seed=1)
    row, kept = run.row, {}
    for views, metrics in row["metrics"].items():
        for k in (1, 5):
            kept[views, k] = hit_bits(row["hits"][views][f"top{k}"], len(test))
            assert 1 - kept[views, k].mean() == pytest.approx(metrics[f"top{k}"])
    ranked = np.argsort(-predict(run.model, test, TINY), axis=1)
    assert (kept["centre", 1] == (ranked[:, 0] == test.labels)).all()
    fitted, _ = train.holdout(TINY.train.validation, 1) if TINY.train.validation else (train, None)
    part = training_part(fitted, 1)
    assert len(part) == len(fitted) and row["training"] == evaluate(run.model, part, TINY)
    few = training_part(fitted, 1, 5)
    assert len(few) == 5 and set(few.labels) <= set(fitted.labels)
    assert training_part(fitted, 2, 5).fingerprint != few.fingerprint


def test_the_seed_of_a_run_chooses_its_initial_weights():
    for seed in (3, 4):
        run = study.run(
            "99_start", "baseline", TINY.replace(epochs=0), "sample", images(), images(12, "test"), seed=seed
        )
        assert equal(weights(run.model), weights(build(seed=seed))) and run.row["history"] == []


@pytest.mark.parametrize(("top1", "expected"), [(0.404, "agrees"), (0.409, "agrees"), (0.42, "paper's size excluded")])
def test_an_error_on_imagenet_is_compared_with_the_papers(top1, expected):
    run = study.run("99_try", "baseline", TINY, "sample", images(), images(12, "test"), seed=4)
    ten = {"top1": top1, "top5": 0.181, "n": 50_000}
    run.row |= {"scale": "imagenet", "data": {"name": "imagenet"}, "metrics": {"ten": ten}}
    verdicts = {row["claim"]: row["verdict"] for row in findings.compare(run)}
    assert (verdicts["top-1 error, ten views"], verdicts["top-5 error, ten views"]) == (expected, "agrees")


@pytest.mark.parametrize("seed", [-1, "0", 1.5, True, None])
def test_seeds_that_are_none_are_refused(seed):
    with pytest.raises(ValueError, match="expected a whole number from 0"):
        study.run("99_try", "baseline", TINY, "sample", images(), images(12, "test"), seed=seed)


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="valid ones here: auto, cpu"):
        study.pick_device("cuda:7")
