"""README and docs say what code and rows say."""

import importlib.util
import re

import pytest
from test_scorecard import pairs

from alexlib import rows, scorecard
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


def test_the_forest_is_drawn_from_the_largest_group_of_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    assert docs._figures()[docs.FOREST][0] == [] and docs.forest() == "*Not drawn yet.*"
    few = pairs("no-lrn", (9.0,), scale="imagenette128", epochs=3)
    many = pairs("no-lrn", (1.4, 1.5), scale="imagenette128") + pairs("no-dropout", (1, 2), scale="imagenette128")[1::2]
    for row in few + many:
        rows.append(row)
    drawn_from, draw = docs._figures()[docs.FOREST]
    (axis,) = draw().axes
    assert drawn_from == many and "](reports/figures/03_ablations.png)" in docs.forest()
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["no-dropout: test error", "no-dropout: overfitting", "no-lrn: test error"]
    assert axis.get_title(loc="left") == "1 of 3 effects differ from zero (imagenette128)"


def test_a_figure_that_is_drawn_elsewhere_is_shown_once_it_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(docs, "FIGURES", tmp_path)
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    assert docs.kernels() == "*Not drawn yet.*"
    (tmp_path / docs.KERNELS).touch()
    assert docs.kernels().endswith(f"]({docs.KERNELS})")


def test_the_scorecard_counts_all_claims_and_shows_those_with_evidence():
    head, _, table = docs.verdicts().partition("\n\n")
    known = scorecard.card(scorecard.record())
    assert head.startswith(f"{len(known)} claims: ") and sum(map(int, re.findall(r"\d+", head))) == 2 * len(known)
    assert len(table.splitlines()) == 2 + sum(bool(entry["lines"]) for entry in known)


def test_render_replaces_what_is_between_the_markers_alone():
    page = "before\n<!-- generated: scales -->\nold\n<!-- end -->\nafter\n"
    new = docs.render(page)
    assert "old" not in new and "| `sample` |" in new
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert docs.render(new) == new


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match=r"unknown generated part 'nothing'; known ones: .*scales"):
        docs.render("<!-- generated: nothing --><!-- end -->")
