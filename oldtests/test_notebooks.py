"""Every notebook: a pair in step, without outputs, short cells, text before code."""

import ast
import json
import re
import statistics

import jupytext
import papermill
import pytest

from alexold.report import NOTEBOOKS, parameters_of

WITHOUT_SCALE = {"06_scorecard"}  # reads the rows of all scales
NAMES = sorted({path.stem for kind in ("*.py", "*.ipynb") for path in NOTEBOOKS.glob(kind)})
pytestmark = pytest.mark.parametrize("name", NAMES)


def cells(name, kind=None):
    found = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return [{**c, "source": "".join(c["source"])} for c in found if kind in (None, c["cell_type"])]


def lines(cell):
    return [line for line in cell["source"].splitlines() if line.strip()]


def test_pair_is_in_step(name):
    script, book = NOTEBOOKS / f"{name}.py", NOTEBOOKS / f"{name}.ipynb"
    assert script.exists() and book.exists(), "run: make format"
    assert jupytext.writes(jupytext.read(book), fmt="py:percent") == script.read_text(), "run: make format"


def test_no_outputs(name):
    for cell in cells(name, "code"):
        assert not cell["outputs"] and cell["execution_count"] is None, "run: make format"
        assert "execution" not in cell["metadata"], "run: make format"


def test_one_parameters_cell_that_papermill_reads(name):
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells(name)) == 1
    path = NOTEBOOKS / f"{name}.ipynb"
    found = papermill.inspect_notebook(path)
    assert found.keys() == parameters_of(path).keys(), "papermill --help-notebook must list them all"
    assert ("scale" in found) == (name not in WITHOUT_SCALE), "a notebook that runs anything has a scale"
    assert name in WITHOUT_SCALE or found["scale"]["default"].strip("\"'") == "sample"
    assert all(parameter["help"] for parameter in found.values()), "say in a comment what each one does"


def test_cells_are_short(name):
    counts = [len(lines(cell)) for cell in cells(name, "code")]
    assert statistics.median(counts) <= 5 and max(counts) <= 15, counts


def test_code_is_plain_python(name):
    for cell in cells(name, "code"):
        tree = ast.parse(cell["source"])  # a magic or a shell line is a SyntaxError
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 6, f"{node.name}: move it into the library"
            if isinstance(node, ast.ImportFrom):
                assert all(alias.name != "*" for alias in node.names)
        assert not re.search(r"\bsys\.path\b|get_ipython", cell["source"])


def test_no_widget_catches_output(name):
    """`interact` and `Output` make papermill (nbclient 0.11) wait for ever, once in a few runs."""
    for cell in cells(name, "code"):
        assert not re.search(r"\b(interact|interactive|interact_manual|interactive_output|Output)\(", cell["source"])


def test_text_leads(name):
    kinds = [cell["cell_type"] for cell in cells(name)]
    assert kinds[0] == "markdown" and cells(name)[0]["source"].startswith("# "), "a title first"
    longest = max(len(run) for run in "".join(kind[0] for kind in kinds).split("m"))
    assert longest <= 3, f"{longest} code cells in a row without a word"
