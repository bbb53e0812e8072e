"""The command line: what commands print and return; training itself is tested elsewhere."""

import shutil
from pathlib import Path

import pytest
import torch
from test_prepare import make_set
from torchvision.models import alexnet

from alexlib import __main__, report
from alexlib.config import runs_root
from alexlib.study import jobs, records, runs


@pytest.fixture
def command(capsys):
    """Runs a command; returns its status, its output and its errors."""

    def call(*words):
        with pytest.raises(SystemExit) as end:
            __main__.main(words)
        return end.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def images(tmp_path):
    """A folder with two classes of noise."""
    make_set(tmp_path / "set", "ab", counts=(12, 5))
    return str(tmp_path / "set")


@pytest.mark.parametrize(
    "words",
    ["train --scale nowhere", "train --set nothing 1", "train --epochs -1", "train --data no/where",
     "report 99", "report 04 -p epochs three", "report 04 -p epochs", "report all -p nothing 1",
     "data get nothing", "data pack no/where", "protocol nothing",
     "study a/b", "study mine --variants nothing", "compare nothing none"],
)  # fmt: skip
def test_a_mistake_of_the_user_is_an_error_line_and_status_2(command, words):
    code, output, errors = command(*words.split())
    assert code == 2 and output == "" and errors.startswith("error: ")


def test_training_leaves_a_row_and_is_opened_the_next_time(command, images):
    words = ["train", "--data", images, "--epochs", "1", "--seed", "7", "--batch", "4"]
    words += ["--set", "width", "0.03125", "--set", "input=64", "--set", "validation", "0.2"]
    code, output, _ = command(*words)
    assert code == 0 and "top-1 error, ten views: " in output
    (row,) = records.read("04_train", "sample", seed=7)
    assert row["variant"] == "source2012+input=64+width=0.03125+validation=0.2"
    assert row["config"]["train"]["batch"] == 4 and row["config"]["net"]["classes"] == 2
    code, again, _ = command(*words)
    assert code == 0 and output.endswith(again)
    assert records.read("04_train", "sample", seed=7) == [row]


def test_a_trained_net_predicts_is_exported_and_started_from(command, images, tmp_path):
    words = ["--data", images, "--epochs", "1", "--batch", "4", "--set", "width=0.03125"]
    words = ["train", *words, "--set", "input=64", "--set", "validation=0.2"]
    folder = Path(command(*words)[1].split()[-1])
    for pack in (runs_root() / "packs").glob("set-*"):  # its own: others may be in use
        shutil.rmtree(pack)
    file = f"{images}/val/b/0.png"
    code, output, errors = command("predict", folder.name, file, "none.png", file, "--top", "1")
    assert code == 1 and errors.startswith("error: none.png: ")
    assert output.split()[:3] == ["image", "class", "probability"] and output.count(file) == 2
    assert command("predict", folder.name, file)[0] == 0

    assert command("export", str(folder), str(tmp_path / "w.pth"))[0] == 0
    assert command("predict", str(tmp_path / "w.pth"), file)[0] == 2  # it has no mean image
    code, output, _ = command(*words, "--weights", folder.name)
    assert code == 0 and f"started from run {folder.name}" in output
    assert Path(output.split()[-1]) != folder and "weights" in output.split()[-1]
    (row,) = (row for row in records.read("04_train") if "weights" in row)
    assert not records.are_evidence([row])


@pytest.mark.slow
def test_notebook_05_shows_weights_of_others_at_the_size_that_they_need(command, images, tmp_path):
    torch.save(alexnet(num_classes=2).state_dict(), tmp_path / "w.pth")
    given = ["-p", "data", images, "-p", "weights", str(tmp_path / "w.pth")]
    assert command("report", "05", *given, "--out", str(tmp_path / "five.ipynb"))[0] == 0


def test_a_grid_is_resumed_listed_and_compared_and_says_what_failed(command, images, monkeypatch):
    words = ["study", "mine", "--data", images, "--epochs", "1", "--set", "batch", "4"]
    words += ["--set", "width=0.03125", "--set", "input=64", "--seeds", "2"]
    code, output, _ = command(*words)
    assert code == 0 and output.count("baseline") == 2

    def no_room(job, *options):
        if job.variant == "tanh":
            raise OSError("no room")
        jobs.run_or_row(job, *options)

    monkeypatch.setattr(runs, "run_or_row", no_room)
    code, _, errors = command(*words, "--variants", "tanh,no-lrn,baseline")
    assert code == 1 and "2 of 4 failed" in errors and "mine, sample, tanh, seed 1: OSErr" in errors
    found = [(row["variant"], row["seed"]) for row in records.read("mine")]
    assert sorted(found) == [(v, seed) for v in ("baseline", "no-lrn") for seed in (0, 1)]

    code, output, _ = command("runs", "--study", "mine", "--scale", "sample")
    assert code == 0 and output.count(" 1/1 ") == 4
    code, output, _ = command("compare", "mine-sample-baseline-seed0", "mine-sample-no-lrn-seed0")
    assert code == 0 and "lrn " in output and "top-1, ten" in output


def test_packing_lists_the_files_that_are_left_out(command, images):
    Path(images, "train", "a", "0.png").write_bytes(b"not an image")
    assert command("data", "pack", images, "--side", "32")[0] == 2
    code, output, _ = command("data", "pack", images, "--side", "32", "--on-error", "skip")
    assert code == 0 and "train: 23 images in 2 classes" in output and "0.png" in output


def test_parameters_are_given_as_two_words_or_with_an_equals_sign(command, monkeypatch):
    given = []
    monkeypatch.setattr(report, "run", lambda *words: (given.append(words), ("out.ipynb", ""))[1])
    words = ("report", "04_train", "--scale", "imagenette", "-p", "spec", "paper", "-p")
    assert command(*words, "epochs", "10")[:2] == (0, "out.ipynb\n")
    assert command(*words, "epochs=10", "--out", "x.ipynb")[0] == 0
    values = {"spec": "paper", "epochs": "10", "scale": "imagenette"}
    assert given == [(report.NOTEBOOKS[4], values, out) for out in (None, Path("x.ipynb"))]


def test_a_notebook_that_fails_does_not_stop_the_others(command, monkeypatch):
    done = iter([("a.ipynb", "In [1]: boom"), ("b.ipynb", "")])
    monkeypatch.setattr(report, "plan", lambda *_: {path: {} for path in report.NOTEBOOKS[:2]})
    monkeypatch.setattr(report, "run", lambda *_: next(done))
    code, output, errors = command("report", "all")
    assert code == 1 and output == "a.ipynb\nb.ipynb\n" and "boom" in errors
