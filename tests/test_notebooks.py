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
FILES = [path for kind in ("py", "ipynb") for path in NOTEBOOKS.rglob(f"*.{kind}")]
NAMES = sorted({str(path.relative_to(NOTEBOOKS).with_suffix("")) for path in FILES})
NAMES = [name for name in NAMES if ".ipynb_checkpoints" not in name]
LESSONS = [name for name in NAMES if name[0].isdigit()]  # others: the welcome page, solutions
WITHOUT_SCALE = {"06_scorecard", "07_report"}  # they read the rows of all scales
BY_HAND = "by-hand"  # the tag of cells in which the reader builds what the library has
MAX_NAMES, MAX_PARAMETERS = 15, 6
TYPES = {"int", "float", "bool", "str", "dict"}
every = pytest.mark.parametrize("name", NAMES)


def cells(name, kind=None):
    found = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return [{**c, "source": "".join(c["source"])} for c in found if kind in (None, c["cell_type"])]


@every
def test_pair_is_in_step(name):
    script, book = NOTEBOOKS / f"{name}.py", NOTEBOOKS / f"{name}.ipynb"
    assert script.exists() and book.exists(), "run: make format"
    written = jupytext.writes(jupytext.read(book), fmt="py:percent")
    assert written == script.read_text(), "run: make format"


@every
def test_no_outputs(name):
    for cell in cells(name, "code"):
        assert not cell["outputs"] and cell["execution_count"] is None, "run: make format"
        assert "execution" not in cell["metadata"], "run: make format"


@pytest.mark.parametrize("name", LESSONS)
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


@every
def test_few_names_are_imported_from_the_library(name):
    nodes = [n for cell in cells(name, "code") for n in ast.walk(ast.parse(cell["source"]))]
    imports = [n for n in nodes if isinstance(n, ast.ImportFrom)]
    own = [n for n in imports if n.module.split(".")[0] == "alexlib"]
    names = {alias.name for node in own for alias in node.names}
    assert "*" not in names and len(names) <= MAX_NAMES, sorted(names)


@every
def test_cells_are_short(name):
    counts = {False: [], True: []}
    for cell in cells(name, "code"):
        lines = sum(bool(line.strip()) for line in cell["source"].splitlines())
        counts[BY_HAND in cell["metadata"].get("tags", [])].append(lines)
    assert statistics.median(counts[False]) <= 5 and max(counts[False]) <= 15, counts
    assert max(counts[True], default=0) <= 40, counts


@every
def test_code_is_plain_python(name):
    for cell in cells(name, "code"):
        tree = ast.parse(cell["source"])  # a magic or a shell line is a SyntaxError
        for node in ast.walk(tree):
            by_hand = BY_HAND in cell["metadata"].get("tags", [])
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not by_hand:
                assert node.end_lineno - node.lineno < 6, f"{node.name}: move it into the library"
        assert not re.search(r"\bsys\.path\b|get_ipython", cell["source"])
        # These make papermill (nbclient 0.11) wait for ever, once in a few runs.
        assert not re.search(r"\b(interact\w*|Output)\(", cell["source"])


@every
def test_text_leads(name):
    kinds = "".join(cell["cell_type"][0] for cell in cells(name))
    assert kinds[0] == "m" and cells(name)[0]["source"].startswith("# "), "a title first"
    assert max(map(len, kinds.split("m"))) <= 3, "too many code cells in a row without text"
