"""Reports: small notebooks run as the real ones do, through papermill and nbconvert."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat.v4 as v4
import pytest

from alexlib import report
from alexlib.config import ROOT, reports_root
from alexlib.paper import CLAIMS
from alexlib.study import runs, scorecard
from alexlib.study.variants import block_of

PARAMETERS = """scale: str = "sample"  # sample or cifar10: the images
epochs: int = 3  # passes
rate: float = 0.1  # learning rate
photos: bool = True  # show them
name: str = "a"  # of the run"""
KEYS = ("commit", "versions")
TEXT = "# Tiny\n\nInline $x_1$, not `$HOME`, nor $_^{ $5.\n\n$$\\sqrt{x}$$"
FIGURE = "import matplotlib.pyplot as plt\n\nplt.plot([epochs])"
BAR = "from tqdm import tqdm\n\nfor _ in tqdm(range(5), mininterval=0):\n    pass"
SLIDER = "import ipywidgets\n\nipywidgets.IntSlider()"
PATHS = "import os\n\nimport alexlib\n\nprint(alexlib.__file__, os.path.expanduser('~/x'))"
TABLE = "import pandas\n\npandas.DataFrame({'error': [0.25]}).style.hide().format('{:.0%}')"
CALL = """from alexlib.notebook import parameters

options = parameters(globals(), device="auto", data="")
(name, photos, fields, options)"""
IMAGES = """import numpy as np

from alexlib.data.images import Images

pixels, mean = np.zeros((4, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32)
axes = {"eigenvalues": np.ones(3), "eigenvectors": np.eye(3)}
about = {"name": "tiny", "split": "train", "fingerprint": "f1"}
train = Images(pixels, np.arange(4) % 2, ("a", "b"), mean, **axes, **about)
again = train"""
LONG = """import time
from pathlib import Path

Path("{folder}/running").touch()
try:
    time.sleep(300)
except KeyboardInterrupt:
    time.sleep(6)
    Path("{folder}/saved").touch()
    raise"""


def notebook(path, *sources, parameters=PARAMETERS):
    cells = [v4.new_markdown_cell(TEXT), *map(v4.new_code_cell, (parameters, *sources))]
    cells[1].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path.write_text(v4.writes(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A report, made in an environment that asks for a matplotlib backend without figures."""
    path = tmp_path_factory.mktemp("report") / "10_tiny.ipynb"
    notebook(path, FIGURE, BAR, SLIDER, PATHS, IMAGES, f"import alexlib.notebook\n{TABLE}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        out, error = report.run(path, {"epochs": "5"})
    assert error == "" and out == reports_root() / "sample" / "10_tiny.ipynb"
    return out


def outputs(path, number):
    return json.loads(path.read_text())["cells"][number]["outputs"]


def test_a_report_holds_figures_the_end_of_a_bar_and_no_widget_state(done):
    assert "image/png" in outputs(done, 3)[1]["data"]
    bar = "".join("".join(output["text"]) for output in outputs(done, 4))
    assert "5/5" in bar and bar.count("%") == 1
    assert "widgets" not in json.loads(done.read_text())["metadata"]


def test_a_table_is_text_too_for_reports_as_pdf_and_without_an_address(done):
    (table,) = (output["data"] for output in outputs(done, 8))
    text = ["| error |\n", "| ----- |\n", "| 25%   |"]
    assert table["text/plain"] == table["text/markdown"] == text and "text/html" in table
    assert "<td" in done.with_suffix(".html").read_text()


def test_a_report_says_what_made_it(done):
    made, here = json.loads(done.read_text())["metadata"]["alexlib"], runs.provenance("cpu")
    assert [made[key] for key in KEYS] == [here[key] for key in KEYS]
    assert made["device"].split(",")[0] == here["device"].split(",")[0]  # without the threads
    assert made["data"] == ["tiny, train: 4 images, f1"]
    assert made["parameters"] == {"scale": "sample", "epochs": 5}
    assert made["commit"] in str(outputs(done, -1))


def test_a_report_names_no_folder_of_this_machine(done):
    assert "alexlib/__init__.py ~/x" in "".join(outputs(done, 6)[0]["text"])
    assert str(ROOT) not in done.read_text() and f"{Path.home()}/" not in done.read_text()


def test_the_web_page_needs_no_network_and_holds_figures_and_formulas(done):
    page = done.with_suffix(".html").read_text()
    assert re.findall("<(?:script|link|img|iframe)[^>]*(?:src|href)=.(?!data:).{60}", page) == []
    assert "import(" not in page and "data:image/png" in page
    assert page.count("<math") == 2 and page.count('display="block"') == 1
    assert "<msqrt>" in page and "<code>$HOME</code>" in page and 'name="viewport"' in page


def test_a_failing_notebook_leaves_a_report_that_says_so(tmp_path):
    path = notebook(tmp_path / "11_bad.ipynb", "1 / 0", "never")
    out, error = report.run(path, {}, tmp_path / "bad.ipynb")
    book = json.loads(out.read_text())
    assert error.startswith("In [") and "ZeroDivisionError: division by zero" in error
    assert error in "".join(book["cells"][-2]["source"])
    assert book["metadata"]["papermill"]["exception"] == error
    assert "ZeroDivisionError" in out.with_suffix(".html").read_text()
    assert not list(reports_root().rglob("11_bad*"))


def test_a_kernel_that_dies_is_a_failure(tmp_path):
    path = notebook(tmp_path / "12_dead.ipynb", "import os\n\nos._exit(1)")
    out, error = report.run(path, {}, tmp_path / "dead.ipynb")
    assert "DeadKernelError" in error and error in out.read_text()


@pytest.mark.parametrize("given", [{"epoch": 3}, {"epochs": "three"}, {"scale": "imagenet"}])
def test_what_does_not_fit_the_parameters_is_refused(tmp_path, given):
    path = notebook(tmp_path / "15_kinds.ipynb")
    with pytest.raises(ValueError, match="15_kinds") as caught:
        report.run(path, given)
    (name,) = given
    assert name in str(caught.value) and "learning rate" in str(caught.value)
    assert not list(reports_root().rglob("15_kinds*"))
    assert report.checked(path, {"rate": "1e-3"}) == {"scale": "sample", "rate": 1e-3}


def test_options_and_fields_are_parameters_too_and_paths_are_those_of_the_user(
    tmp_path, monkeypatch
):
    text = f"{PARAMETERS}\nfields: dict = {{'lr': 1}}  # f\noptions: dict = {{}}  # o"
    where = "import os\n\nos.path.isdir(options['data'])"
    path = notebook(tmp_path / "18_options.ipynb", CALL, where, parameters=text)
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {"photos": "false", "data": "set", "batch": "16", "name": "7"}
    out, error = report.run(path, given, Path("out.ipynb"))
    assert error == "" and out == tmp_path / "out.ipynb"
    shown = "".join(outputs(out, 3)[0]["data"]["text/plain"])
    assert eval(shown) == ("7", False, {"lr": 1, "batch": 16}, {"device": "auto", "data": "set"})
    assert outputs(out, 4)[0]["data"]["text/plain"] == ["True"]


@pytest.mark.parametrize("name", ["04", "4", "04_train", "04_train.ipynb", "notebooks/04_train.py"])
def test_a_notebook_is_found_by_name_number_or_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.plan(name, {}) == {report.NOTEBOOKS[4]: {}}


def test_all_notebooks_get_the_parameters_that_they_have(tmp_path, monkeypatch):
    books = PARAMETERS, "rate: float = 1.0  # rate", 'scale: str = "sample"  # sample, imagenet'
    paths = [notebook(tmp_path / f"2{i}.ipynb", parameters=text) for i, text in enumerate(books)]
    monkeypatch.setattr(report, "NOTEBOOKS", paths)
    given = {"scale": "cifar10", "rate": "2"}
    assert report.plan("all", given) == {
        paths[0]: {"scale": "cifar10", "rate": 2},
        paths[1]: {"rate": 2},
    }
    for wrong in ({"epoch": 4}, {"epochs": "four"}, {"scale": "cifar"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            report.plan("all", wrong)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_a_report_reaches_the_running_cell(tmp_path, number, code):
    """The cell takes longer to end than Jupyter waits for a kernel by itself (5 s)."""
    path = notebook(tmp_path / "30_long.ipynb", LONG.format(folder=str(tmp_path)))
    words = ["-m", "alexlib", "report", str(path), "--out", str(tmp_path / "out.ipynb")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, *words], env=environment)
    while not (tmp_path / "running").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() == code
    assert (tmp_path / "saved").exists() and not (tmp_path / "out.ipynb").exists()


def test_the_paper_tells_what_the_rows_on_record_say(monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(ROOT / "reports"))
    rows, text = runs.everything(), (ROOT / "reports" / "report.md").read_text()
    assert scorecard.fingerprint(rows) in text, "run: make paper"
    lines = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    told = {line[0]: line for line in lines if len(line) == 8 and line[0] in CLAIMS}
    for entry in scorecard.card(rows):
        if entry["lines"] and entry["claim"].kind != "fact":
            first, line = entry["lines"][0], told.pop(entry["claim"].id)
            cells = scorecard.cells(entry["claim"], first)
            blocks = {block_of(row).id for row in first["rows"]}
            own = [cells[key] for key in ("paper", "2012 log", "detectable", "runs")]
            assert [*line[1:3], *line[4:6]] == own and line[7] == entry["verdict"]
            scale, block = line[6].split(": ")
            assert scale == first["scale"] and block in (*blocks, f"{len(blocks)} blocks")
            here = f"{cells['ours']} {entry['claim'].unit} ({cells['95 % interval']})"
            assert line[3] == here.replace(" (-)", "")
    assert not told and "![png]" not in text  # figures have their captions as alt text


@pytest.mark.slow
def test_the_paper_is_what_its_notebook_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(ROOT / "reports"))
    assert report.paper(tmp_path).read_text() == (ROOT / "reports" / "report.md").read_text()
