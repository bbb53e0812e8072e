"""Every notebook: a pair in step, without outputs, with short cells and text before code."""

import ast
import json
import re
import statistics

import jupytext
import papermill
import pytest

from alexlib.config import ROOT

NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted({path.stem for kind in ("*.py", "*.ipynb") for path in NOTEBOOKS.glob(kind)})
WITHOUT_SCALE = {"06_scorecard"}  # it reads the rows of all scales
MAX_NAMES, MAX_PARAMETERS = 15, 6
TYPES = {"int", "float", "bool", "str", "dict"}
pytestmark = pytest.mark.parametrize("name", NAMES)


def cells(name, kind=None):
    found = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return [{**c, "source": "".join(c["source"])} for c in found if kind in (None, c["cell_type"])]


def test_pair_is_in_step(name):
    script, book = NOTEBOOKS / f"{name}.py", NOTEBOOKS / f"{name}.ipynb"
    assert script.exists() and book.exists(), "run: make format"
    written = jupytext.writes(jupytext.read(book), fmt="py:percent")
    assert written == script.read_text(), "run: make format"


def test_no_outputs(name):
    for cell in cells(name, "code"):
        assert not cell["outputs"] and cell["execution_count"] is None, "run: make format"
        assert "execution" not in cell["metadata"], "run: make format"


def test_parameters_are_few_annotated_and_explained(name):
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells(name)) == 1
    found = papermill.inspect_notebook(NOTEBOOKS / f"{name}.ipynb")
    assert len(found) <= MAX_PARAMETERS
    assert {p["inferred_type_name"] for p in found.values()} <= TYPES
    assert all(parameter["help"] for parameter in found.values())
    (cell,) = (c for c in cells(name) if "parameters" in c["metadata"].get("tags", []))
    assert len(ast.parse(cell["source"]).body) == len(found), "papermill cannot read a line"
    assert ("scale" in found) == (name not in WITHOUT_SCALE)
    if "scale" in found:
        assert found["scale"]["default"] == '"sample"' and "sample" in found["scale"]["help"]


def test_few_names_are_imported_from_the_library(name):
    nodes = [n for cell in cells(name, "code") for n in ast.walk(ast.parse(cell["source"]))]
    imports = [n for n in nodes if isinstance(n, ast.ImportFrom)]
    own = [n for n in imports if n.module.split(".")[0] == "alexlib"]
    names = {alias.name for node in own for alias in node.names}
    assert "*" not in names and len(names) <= MAX_NAMES, sorted(names)


def test_cells_are_short(name):
    texts = [cell["source"].splitlines() for cell in cells(name, "code")]
    counts = [sum(bool(line.strip()) for line in text) for text in texts]
    assert statistics.median(counts) <= 5 and max(counts) <= 15, counts


def test_code_is_plain_python(name):
    for cell in cells(name, "code"):
        tree = ast.parse(cell["source"])  # a magic or a shell line is a SyntaxError
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 6, f"{node.name}: move it into the library"
        assert not re.search(r"\bsys\.path\b|get_ipython", cell["source"])
        # These make papermill (nbclient 0.11) wait for ever, once in a few runs.
        assert not re.search(r"\b(interact\w*|Output)\(", cell["source"])


def test_text_leads(name):
    kinds = "".join(cell["cell_type"][0] for cell in cells(name))
    assert kinds[0] == "m" and cells(name)[0]["source"].startswith("# "), "a title first"
    assert max(map(len, kinds.split("m"))) <= 3, "too many code cells in a row without text"
