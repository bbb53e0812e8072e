"""Reports: a tiny notebook goes through papermill and nbconvert as the real ones do."""

import json
import os

import nbformat.v4 as v4
import numpy as np
import pytest
import torch

from alexold import __main__, report, rows, site
from alexold.data import Images
from alexold.paths import ROOT

PARAMETERS = 'scale = "sample"  # data = net = schedule\nepochs: int | None = 3  # passes'
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([epochs])\nprint(open)  # some output"
SLIDER = "import ipywidgets\nipywidgets.IntSlider()"
FAILING = "from alexold import config\nconfig.scale_of('nowhere')"


def notebook(path, *sources, parameters=PARAMETERS):
    cells = [v4.new_markdown_cell("# Tiny"), v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [v4.new_code_cell(source) for source in sources]
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path.write_text(v4.writes(v4.new_notebook(cells=cells, metadata={"kernelspec": spec})))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A report made while the environment asks for a backend without figures."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        out = report.run(notebook(folder / "10_tiny.ipynb", FIGURE, SLIDER), parameters={"epochs": 5})
        assert os.environ["MPLBACKEND"] == "Agg"
    return out


def test_report_holds_figures_and_parameters(done):
    assert done.name == "10_tiny.ipynb" and done.parent == report.reports_root() / "sample"
    assert "epochs = 5" in done.read_text() and '"image/png"' in done.read_text()
    page = done.with_suffix(".html").read_text()
    assert "data:image/png" in page and 'name="viewport"' in page and site.STYLE in page
    assert site.loads(done.with_suffix(".html")) == []
    assert sorted(p.name for p in done.parent.glob("*10_tiny*")) == ["10_tiny.html", "10_tiny.ipynb"]


def test_report_holds_no_dead_widgets(done):
    cell = json.loads(done.read_text())["cells"][-2]
    assert "ipywidgets" in "".join(cell["source"]) and cell["outputs"] == []
    assert "widget" not in done.read_text().replace("ipywidgets", "")
    assert "html-manager" not in done.with_suffix(".html").read_text()


def test_report_names_no_folder_of_this_machine(done):
    meta = json.loads(done.read_text())["metadata"]["papermill"]
    assert meta["input_path"] == "10_tiny.ipynb" and not meta["output_path"].startswith("/")
    assert str(ROOT) not in done.read_text() and str(report.Path.home()) + "/" not in done.read_text()


def test_report_says_what_it_was_made_with(done):
    book = json.loads(done.read_text())
    made, block = book["metadata"]["alexold"], "".join(book["cells"][-1]["source"])
    assert made["commit"] == rows.provenance("cpu")["commit"] and made["versions"]["torch"] == torch.__version__
    assert made["device"].startswith(rows.device_name("cpu").split(",")[0]) and made["pictures"] == [] and made["failure"] == ""
    assert block.startswith("## Made with") and made["commit"].rstrip("+") in block and made["device"] in block
    assert "`epochs = 5`" in block and "`scale = 'sample'`" in block and torch.__version__ in block
    assert ("changed since" in block) == made["commit"].endswith("+")
    assert not any("made_with" in "".join(cell["source"]) for cell in book["cells"])
    assert (
        "Made with" in done.with_suffix(".html").read_text()
        and "<title>Tiny</title>" in done.with_suffix(".html").read_text()
    )


def test_sets_of_pictures_are_named_once_by_fingerprint():
    training, test = sample_sets()
    names = {"a": training, "b": training, "c": test, "n": 3, "device": "cpu"}
    made = report.made_with(names)
    assert made["pictures"] == [
        f"tiny, train: 4 pictures, {training.fingerprint}",
        f"tiny, test: 4 pictures, {test.fingerprint}",
    ]
    assert made["device"] == rows.device_name("cpu")


def sample_sets():
    pixels, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    shared = dict(
        classes=("a", "b"), mean=np.zeros((8, 8, 3), np.float32), eigenvalues=np.ones(3), eigenvectors=np.eye(3)
    )
    return (
        Images(pixels, labels, name="tiny", split=split, fingerprint=f"print-{split}", **shared)
        for split in ("train", "test")
    )


def test_failing_notebook_keeps_its_report(tmp_path, capfd):
    path, out = notebook(tmp_path / "11_failing.ipynb", FAILING), report.reports_root() / "sample/11_failing.ipynb"
    assert __main__.main(["report", str(path)]) == 1
    error = capfd.readouterr().err
    assert "error: 11_failing failed, In [3]: ValueError: unknown scale 'nowhere'" in error
    assert "failed</span>: In [3]: ValueError: unknown scale" in (out.parent / "index.html").read_text()
    assert "**failed**: `In [3]: ValueError" in "".join(json.loads(out.read_text())["cells"][-1]["source"])
    assert "Traceback" not in error and "TCP" not in error and str(out.with_suffix(".html")) in error
    traceback = json.loads(out.read_text())["cells"][-2]["outputs"][0]["traceback"]
    assert "alexold/config.py" in "".join(traceback) and str(ROOT) not in "".join(traceback)
    assert "unknown scale" in out.with_suffix(".html").read_text()


def test_unknown_parameter_is_refused_with_the_valid_ones(tmp_path):
    path = notebook(tmp_path / "12_tiny.ipynb")
    with pytest.raises(report.ReportError, match="no parameter epoch;") as caught:
        report.run(path, parameters={"epoch": 5})
    assert 'scale = "sample"  # data = net = schedule\n  epochs: int | None = 3  # passes' in str(caught.value)
    assert not list(report.reports_root().rglob("12_tiny*"))


def test_a_report_goes_where_it_is_told_to(tmp_path, capsys):
    path, out = notebook(tmp_path / "14_tiny.ipynb"), tmp_path / "kept" / "other.ipynb"
    assert __main__.main(["report", str(path), "--out", str(out), "-p", "epochs", "7"]) == 0
    assert capsys.readouterr().out.strip() == str(out) and "epochs = 7" in out.read_text()
    assert out.with_suffix(".html").exists() and not list(report.reports_root().rglob("14_tiny*"))
    assert __main__.main(["report", str(path), "--out", str(tmp_path)]) == 1
    assert __main__.main(["report", "all", "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert "expected the name of a notebook" in errors and "for one notebook" in errors


KINDS = """scale: str = "sample"  # sample or cifar10: which pictures
epochs: int = 3  # passes
rate: float = 0.1  # learning rate
pictures: bool = True  # show them
name: str = "a"  # of the run
some: list[int] = []  # not checked"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", "three"), ("epochs", 3.0), ("epochs", True), ("epochs", None), ("rate", "0.1,0.2"), ("rate", False),
     ("pictures", 1), ("pictures", "no"), ("name", 7)],
)  # fmt: skip
def test_values_that_do_not_fit_the_annotation_are_refused(tmp_path, name, value):
    path = notebook(tmp_path / "15_kinds.ipynb", parameters=KINDS)
    with pytest.raises(report.ReportError, match=f"15_kinds does not take {name} = .*; it has:\n  {name}: ") as caught:
        report.run(path, {name: value})
    assert caught.value.args[0].count("\n") == 1 and not list(report.reports_root().rglob("15_kinds*"))


def test_values_that_fit_are_taken(tmp_path):
    path = notebook(tmp_path / "15_kinds.ipynb", parameters=KINDS)
    given = {"epochs": 0, "rate": 1, "pictures": False, "name": "b", "some": 3, "scale": "cifar10"}
    assert report.checked(path, given) == given
    assert report.checked(path, {}) == {"scale": "sample"}
    assert report.checked(notebook(tmp_path / "16_old.ipynb"), {"epochs": None})["epochs"] is None  # int | None


def test_a_scale_that_the_notebook_does_not_name_is_refused(tmp_path):
    path = notebook(tmp_path / "15_kinds.ipynb", parameters=KINDS)
    with pytest.raises(report.ReportError, match="15_kinds has no scale imagenet; it has: sample, cifar10"):
        report.run(path, {"scale": "imagenet"})
    none = notebook(tmp_path / "16_none.ipynb", parameters="n = 1")
    with pytest.raises(report.ReportError, match="no parameter scale; it has:\n  n = 1"):
        report.run(none, {"scale": "sample"})


@pytest.mark.parametrize("name", report.notebooks())
def test_notebooks_say_what_they_take(name):
    parameters = report.parameters_of(report.find(name))
    assert all(p.kind for p in parameters.values()), "without an annotation its values are not checked"
    if "scale" in parameters:
        assert "sample" in parameters["scale"].scales, "name the scales in the comment: others are refused"


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory):
    """`report all` over three notebooks, one of which fails, and one that lacks the scale."""
    folder, out = tmp_path_factory.mktemp("books"), tmp_path_factory.mktemp("out")
    notebook(folder / "20_good.ipynb", "n = epochs", parameters=KINDS)
    notebook(folder / "21_bad.ipynb", "1 / 0", parameters='scale: str = "sample"  # all\nrate: float = 0.1  # rate')
    notebook(folder / "22_none.ipynb", "n", parameters="n: int = 1  # count")
    notebook(folder / "23_other.ipynb", parameters='scale: str = "sample"  # sample or imagenet')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "NOTEBOOKS", folder)
        patch.setenv("ALEXLIB_REPORTS", str(out))
        code = __main__.main(["report", "all", "--scale", "cifar10", "-p", "epochs", "4", "-p", "rate", "0.5"])
    return code, out


def test_all_runs_all_and_fails_if_one_fails(all_of_them):
    code, out = all_of_them
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    books = [
        f"{name}.{kind}" for name in ("22_none", "cifar10/20_good", "cifar10/21_bad") for kind in ("html", "ipynb")
    ]
    assert code == 1 and made == sorted([*books, "index.html"])
    given = {
        path.stem: json.loads(path.read_text())["metadata"]["papermill"]["parameters"] for path in out.rglob("*.ipynb")
    }
    assert given == {
        "20_good": {"scale": "cifar10", "epochs": 4, "rate": 0.5},
        "21_bad": {"scale": "cifar10", "rate": 0.5},
        "22_none": {},
    }


def test_the_index_tells_who_failed(all_of_them, monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(all_of_them[1]))
    lines = [line for line in (all_of_them[1] / "index.html").read_text().splitlines() if line.startswith("<tr>")]
    assert ["failed" in line for line in lines] == [False, False, True] and "22_none.html" in lines[0]
    assert "In [3]: ZeroDivisionError: division by zero" in lines[2] and "rate = 0.5" in lines[2]
    assert "<td>cifar10</td><td>complete</td>" in lines[1] and "epochs = 4" in lines[1]
    assert site.dead_links(all_of_them[1].rglob("*.html")) == []


def test_all_is_checked_before_anything_runs(tmp_path, monkeypatch, capsys):
    notebook(tmp_path / "20_good.ipynb", parameters=KINDS)
    monkeypatch.setattr(report, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(report, "run", None)
    assert __main__.main(["report", "all", "-p", "epoch", "4"]) == 2
    assert __main__.main(["report", "all", "-p", "epochs", "four"]) == 2
    assert __main__.main(["report", "all", "--scale", "cifar"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "error: no notebook has a parameter epoch" and "does not take epochs = 'four'" in errors[1]
    assert "unknown scale 'cifar'" in errors[3]


def test_a_report_is_stale_once_its_notebook_has_other_parameters(done, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    assert report.stale(done) == "there is no 10_tiny.ipynb"
    book = notebook(tmp_path / "10_tiny.ipynb", FIGURE, SLIDER)
    assert report.stale(done) == ""
    book.write_text(book.read_text().replace("# Tiny", "# A new title"))
    assert report.stale(done) == ""
    book.write_text(book.read_text().replace("plt.plot([epochs])", "plt.plot([epochs, 1])"))
    assert report.stale(done) == ""
    book.write_text(book.read_text().replace("epochs", "passes"))
    assert report.stale(done) == "its notebook has no epochs now"
    old = json.loads(done.read_text())
    del old["metadata"]["alexold"]
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    notebook(tmp_path / "10_tiny.ipynb", FIGURE, SLIDER)
    assert report.stale(tmp_path / "old.ipynb") == "it does not say what it was made with"
    old["metadata"]["papermill"]["exception"] = True
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    assert report.stale(tmp_path / "old.ipynb") == "it failed: an exception"


def test_unknown_scale_and_notebook_are_refused(tmp_path, capsys):
    assert __main__.main(["report", str(notebook(tmp_path / "13_tiny.ipynb")), "--scale", "smple"]) == 2
    assert "smple" in capsys.readouterr().err
    assert __main__.main(["report", "99_nothing"]) == 1
    error = capsys.readouterr().err
    assert "99_nothing" in error and all(name in error for name in report.notebooks())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("4", 4), ("1e-3", 1e-3), ("False", False), ("None", None), ("relu", "relu"), ("no", "no"), ("007", "007")],
        *[("0.1,0.2", "0.1,0.2"), ("(1, 2)", (1, 2)), ("[1, 2]", [1, 2])],
    ],
)
def test_values_are_typed_as_python_reads_them(text, value):
    assert __main__.value_of(text) == value and type(__main__.value_of(text)) is type(value)
