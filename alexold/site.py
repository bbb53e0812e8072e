"""The site of reports: a web page of each executed notebook, the index over them, and a look at their links.

A page needs no network: figures and styles are in it, and its formulas are MathML, which browsers set themselves.
"""

import json
import logging
import os
import re
from collections.abc import Iterable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alexold.config import SCALES
from alexold.paths import reports_root, write_whole
from alexold.progress import clock

STYLE = """<style>
.jp-InputArea-editor, .jp-OutputArea-output, .jp-RenderedMarkdown { overflow-x: auto }
.jp-OutputArea-output img, .jp-OutputArea-output svg { max-width: 100%; height: auto }
.jp-RenderedMarkdown td, .jp-RenderedMarkdown th { vertical-align: top }
math {
  font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "Noto Sans Math", "DejaVu Math TeX Gyre", math
}
math[display=block] { overflow-x: auto; overflow-y: hidden; padding: .3em 0 }
.alexold-site { font: 14px/1.6 sans-serif; padding: .5em 1em }
.alexold-site a { color: #00c; text-decoration: underline }
@media (max-width: 640px) {
  body.jp-Notebook { padding: 4px }
  .jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser { display: none }
}
</style>"""
# nbconvert's own page without what it would load from the network
TEMPLATE = """{% extends "lab/index.html.j2" %}
{% block html_head_js %}{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}"""
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>AlexNet, reproduced: reports</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 80em; margin: 1em auto; padding: 0 1em }
.wide { overflow-x: auto }
table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .3em .8em; border-bottom: 1px solid #ddd }
td:nth-child(4), td:nth-child(5) { white-space: nowrap }
.failed { color: #a00; font-weight: bold }
</style>
</head>
<body>
<h1>AlexNet, reproduced: reports</h1>
<p>One line for each notebook that was run. Its page holds code, figures and tables, and says at the end what it was
made with; <code>.ipynb</code> is the same for JupyterLab.</p>
<div class="wide"><table>
<thead><tr>%s</tr></thead>
<tbody>
%s
</tbody>
</table></div>
</body>
</html>
"""
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
SIZED = re.compile(r"(<ms(?:up|ub|ubsup)>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)")


# ---- pages ----------------------------------------------------------------------------------------------------


def page(path: Path) -> Path:
    """Write the web page of an executed notebook beside it."""
    body, _ = _exporter().from_filename(str(path))
    body = body.replace("</head>", STYLE + "</head>", 1).replace("<main>", f"<main>{_way_up(path)}", 1)
    file = path.with_suffix(".html")
    write_whole(file, lambda out: out.write(body.encode()))
    return file


def _way_up(path: Path) -> str:
    """A link to the index, for the pages of the site."""
    if not path.is_relative_to(reports_root()):
        return ""
    up = Path(os.path.relpath(reports_root() / index_of(path) / "index.html", path.parent)).as_posix()
    return f'<nav class="alexold-site"><a href="{up}">All reports</a></nav>'


def _exporter():
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    from traitlets.config import Config

    class Renderer(IPythonRenderer):
        def block_math(self, body):
            return mathml(body, "block")

        def inline_math(self, body):
            return mathml(body)

        def latex_environment(self, name, body):
            return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    log = logging.getLogger("alexold.site")
    log.setLevel(logging.ERROR)  # nbconvert warns of every figure without alternative text
    exporter = HTMLExporter(config=Config(CoalesceStreamsPreprocessor={"enabled": True}), log=log)
    exporter.raw_template = TEMPLATE
    exporter.register_filter("markdown2html", lambda text: MarkdownWithMath(Renderer(escape=False)).render(text))
    return exporter


def mathml(tex: str, display: str = "inline") -> str:
    """A formula for browsers, which set MathML without a script."""
    from latex2mathml.converter import convert

    made = PRIME.sub(r'\1<mo lspace="0" rspace="0">&#x02032;</mo>', convert(tex, display=display))  # raised already
    return SIZED.sub(r"\1<mrow>\2</mrow>", made)  # else Chromium does not stretch it


# ---- the index ------------------------------------------------------------------------------------------------


def index(folder: str = "") -> Path:
    """Write the `index.html` of a folder of reports, "" or "sample"."""
    text, file = index_text(folder), reports_root() / folder / "index.html"
    write_whole(file, lambda out: out.write(text.encode()))
    return file


def index_of(path: Path) -> str:
    """Which index a report is in: sample runs, which are not committed, have one of their own."""
    return "sample" if path.parent == reports_root() / "sample" else ""


def index_text(folder: str = "") -> str:
    """An index, from what the reports say of themselves: the page of no scale first, then scale by scale."""
    shown = [path for path in reports() if index_of(path) == folder or path.parent == reports_root()]
    lines = "\n".join(_line(path, reports_root() / folder) for path in shown)
    head = ("report", "scale", "state", "made", "took", "parameters", "code", "device")
    return INDEX % ("".join(f"<th>{name}</th>" for name in head), lines)


def reports() -> list[Path]:
    """The executed notebooks that have a page: those of no scale first, then by folder, scales in their order."""
    folders = [reports_root() / name for name in ("", *SCALES)]
    found = [path for path in reports_root().rglob("[0-9]*.ipynb") if path.with_suffix(".html").exists()]
    place = {folder: number for number, folder in enumerate(folders)}
    return sorted(found, key=lambda path: (place.get(path.parent, len(folders)), path))


def places() -> dict[tuple[str, str], str]:
    """Where the report of a notebook at a scale is, without its suffix, from the folder of reports."""
    found = {}
    for path in reports():
        ran = json.loads(path.read_text())["metadata"].get("papermill", {})
        key = ran.get("parameters", {}).get("scale", ""), Path(ran.get("input_path", path.name)).stem
        found.setdefault(key, path.relative_to(reports_root()).with_suffix("").as_posix())
    return found


def _line(path: Path, home: Path) -> str:
    book = json.loads(path.read_text())
    ran, made = book["metadata"].get("papermill", {}), book["metadata"].get("alexold", {})
    link = Path(os.path.relpath(path, home)).as_posix()
    name = f'<a href="{link.removesuffix(".ipynb")}.html">{escape(title(book))}</a> (<a href="{link}">.ipynb</a>)'
    given = dict(ran.get("parameters", {}))
    scale, wrong = given.pop("scale", "-"), failure(book)
    state = f'<span class="failed">failed</span>: {escape(wrong)}' if wrong else "complete"
    took = "-" if ran.get("duration") is None else clock(ran["duration"])
    rest = (", ".join(f"{key} = {value}" for key, value in given.items()), made.get("commit"), made.get("device"))
    cells = [name, scale, state, (ran.get("start_time") or "-")[:10], took, *(escape(text or "-") for text in rest)]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def title(book: dict) -> str:
    """The first heading of a notebook."""
    text = "".join("".join(cell["source"]) + "\n" for cell in book["cells"] if cell["cell_type"] == "markdown")
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1].strip() if found else "untitled"


def failure(book: dict) -> str:
    """What a notebook failed with; "" for one that ran to its end."""
    if said := book["metadata"].get("alexold", {}).get("failure"):
        return said
    errors = [out for cell in book["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    if errors:
        return f"{errors[0]['ename']}: {errors[0]['evalue']}"
    return "an exception" if book["metadata"].get("papermill", {}).get("exception") else ""


# ---- links ----------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """What a page links to or shows, what it loads, and its own anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given.get("id"), given.get("name")} - {None}
        links = [given[key] for key in ("href", "src") if given.get(key)]
        self.links += links
        self.loads += links if tag != "a" else []


def dead_links(files: Iterable[Path]) -> list[str]:
    """The relative links of pages (.html, .md) that lead nowhere, as `page: link`."""
    return [f"{file}: {link}" for file in files for link in _links(file) if not _leads(file, link)]


def _links(file: Path) -> list[str]:
    text = file.read_text()
    if file.suffix == ".html":
        return _Page(text).links
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)  # code shows links, it makes none
    return re.findall(r"\]\(([^()\s]+)\)", text)


def _leads(file: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = file.parent / unquote(parts.path) if parts.path else file
    if not target.exists():
        return False
    anchors = _Page(target.read_text()).anchors if parts.fragment and target.suffix == ".html" else None
    return anchors is None or unquote(parts.fragment) in anchors


def loads(file: Path) -> list[str]:
    """What a page would load from the network."""
    text = file.read_text()
    scripts = re.findall(r"import\(?[^\n]{0,40}?[\"'](https?://[^\"']+)", text)
    return [link for link in _Page(text).loads if urlsplit(link).scheme in ("http", "https")] + scripts
