"""Reports: a tiny notebook goes through papermill and nbconvert as the real ones do."""

import json
import os

import nbformat.v4 as v4
import pytest

from alexlib import __main__, report, site
from alexlib.paths import ROOT

PARAMETERS = 'scale = "sample"  # data = net = schedule\nepochs: int | None = 3  # passes'
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([epochs])\nprint(open)  # some output"
SLIDER = "import ipywidgets\nipywidgets.IntSlider()"
FAILING = "from alexlib import config\nconfig.scale_of('nowhere')"


def notebook(path, *sources):
    cells = [v4.new_markdown_cell("# Tiny"), v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
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
    assert "require.min.js" not in page
    assert sorted(p.name for p in done.parent.glob("*10_tiny*")) == ["10_tiny.html", "10_tiny.ipynb"]


def test_report_holds_no_dead_widgets(done):
    cell = json.loads(done.read_text())["cells"][-1]
    assert "ipywidgets" in "".join(cell["source"]) and cell["outputs"] == []
    assert "widget" not in done.read_text().replace("ipywidgets", "")
    assert "html-manager" not in done.with_suffix(".html").read_text()


def test_report_names_no_folder_of_this_machine(done):
    meta = json.loads(done.read_text())["metadata"]["papermill"]
    assert meta["input_path"] == "10_tiny.ipynb" and not meta["output_path"].startswith("/")
    assert str(ROOT) not in done.read_text() and str(report.Path.home()) + "/" not in done.read_text()


def test_failing_notebook_keeps_its_report(tmp_path, capfd):
    path, out = notebook(tmp_path / "11_failing.ipynb", FAILING), report.reports_root() / "sample/11_failing.ipynb"
    assert __main__.main(["report", str(path)]) == 1
    error = capfd.readouterr().err
    assert "error: 11_failing failed, In [3]: ValueError: unknown scale 'nowhere'" in error
    assert "Traceback" not in error and "TCP" not in error and str(out.with_suffix(".html")) in error
    traceback = json.loads(out.read_text())["cells"][-1]["outputs"][0]["traceback"]
    assert "alexlib/config.py" in "".join(traceback) and str(ROOT) not in "".join(traceback)
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
