"""The site of reports: formulas, index, links; and the committed reports as they are."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import nbformat.v4 as v4
import pytest

from alexold import report, rows, scorecard, site
from alexold.paths import ROOT

SITE = ROOT / "reports"
PAGES = sorted(path for path in SITE.rglob("*.html") if "sample" not in path.relative_to(SITE).parts)
COMMITTED = sorted(path for path in SITE.rglob("[0-9]*.ipynb") if "sample" not in path.relative_to(SITE).parts)
MATH = "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(SITE))


def executed(path, *cells, **metadata):
    """A report as papermill leaves it, with its page."""
    path.parent.mkdir(exist_ok=True)
    ran = {"parameters": {}, "start_time": "2026-01-02T03:04:05", "duration": 61.0, "exception": None}
    book = v4.new_notebook(cells=list(cells) or [v4.new_markdown_cell("# A title")])
    book.metadata |= {"papermill": ran | metadata.pop("papermill", {})} | metadata
    path.write_text(v4.writes(book))
    return site.page(path)


# ---- formulas -------------------------------------------------------------------------------------------------


def formulas():
    """Every formula of the notebooks, with where it stands."""
    for name in report.notebooks():
        for cell in json.loads(report.find(name).read_text())["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(r"`[^`]*`", "", "".join(cell["source"]))
                for found in re.finditer(r"\$\$(.+?)\$\$|\$([^$]+?)\$", text, re.DOTALL):
                    yield pytest.param((found[1] or found[2]), id=f"{name[:2]} {found[0][:40]}")


@pytest.mark.parametrize("tex", [*formulas()])
def test_every_formula_of_the_notebooks_can_be_set(tex):
    root = ElementTree.fromstring(site.mathml(tex))
    said = "".join(root.itertext())
    assert root.tag == MATH + "math" and said.strip() and "\\" not in said, "latex2mathml does not know a command"


def test_formulas_are_mathml_with_their_structure():
    inline = ElementTree.fromstring(site.mathml(r"\frac{s}{\sqrt{n}}"))
    fraction = inline.find(f".//{MATH}mfrac")
    assert inline.get("display") == "inline" and "".join(fraction[0].itertext()) == "s"
    assert fraction.find(f".//{MATH}msqrt") is not None
    assert ElementTree.fromstring(site.mathml("x", "block")).get("display") == "block"


def test_primes_stand_once_raised_and_sized_brackets_stretch():
    assert f"{MATH}msup" not in {e.tag for e in ElementTree.fromstring(site.mathml("f'(x)")).iter()}
    power = ElementTree.fromstring(site.mathml(r"\Big(k\Big)^2")).find(f".//{MATH}msup")
    assert power[0].tag == MATH + "mrow" and power[0][0].get("minsize")


def test_a_page_sets_formulas_itself_and_leaves_dollars_in_code_alone(home):
    text = "Inline $x_1$, not `$HOME`.\n\n$$\\sum_i x_i$$\n\n\\begin{equation} a = b \\end{equation}"
    output = v4.new_output("display_data", {"text/markdown": "with $y$"})
    page = executed(home / "1.ipynb", v4.new_markdown_cell(text), v4.new_code_cell("'$z$'", outputs=[output]))
    made = page.read_text()
    assert made.count("<math") == 4 and made.count('display="block"') == 2
    assert "<code>$HOME</code>" in made and "$x_1$" not in made and "$$" not in made
    assert site.loads(page) == [] and "mathjax" not in made.lower()


# ---- the index ------------------------------------------------------------------------------------------------


def test_the_index_has_a_line_for_each_report(home):
    executed(home / "06_all.ipynb", v4.new_markdown_cell("# All & more"))
    executed(home / "imagenette" / "01_b.ipynb", papermill={"parameters": {"scale": "imagenette", "seeds": 3}},
             alexold={"commit": "abc+", "device": "a CPU", "failure": ""})  # fmt: skip
    executed(home / "cifar10" / "02_c.ipynb", papermill={"exception": True})
    executed(home / "sample" / "01_b.ipynb", papermill={"duration": None})
    (home / "cifar10" / "03_unfinished.ipynb").write_text("{}")
    (home / "elsewhere").mkdir()
    lines = [line for line in site.index_text().splitlines() if line.startswith("<tr>")]
    links = [re.search(r'href="([^"]+)"', line)[1] for line in lines]
    assert links == ["06_all.html", "cifar10/02_c.html", "imagenette/01_b.html"]
    assert (
        ">All &amp; more</a>" in lines[0] and "<td>-</td><td>complete</td><td>2026-01-02</td><td>61 s</td>" in lines[0]
    )
    assert (
        "<td>imagenette</td><td>complete</td>" in lines[2]
        and "<td>seeds = 3</td><td>abc+</td><td>a CPU</td>" in lines[2]
    )
    assert 'class="failed">failed</span>: an exception' in lines[1]
    assert site.index() == home / "index.html" and (home / "index.html").read_text() == site.index_text()
    assert site.index("sample") == home / "sample" / "index.html"
    assert re.findall(r'href="([^"]+html)"', (home / "sample" / "index.html").read_text()) == [
        "../06_all.html", "01_b.html",
    ]  # fmt: skip
    assert site.dead_links(home.rglob("*.html")) == []


def test_reports_are_found_wherever_they_are(home):
    executed(home / "06_all.ipynb", papermill={"input_path": "notebooks/06_all.ipynb"})
    small = {"parameters": {"scale": "imagenette128"}, "input_path": "notebooks/03_c.ipynb"}
    executed(home / "imagenette" / "03_small.ipynb", papermill=small)
    executed(home / "zoo" / "03_c.ipynb", papermill={"parameters": {"scale": "sample"}})
    (home / "zoo" / ".ipynb_checkpoints").mkdir()
    shutil.copy(home / "zoo" / "03_c.ipynb", home / "zoo" / ".ipynb_checkpoints" / "03_c-checkpoint.ipynb")
    assert [path.relative_to(home).as_posix() for path in site.reports()] == [
        "06_all.ipynb", "imagenette/03_small.ipynb", "zoo/03_c.ipynb",
    ]  # fmt: skip
    assert site.places() == {
        ("", "06_all"): "06_all", ("imagenette128", "03_c"): "imagenette/03_small", ("sample", "03_c"): "zoo/03_c",
    }  # fmt: skip


def test_the_failure_is_the_error_of_the_notebook():
    error = v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    assert site.failure(v4.new_notebook(cells=[v4.new_code_cell("1", outputs=[error])])) == "ValueError: no"
    assert (
        site.failure(v4.new_notebook(metadata={"alexold": {"failure": "DeadKernelError: died"}}))
        == "DeadKernelError: died"
    )
    assert site.failure(v4.new_notebook()) == ""


# ---- links ----------------------------------------------------------------------------------------------------


def test_dead_links_are_found(tmp_path):
    (tmp_path / "there.html").write_text('<h1 id="here">x</h1><a name="old">')
    (tmp_path / "a b.md").write_text("# x")
    page, text = tmp_path / "page.html", tmp_path / "page.md"
    page.write_text(
        '<p id="top"><a href="there.html#here">1</a><a href="there.html#old">2</a><a href="#top">3</a><img src="x.png">'
        '<a href="there.html#gone">4</a><a href="a%20b.md#any">5</a><a href="https://example.org/no">6</a>'
        '<a href="gone.html">7</a><a href="#nowhere">8</a><a href="mailto:a@b.c">9</a><img src="data:image/png,A">'
    )
    text.write_text("[1](there.html) ![2](gone.png) [3](https://example.org) `[4](code.md)`\n```\n[5](code.md)\n```\n")
    assert [found.split(": ")[1] for found in site.dead_links([page, text])] == [
        "x.png", "there.html#gone", "gone.html", "#nowhere", "gone.png",
    ]  # fmt: skip


def test_what_a_page_would_load_is_found(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="http://a.org/s.css"><script src="https://a.org/x.js"></script>'
        '<a href="https://a.org/only-a-link">x</a><img src="data:image/png;base64,AA"><link href="own.css">'
        '<script type="module">const m = (await import("https://a.org/m.mjs")).default</script>'
    )
    assert site.loads(page) == ["http://a.org/s.css", "https://a.org/x.js", "https://a.org/m.mjs"]


# ---- the committed site ---------------------------------------------------------------------------------------


def test_no_page_of_the_project_has_a_dead_link():
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert PAGES and site.dead_links([*PAGES, *texts]) == []


def test_no_committed_page_needs_the_network():
    assert {str(path.relative_to(SITE)): loads for path in PAGES if (loads := site.loads(path))} == {}


def test_the_committed_index_is_that_of_the_committed_reports(committed):
    assert (SITE / "index.html").read_text() == site.index_text(), "run: make docs"


def test_the_committed_scorecard_is_that_of_the_committed_rows(committed):
    assert scorecard.fingerprint(rows.everything()) in (SITE / "06_scorecard.ipynb").read_text(), (
        "run: python -m alexold report 06"
    )


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(SITE)))
def test_a_committed_report_belongs_to_its_notebook(path):
    assert report.stale(path) == "", "run it again: python -m alexold report"


def test_a_page_outside_the_site_has_no_way_to_the_index(home, tmp_path_factory):
    inside = executed(home / "cifar10" / "1.ipynb")
    outside = shutil.copy(home / "cifar10" / "1.ipynb", tmp_path_factory.mktemp("outside"))
    assert '<a href="../index.html">All reports</a>' in inside.read_text()
    assert "index.html" not in site.page(type(inside)(outside)).read_text()
