"""README, docs and the index of reports say what code and rows say."""

import importlib.util
import re
import shutil
from urllib.parse import urlsplit

import nbformat.v4 as v4
import pytest

from alexlib.config import ROOT

SPEC = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
refresh = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(refresh)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(autouse=True)
def committed_rows(monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(ROOT / "reports"))


def test_nothing_is_out_of_date():
    assert refresh.refresh(check=True) == [], "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    links = [urlsplit(link) for link in re.findall(r"\]\(([^()\s]+)\)", text)]
    files = [page.parent / link.path for link in links if not link.scheme and link.path]
    assert [file for file in files if not file.exists()] == []


def test_render_replaces_what_is_between_the_markers_alone():
    page = "before\n<!-- generated: scales -->\nold\n<!-- end -->\nafter\n"
    new = refresh.render(page)
    assert "old" not in new and "| `sample` |" in new and refresh.render(new) == new
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    with pytest.raises(ValueError, match="nothing"):
        refresh.render("<!-- generated: nothing --><!-- end -->")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one page and one report, both up to date but for the index."""
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    monkeypatch.setattr(refresh, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(refresh, "drawn", dict)
    for folder in ("docs", "notebooks", "reports/cifar10", "reports/sample"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("<!-- generated: scales --><!-- end -->")
    shutil.copy(ROOT / "notebooks" / "02_relu_vs_tanh.ipynb", tmp_path / "notebooks")
    book = v4.new_notebook(cells=[v4.new_markdown_cell("# A | title")])
    ran = {"parameters": {"scale": "cifar10"}, "start_time": "2026-01-02T03:04", "duration": 61.0}
    ran |= {"input_path": "notebooks/02_relu_vs_tanh.ipynb", "exception": None}
    book.metadata |= {"papermill": ran, "alexlib": {"commit": "abc+", "device": "a CPU"}}
    for scale in ("cifar10", "sample"):
        (tmp_path / "reports" / scale / "02.ipynb").write_text(v4.writes(book))
    return tmp_path


def test_check_writes_nothing_and_refresh_writes_what_is_old(project):
    assert refresh.refresh(check=True) == ["README.md", "reports/README.md"]
    assert not (project / "reports" / "README.md").exists()
    assert refresh.refresh() == ["README.md", "reports/README.md"] and refresh.refresh() == []
    text = (project / "reports" / "README.md").read_text()
    (line,) = (line for line in text.splitlines() if "02.ipynb" in line)  # none of sample runs
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert cells[0] == r"[A \| title](cifar10/02.ipynb)"
    assert cells[1:] == ["cifar10", "-", "complete", "2026-01-02", "0:01:01", "a CPU", "abc+"]


def test_a_report_is_stale_if_its_notebook_has_other_parameters_not_other_text(project):
    (file, about) = next(iter(refresh.committed().items()))
    source = project / "notebooks" / "02_relu_vs_tanh.ipynb"
    source.write_text(source.read_text().replace("# 02", "# New title", 1))
    assert refresh.stale(file, about) == ""
    for change in ({"parameters": {"passes": 1}}, {"exception": True}):
        assert refresh.stale(file, {"papermill": about["papermill"] | change})
    source.unlink()
    assert refresh.stale(file, about)
