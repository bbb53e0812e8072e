"""What keeps the project one project: direction of imports, sizes, and files that must agree."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import alexold
from alexold import paper
from alexold.paths import ROOT

ORDER = (  # a module imports only from those before it
    *("paths", "native", "interrupt", "parallel", "progress"),
    *("stats", "paper", "claims", "verdicts", "settings", "config", "layers", "towers", "nets", "facts", "diagnostics"),
    *("sample", "pictures", "pack", "sources", "check", "data", "augment", "transforms", "batches"),
    *("optim", "ablations", "protocol", "watch", "checkpoint", "rows", "train", "workers", "study", "glimpse", "race"),
    *("effects", "findings", "retrieval", "features", "foreign", "costs", "scorecard", "measures", "studies"),
    *("plots", "tower_plots", "contrasts", "gallery", "feature_plots", "site", "report", "__main__"),
)
THIRD_PARTY = {"torch", "torchvision", "numpy", "scipy", "matplotlib", "PIL"}  # elsewhere: inside functions only
SOURCES = sorted((ROOT / "alexold").rglob("*.py"))
MODULES = [path for path in SOURCES if path.stem != "__init__"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def imports(nodes):
    """(level, module) of every import among the nodes; `from . import x` gives x."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is None:
            yield from ((node.level, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "alexold":
            yield from ((0, f"alexold.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module


def at_import(tree):
    """Nodes that run when the module is imported: everything outside functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_point_one_way(path):
    assert path.stem in ORDER, f"give {path.stem} its place in ORDER"
    for level, module in imports(ast.walk(ast.parse(path.read_text()))):
        if level or module.split(".")[0] == "alexold":
            name = module.removeprefix("alexold.").split(".")[0]
            if name not in ("alexold", "__version__"):
                assert name in ORDER[: ORDER.index(path.stem)], f"{path.stem} must not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_importing_needs_the_five_packages_alone(path):
    for level, module in imports(at_import(ast.parse(path.read_text()))):
        name = module.split(".")[0]
        if not level and name not in sys.stdlib_module_names and name != "alexold":
            assert name in THIRD_PARTY, f"import {name} inside the function that needs it"


def code_lines(text):
    """Lines with code on them: docstrings, comments and blank lines are free."""
    quoted = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [node.body[0] for node in ast.walk(ast.parse(text)) if isinstance(node, quoted) and ast.get_docstring(node)]
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {n for t in tokens if t.type not in silent for n in range(t.start[0], t.end[0] + 1)}
    return len(code - {n for doc in docs for n in range(doc.lineno, doc.end_lineno + 1)})


def test_the_library_stays_thin():
    texts = {path.name: path.read_text() for path in SOURCES}
    assert {name: n for name, text in texts.items() if (n := len(text.splitlines())) > 320} == {}
    assert sum(map(code_lines, texts.values())) < 6100


def test_code_lines_are_counted():
    text = '"""Doc."""\n\nx = 1  # one\n# no\ndef f():\n    """Doc\n    doc."""\n    return [\n        x]\n'
    assert code_lines(text) == 4


def test_version_and_module_map():
    assert alexold.__version__ == PROJECT["version"]
    listed = re.findall(r"^    (\w+) ", alexold.__doc__, re.M)
    missing = {path.stem for path in MODULES} - {"__main__"} - set(listed)
    assert not missing, f"add to the docstring of alexold: {missing}"


def test_environment_yml_reads_pyproject():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    *native, pip = env["dependencies"]
    python = next(line for line in native if line.startswith("python="))
    assert env["name"] == PROJECT["name"] and "pip" in native and len(native) == 2
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(python.removeprefix("python="))
    assert pip["pip"] == ["-c constraints.txt", "-e .[lab,test]"]
    assert {"lab", "test"} == set(PROJECT["optional-dependencies"])


def test_constraints_satisfy_the_ranges():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines), "exact versions only"
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *extras["lab"], *extras["test"]]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    torch, vision = (int(pins[name].split(".")[1]) for name in ("torch", "torchvision"))
    assert vision == torch + 15


def test_the_citation_has_what_the_format_requires():
    """Citation File Format 1.2.0: required keys of the file, of its references, persons and entities."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"] and cited["type"] == "software"
    works = {work["type"]: work for work in cited["references"]}
    assert works.keys() == {"conference-paper", "software-code"} and cited["message"]
    for work in (cited, *works.values()):
        assert work["title"] and work["authors"]
        assert all("name" in one or {"family-names", "given-names"} <= one.keys() for one in work["authors"])
        assert all(type(work.get(key, 0)) is int for key in ("year", "start", "end"))
    assert [one["family-names"] for one in works["conference-paper"]["authors"]] == [
        "Krizhevsky",
        "Sutskever",
        "Hinton",
    ]
    assert works["software-code"]["repository-code"].removeprefix("https://") in paper.__doc__


def test_makefile_has_the_documented_targets():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert targets == {"help", "train", "reports", "test", "bench", "lab", "docs", "lint", "format", "clean"}


def test_no_file_names_a_folder_of_somebodys_machine():
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    folder = re.compile(rf"(?<![\w.~])(/home/\w|/root/|/Users/\w|{re.escape(str(ROOT))}\b)")
    found = []
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".jpg", ".svg", ".pdf"):
            found += [f"{name}: {line[:80]}" for line in path.read_text("utf-8", "replace").splitlines()
                      if folder.search(line) and name != "tests/test_project.py"]  # fmt: skip
    assert not found
