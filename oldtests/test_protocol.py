"""What is evidence and what is only a run; rates; the command that carries the protocol out and goes on."""

import json

import pytest

from alexold import data, protocol, rows, scorecard, studies, study
from alexold.config import SCALES, spec_at
from alexold.protocol import BLOCKS, Block, best_rate, block_of

MINI = next(block for block in BLOCKS if block.id == "baseline")


def listed(**changes):
    """A row that the block of the baselines on 100 classes lists, with some fields changed."""
    spec = MINI.base.replace(**{k: v for k, v in changes.items() if k in MINI.base.fields})
    about = {k: v for k, v in changes.items() if k not in MINI.base.fields}
    row = {"study": MINI.study, "scale": MINI.scale, "variant": "baseline", "seed": 0, "spec": "source2012"}
    row |= {"config": json.loads(json.dumps(spec.as_dict())), "metrics": {}, "history": [], "device": "a CPU"}
    return row | {"data": dict(zip(("train", "test"), MINI.data, strict=True))} | about


@pytest.fixture
def folders(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_blocks_are_whole():
    assert len({block.id for block in BLOCKS}) == len(BLOCKS)
    for block in BLOCKS:
        assert block.scale in SCALES and block.base and (block.variants or block.free)
        specs = [block.spec(variant) for variant in block.variants]
        assert len(set(map(str, specs))) == len(specs), f"{block.id}: two variants are the same"
    runs = {variant: n for block in BLOCKS if block.scale == "miniimagenet" for variant, n in block.variants.items()}
    assert runs["baseline"] == 6 and set(runs.values()) == {3, 6}


def test_the_baseline_of_100_classes_has_the_schedule_of_the_protocol():
    t = MINI.base.train
    assert (t.epochs, t.batch, t.lr, t.conv1_freeze) == (24, 128, 0.01, 1.0) and MINI.base.net.width == 0.5
    rates = [optim_rates(t, epoch) for epoch in (0, 17, 18, 20, 21, 23)]
    assert [w for w, _ in rates] == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])
    assert [b for _, b in rates] == pytest.approx([0.02, 0.02, 2e-3, 2e-3, 2e-4, 2e-4])


def optim_rates(t, epoch):
    from alexold.optim import learning_rates

    return learning_rates(t, [{}] * epoch)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"train": "somebody's", "test": MINI.data[1]}},
        {"data": {"train": MINI.data[0], "test": "somebody's"}},
        {"seed": 6},
        {"variant": "mine"},
        {"study": "04_train"},
        {"scale": "imagenette128"},
        *({key: value} for key, value in (("epochs", 25), ("width", 0.25), ("lr", 0.02), ("precision", "fp32"))),
        {"activation": "leaky_relu"},
    ],
    ids=str,
)
def test_whatever_the_protocol_does_not_list_is_no_evidence(changes, folders):
    assert block_of(listed()) is MINI and block_of(listed(**changes)) is None
    for row in (listed(), listed(**changes)):
        rows.append(row)
    assert rows.everything() == [listed()] == scorecard.record()
    assert len((folders / "runs" / "results" / f"{listed(**changes)['study']}.jsonl").read_text().splitlines()) == 1
    assert listed(**changes) in rows.read(**{k: listed(**changes)[k] for k in ("study", "scale")})  # known to its owner


def test_runs_on_strangers_images_do_not_move_a_claim(folders):
    """README's recipe for a folder of one's own, and a grid on toy images under the scale's name."""
    before = [(e["claim"].id, e["verdict"]) for e in scorecard.card(scorecard.record())]
    for variant in ("baseline", "no-decay", "no-lrn"):
        for seed in range(3):
            rows.append(listed(variant=variant, seed=seed, data={"train": "toys", "test": "toys"}))
    rows.append(listed(study="04_train", variant="source2012", data={"train": "toys", "test": "toys"}))
    assert [(e["claim"].id, e["verdict"]) for e in scorecard.card(scorecard.record())] == before
    assert not list((folders / "reports").rglob("*.jsonl"))


def test_superseded_rows_and_measures_of_other_runs_are_left_out(folders):
    run = {"study": MINI.study, "variant": "baseline", "seed": 0}
    about = {"study": "measures", "scale": MINI.scale, "kind": "ensemble"}
    rows.append(listed())
    rows.append(listed(seed=1) | {"superseded": "a reason"})
    rows.append(about | {"runs": [run]})
    rows.append(about | {"runs": [run, run | {"seed": 1}]})
    assert [row.get("seed", row["study"]) for row in rows.everything()] == [0, "measures"]


def test_rate_checks_are_evidence_at_the_three_rates_alone():
    depth = next(block for block in BLOCKS if block.id == "depth")
    row = listed(variant="no-conv3", study="rates", of=MINI.study, epochs=0)
    for lr, there in ((0.005, True), (0.01, True), (0.02, True), (0.03, False)):
        spec = depth.spec("no-conv3", lr)
        checked = row | {"config": json.loads(json.dumps(spec.as_dict())), "epochs": depth.check}
        assert (block_of(checked) is depth) == there
        assert block_of(checked | {"seed": 1}) is None
    base = json.loads(json.dumps(MINI.spec("baseline", 0.02).as_dict()))
    beside = row | {"variant": "baseline", "config": base, "epochs": depth.check}  # checked with this block
    assert block_of(beside) is depth and block_of(beside | {"study": MINI.study}) is None


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({0.005: 0.50, 0.01: 0.51, 0.02: 0.60}, 0.01),  # better by less than two points
        ({0.005: 0.48, 0.01: 0.51, 0.02: 0.60}, 0.005),
        ({0.005: 0.48, 0.01: None, 0.02: 0.47}, 0.02),  # the scale's own diverged
        ({0.005: None, 0.01: 0.9, 0.02: None}, 0.01),
    ],
)
def test_another_rate_has_to_be_better_by_two_points(errors, chosen):
    assert best_rate({lr: e and {"val_top1": e} for lr, e in errors.items()}, 0.01) == chosen


@pytest.fixture
def block(monkeypatch, folders):
    """A block of two variants on generated images, with a rate check."""
    train, test = data.load("sample", 146)
    small = train.subset(range(160)), test.subset(range(40))
    fields = {"width": 0.0625, "input": 128, "epochs": 2}
    made = Block("try", "99_try", "sample", "source2012", (small[0].fingerprint, small[1].fingerprint), fields,
                 {"baseline": 2, "no-lrn": 1}, check=1)  # fmt: skip
    monkeypatch.setattr(protocol, "BLOCKS", (made,))
    monkeypatch.setattr(data, "load", lambda *_: small)
    return made


def test_a_rate_check_is_the_beginning_of_the_run(block):
    train, test = data.load()
    spec = block.spec("baseline")
    study.check_rate("99_try", "baseline", spec, "sample", train, test, 0, 1)
    (checked,) = rows.read("rates", "sample")
    run = study.run("99_try", "baseline", spec, "sample", train, test)
    first = run.row["history"][0]
    assert len(checked["history"]) == 1 and checked["metrics"] == {} and checked["of"] == "99_try"
    assert checked["history"][0] == first  # the same epoch, not made again


def test_the_command_runs_what_is_missing_and_nothing_twice(block, monkeypatch):
    done, real = [], studies._job

    def inline(function, calls, *_):
        for call in calls:
            done.append((call[0], call[2], call[3], call[4]))
            real(*call)
        return []

    monkeypatch.setattr(studies, "each", inline)
    studies.carry_out()
    lr = spec_at("source2012", "sample").train.lr
    assert sorted(done)[:6] == [("check", v, f * lr, 0) for v in ("baseline", "no-lrn") for f in (0.5, 1, 2)]
    assert sorted(key[1:2] + key[3:] for key in done[6:]) == [("baseline", 0), ("baseline", 1), ("no-lrn", 0)]
    kept = rows.read("99_try", "sample")
    assert len(kept) == 3 and all("hits" in row and row["training"]["n"] <= 160 for row in kept)
    kinds = sorted(row["kind"] for row in rows.read("measures", "sample"))
    assert kinds == ["ensemble", "halving", "halving"]
    done.clear()
    studies.carry_out()
    assert done == [] and rows.read("99_try", "sample") == kept
    with pytest.raises(ValueError, match="unknown block nothing: valid ones: try"):
        studies.carry_out(["nothing"])


def test_other_images_are_left_out_with_a_word(block, monkeypatch, capsys):
    train, test = data.load()
    monkeypatch.setattr(data, "load", lambda *_: (train.subset(range(9)), test))
    studies.carry_out()
    assert "left out, the images here" in capsys.readouterr().err and rows.read("99_try", "sample") == []
