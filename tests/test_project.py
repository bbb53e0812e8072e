"""The limits that keep the project small, the direction of imports, and files that must agree."""

import ast
import re
import subprocess

import pytest
from importlinter.cli import lint_imports

from alexlib.config import ROOT

# The aim is 4,000 lines in 30 files, and 3,500 lines of tests. A new feature pays for its lines by
# deleting others: these numbers go down. (They went up once: GPU kernels, report, rehearsal.)
LIBRARY_LINES, LIBRARY_FILES, FILE_LINES = 7461, 48, 250
LINES = {"tests": 5466, "docs": 200, "benchmarks": 700}
BODIES = {  # of functions and classes, in lines
    ("training/loop.py", "train_step"): 15,
    ("training/loop.py", "fit"): 60,
    ("models/alexnet.py", "AlexNet"): 70,
}


def lines(path):
    return len(path.read_text().splitlines())


def tracked(*words):
    """The files of the project that git knows or would add."""
    git = ["git", "ls-files", "--cached", *words]
    try:
        found = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_library_is_thin():
    sizes = {path: lines(path) for path in (ROOT / "alexlib").rglob("*.py")}
    assert {path.name: n for path, n in sizes.items() if n > FILE_LINES} == {}
    assert len(sizes) <= LIBRARY_FILES
    assert sum(sizes.values()) <= LIBRARY_LINES


@pytest.mark.parametrize("folder", LINES)
def test_what_is_around_the_library_is_small(folder):
    assert sum(map(lines, (ROOT / folder).glob("*.py"))) <= LINES[folder]


@pytest.mark.parametrize(("file", "name"), BODIES)
def test_what_a_student_reads_fits_on_a_screen(file, name):
    """Docstrings are not counted: they are read first, and then the code."""
    tree = ast.parse((ROOT / "alexlib" / file).read_text())
    (node,) = (n for n in tree.body if getattr(n, "name", None) == name)
    docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
    assert node.end_lineno - node.lineno + 1 - docstring <= BODIES[file, name]


def test_imports_point_one_way(monkeypatch):
    """The contract is in pyproject.toml; `lint-imports` shows what breaks it."""
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", cache_dir=None) == 0


def test_no_web_page_of_a_report_is_committed():
    assert [path for path in tracked("reports") if path.suffix == ".html"] == []


def test_git_knows_every_module():
    """A pattern in .gitignore may hide a folder of the library."""
    known = set(tracked("--others", "--exclude-standard"))
    assert set((ROOT / "alexlib").rglob("*.py")) <= known


def test_no_file_names_a_folder_of_somebodys_machine():
    folders = "|".join(("/home/\\w", "/root/", "/Users/\\w", re.escape(str(ROOT)) + "\\b"))
    pattern, found = re.compile(rf"(?<![\w.~])({folders})"), []
    for path in tracked("--others", "--exclude-standard"):
        if path.suffix not in (".png", ".jpg") and path.name != "test_project.py":
            text = path.read_text("utf-8", "replace")
            found += [
                f"{path.name}: {line[:80]}" for line in text.splitlines() if pattern.search(line)
            ]
    assert not found
