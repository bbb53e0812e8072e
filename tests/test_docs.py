"""README and docs say what code and rows say."""

import importlib.util

import pytest

from alexlib import scorecard
from alexlib.paths import ROOT

SPEC = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs)


@pytest.fixture(autouse=True)
def committed_rows(monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(ROOT / "reports"))


@pytest.mark.parametrize("page", docs.PAGES)
def test_generated_parts_are_up_to_date(page):
    text = (ROOT / page).read_text()
    assert "<!-- generated: " in text and docs.render(text) == text, "run: make docs"


def test_figures_belong_to_the_rows():
    for name, (drawn_from, _) in docs._figures().items():
        expected = scorecard.fingerprint(drawn_from) if drawn_from else None
        assert docs.stamp(docs.FIGURES / name) == expected, f"{name}; run: make docs"


def test_render_replaces_what_is_between_the_markers_alone():
    page = "before\n<!-- generated: scales -->\nold\n<!-- end -->\nafter\n"
    new = docs.render(page)
    assert "old" not in new and "| `sample` |" in new
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert docs.render(new) == new


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match=r"unknown generated part 'nothing'; known ones: .*scales"):
        docs.render("<!-- generated: nothing --><!-- end -->")
