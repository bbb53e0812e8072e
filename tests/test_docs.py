"""README, docs and the index of reports say what code and rows say."""

import importlib.util
import re
import shutil
from urllib.parse import urlsplit

import nbformat.v4 as v4
import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_short(page):
    by_hand = re.sub(r"<!-- generated.*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)
    assert len(by_hand.splitlines()) <= 150
    assert page.name != "README.md" or len(page.read_text().splitlines()) <= 120


def test_readme_has_at_most_twelve_findings_and_a_word_for_each_verdict():
    assert len(refresh.findings().splitlines()) <= 2 + 12
    words = re.findall(r"^\| ([a-z][^|]+?) \|", (ROOT / "docs" / "protocol.md").read_text(), re.M)
    verdicts = set(words[words.index("agrees") :]) | {"slip of the paper"}
    assert verdicts == set(refresh.CHOSEN["words"])


def test_the_code_in_readme_runs(tmp_path, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 40, 3), dtype=np.uint8)
    for i, image in enumerate(map(Image.fromarray, pixels)):
        folder = tmp_path / ("val" if i < 8 else "train") / ("cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i}.png")
    image.save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for text, smaller in (("path/to/folder", "."), ("imagenette", "sample"), ("=20", "=1")):
        assert text in code
        code = code.replace(text, smaller)
    exec(compile(code, "README.md", "exec"), {})
    assert "('cat', 'dog')" in capsys.readouterr().out and (tmp_path / "net.safetensors").exists()


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
