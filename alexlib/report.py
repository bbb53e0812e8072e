"""Reports: papermill runs a notebook, nbconvert makes a web page of the result."""

import ast
import html
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

from alexlib.config import (
    IS_PROJECT,
    ROOT,
    SCALES,
    data_root,
    lookup,
    reports_root,
    runs_root,
    scale_of,
)
from alexlib.files import atomic_write, try_writing
from alexlib.notebook import accepted, fitted, options_of

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TEMPLATES = Path(__file__).parent / "templates"
LAST_CELL = "from alexlib import report\n\nreport.made_with(globals(), {})"


def plan(name: str, given: dict) -> dict[Path, dict]:
    """The notebooks to run, with their parameters, as text or as values.

    Args:
        name: of a notebook (`04_train`), its number (`04`, `4`) or its path; "all" for all that
            have the scale, each with only the parameters that it has.
    """
    if Path(name).suffix == ".ipynb" and Path(name).is_file():
        return {Path(name).resolve(): given}
    if not IS_PROJECT:
        raise ValueError("alexlib is installed without its notebooks: clone the whole project")
    if name != "all":
        known = {path.stem: path for path in NOTEBOOKS}
        for path in NOTEBOOKS:
            number = path.stem.partition("_")[0]
            known |= {number: path, number.removeprefix("0"): path}
        return {lookup(known, Path(name).stem, "notebook"): given}
    known = {path: _parameters(path) for path in NOTEBOOKS}
    names = {path: accepted(kinds, options) for path, (kinds, options, _) in known.items()}
    for name in given:
        lookup({n: path for path in names for n in names[path]}, name, "parameter")
    scale = scale_of(given.get("scale", "sample")).name
    return {
        path: checked(path, {name: given[name] for name in given if name in names[path]})
        for path, (kinds, _, scales) in known.items()
        if "scale" not in kinds or scale in scales
    }


def checked(path: Path, given: dict) -> dict:
    """The parameters to run a notebook with, including options and config fields by name.

    Raises ValueError for names that the notebook does not have, values that do not fit, and a scale
    that the comment on `scale` does not name.
    """
    import papermill

    kinds, options, scales = _parameters(path)
    try:
        values = fitted(({"scale": "sample"} if "scale" in kinds else {}) | given, kinds, options)
        if "scale" in kinds and values["scale"] not in scales:
            raise ValueError(f"scale = {values['scale']!r}: not for this notebook")
    except ValueError as error:
        known = papermill.inspect_notebook(path).values()
        lines = ("\n  {name}: {inferred_type_name}  # {help}".format(**one) for one in known)
        raise ValueError(f"{path.stem}: {error}. Its parameters:{''.join(lines)}") from None
    return values


def _parameters(path: Path) -> tuple[dict, dict, set]:
    """The types of a notebook's parameters, its options with their defaults, and its scales."""
    import nbformat
    import papermill

    known = papermill.inspect_notebook(path)
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    scales = {*SCALES} & {*re.findall(r"\w+", known.get("scale", {}).get("help", ""))}
    kinds = {name: one["inferred_type_name"] for name, one in known.items()}
    return kinds, options_of(cells), scales


def run(path: Path, given: dict, out: Path | None = None) -> tuple[Path, str]:
    """Run a notebook and write its report and a web page of it.

    Returns the report (default: `reports/<scale>/<notebook>.ipynb`) and the error that ended the
    notebook, or "". Raises ValueError for wrong parameters.
    """
    values = checked(path, given)
    out = Path(out or reports_root() / values.get("scale", "") / path.name).absolute()
    try_writing(out.parent, "ALEXLIB_REPORTS")
    with tempfile.TemporaryDirectory(prefix=".", dir=out.parent) as folder:
        executed = Path(folder) / path.name
        error = _execute(path, executed, values)
        text = _finished(executed, path, error)
    atomic_write(out, lambda file: file.write(text.encode()))
    atomic_write(out.with_suffix(".html"), lambda file: file.write(_page(out).encode()))
    return out, error


def _execute(path: Path, out: Path, values: dict) -> str:
    """Run a notebook with LAST_CELL at its end; returns the error that ended it."""
    import nbformat
    import papermill
    from traitlets.config import Config

    book = nbformat.read(path, as_version=4)
    book.cells.append(nbformat.v4.new_markdown_cell("## Made with"))
    book.cells.append(nbformat.v4.new_code_cell(LAST_CELL.format(values)))
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.pop("MPLBACKEND", None)  # a backend would keep the figures out of the report

    def show(cell, cell_index):
        print(f"{path.stem} [{cell_index}] {cell.source.partition(chr(10))[0]}", file=sys.stderr)

    options = {
        "progress_bar": False,
        "on_cell_execute": show,
        "coalesce_streams": True,  # keeps the last state of a progress bar
        "stderr_file": sys.stderr if sys.stderr.isatty() else None,  # shows progress bars
        "extra_arguments": ["--log-level=CRITICAL"],
        # A run that is stopped has this many seconds to end its step and save a checkpoint.
        "config": Config({"KernelManager": {"shutdown_wait_time": 240}}),
    }
    try:
        papermill.execute_notebook(book, out, values, kernel_name="python3", **options)
    except papermill.PapermillExecutionError as error:
        return f"In [{error.exec_count}]: {error.ename}: {error.evalue}"
    except RuntimeError as error:  # the kernel died
        return f"{type(error).__name__}: {error}"
    return ""


def made_with(names: dict, parameters: dict) -> dict:
    """What a notebook was made with; its data sets are found among its variables."""
    from alexlib.data.images import Images  # here, because they import torch
    from alexlib.training.machine import provenance

    data = {x.fingerprint: x for x in names.values() if isinstance(x, Images)}
    data = [f"{x.name}, {x.split}: {len(x):,} images, {key}" for key, x in data.items()]
    return provenance(str(names.get("device", "cpu"))) | {"data": data, "parameters": parameters}


def _finished(executed: Path, source: Path, error: str) -> str:
    """The text of a report, without widgets and without folders of this machine."""
    import nbformat

    book = nbformat.read(executed, as_version=4)
    made = [output.data["text/plain"] for output in book.cells[-1].outputs if "data" in output]
    book.metadata["alexlib"] = ast.literal_eval(made[0]) if made else {}
    book.metadata.papermill |= {"input_path": f"notebooks/{source.name}", "exception": error}
    book.metadata.papermill.pop("output_path")
    book.metadata.pop("widgets", None)
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    for output in (one for one in outputs if any("widget" in kind for kind in one.get("data", ()))):
        output.data = {"text/plain": "(controls that work in JupyterLab)"}
    if error:
        book.cells[-2].source += f"\n\nFailed: `{error}`"
    text = nbformat.writes(book)
    folders = {data_root(): "data/", runs_root(): "runs/", reports_root(): "reports/"}
    for folder, name in (folders | {ROOT: "", os.path.expanduser("~"): "~/"}).items():
        text = text.replace(f"{folder}/", name) if len(str(folder)) > 1 else text
    return text


def _page(report: Path) -> str:
    """A report as a web page that needs no network; formulas are MathML."""
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body, display="inline"):
            try:
                return convert(body, display=display)
            except Exception:  # dollars, not a formula; the library has many kinds of errors
                return html.escape(f"${body}$")

        def block_math(self, body):
            return self.inline_math(body, "block")

    exporter = HTMLExporter(template_file=str(TEMPLATES / "report.html.j2"))
    exporter.register_filter("markdown2html", MarkdownWithMath(Renderer(escape=False)).render)
    return exporter.from_filename(str(report))[0]


def paper(folder: Path) -> Path:
    """Run notebook 07 and write report.md, its figures and report.html, all without code."""
    import nbformat
    from nbconvert import MarkdownExporter, filters

    with tempfile.TemporaryDirectory() as place:
        out, error = run(ROOT / "notebooks/07_report.ipynb", {}, Path(place) / "report.ipynb")
        book = nbformat.read(out, as_version=4)
    assert not error, error
    del book.cells[-2:]  # what it was made with differs from run to run
    names = {"output_files_dir": "figures", "unique_key": "report"}
    text, made = MarkdownExporter(exclude_input=True).from_notebook_node(book, names)
    text = re.sub(r"(?s)\*(Figure \d[^*]*)\*(.*?!\[)png\]", r"*\1*\2\1]", text)  # alt text
    page = (TEMPLATES / "paper.html").read_text("utf-8") + filters.markdown2html(text)
    files = made["outputs"] | {"report.md": text.encode(), "report.html": page.encode()}
    for name, data in files.items():
        atomic_write(folder / name, lambda file, data=data: file.write(data))
    return folder / "report.md"
