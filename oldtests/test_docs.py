"""README and docs say what code and rows say."""

import base64
import importlib.util
import re

import nbformat.v4 as v4
import pytest
from test_scorecard import LISTED, pairs, reopened  # noqa: F401

from alexold import rows, scorecard
from alexold.paths import ROOT

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


def test_the_forest_is_drawn_from_the_largest_group_of_runs_on_record(monkeypatch, tmp_path, reopened):  # noqa: F811
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    assert docs._figures()[docs.FOREST][0] == [] and docs.forest() == "*Not drawn yet.*"
    where = {"scale": "imagenette128", "data": LISTED[0], "validation": 0.1}
    unlisted = pairs("no-lrn", (9.0, 9.1), epochs=3, **where)
    few = pairs("no-lrn", (9.0, 9.1), width=0.5, **where)[0::2]
    many = pairs("no-lrn", (1.4, 1.5), **where) + pairs("lrn-conv1-only", (1, 2), **where)[1::2]
    for row in unlisted + few + many:
        rows.append(row)
    drawn_from, draw = docs._figures()[docs.FOREST]
    (axis,) = draw().axes
    assert drawn_from == many and "](reports/figures/03_ablations.png)" in docs.forest()
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["lrn-conv1-only: test error", "no-lrn: test error"]
    assert axis.get_title(loc="left").endswith("of 2 effects differ from zero (imagenette128)")


def test_the_kernels_are_those_of_the_report(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    assert docs.kernels() == "*Not drawn yet.*"
    for scale, picture in (("imagenette", b"near"), ("cifar10", b"far"), ("sample", b"generated")):
        shown = v4.new_output("display_data", {"image/png": base64.b64encode(picture).decode()})
        cells = [v4.new_code_cell("1"), v4.new_code_cell("plots.kernels(weights)", outputs=[shown])]
        ran = {"parameters": {"scale": scale}, "input_path": "notebooks/05_features.ipynb"}
        (tmp_path / scale).mkdir()
        book = v4.new_notebook(cells=cells, metadata={"papermill": ran})
        (tmp_path / scale / "05_features.ipynb").write_text(v4.writes(book))
        (tmp_path / scale / "05_features.html").touch()
    assert docs.reported_kernels() == b"near" and docs.kernels().endswith("](reports/figures/05_kernels.png)")


def test_the_committed_kernels_are_those_of_the_report():
    file = docs.FIGURES / docs.KERNELS
    assert (file.read_bytes() if file.exists() else None) == docs.reported_kernels(), "run: make docs"


def test_the_scorecard_counts_all_claims_and_shows_those_with_evidence():
    known = scorecard.card(scorecard.record())
    for shown, facts in ((docs.verdicts(), False), (docs.facts(), True)):
        head, _, table = shown.partition("\n\n")
        mine = [entry for entry in known if (entry["claim"].kind == "fact") == facts]
        assert head.startswith(f"{len(mine)} ") and sum(map(int, re.findall(r"\d+", head))) == 2 * len(mine)
        assert len(table.splitlines()) == 2 + sum(bool(entry["lines"]) for entry in mine)


def test_render_replaces_what_is_between_the_markers_alone():
    page = "before\n<!-- generated: scales -->\nold\n<!-- end -->\nafter\n"
    new = docs.render(page)
    assert "old" not in new and "| `sample` |" in new
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert docs.render(new) == new


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match=r"unknown generated part 'nothing'; known ones: .*scales"):
        docs.render("<!-- generated: nothing --><!-- end -->")
