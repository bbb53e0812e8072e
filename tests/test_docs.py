"""README, docs and the index of reports say what code and rows say."""

import importlib.util
import re
from urllib.parse import urlsplit

import pytest
from PIL import Image
from test_prepare import make_set, noise

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
    make_set(tmp_path, counts=(20, 4))
    Image.fromarray(noise(0)).save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for text, smaller in (("path/to/folder", "."), ("imagenette", "sample"), ("=20", "=1")):
        assert text in code
        code = code.replace(text, smaller)
    exec(compile(code, "README.md", "exec"), {})
    assert "('cat', 'dog')" in capsys.readouterr().out and (tmp_path / "net.safetensors").exists()


def test_a_report_is_stale_if_its_notebook_has_other_parameters_failed_or_is_gone():
    file, about = next(iter(refresh.committed().items()))
    assert refresh.stale(file, about) == ""
    gone = {"input_path": "notebooks/99_gone.ipynb"}
    for change in ({"parameters": {"passes": 1}}, {"exception": True}, gone):
        assert refresh.stale(file, {"papermill": about["papermill"] | change})
