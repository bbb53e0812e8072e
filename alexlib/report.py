"""Reports: papermill runs a notebook, nbconvert makes a web page of the result."""

import ast
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

from alexlib.config import ROOT, SCALES, data_root, reports_root, runs_root, scale_of
from alexlib.data.images import Images
from alexlib.study.records import provenance
from alexlib.training.checkpoint import atomic_write

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"
LAST_CELL = "from alexlib import report\n\nreport.made_with(globals(), {})"
KINDS = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "dict": (dict,)}


def value_of(text: str) -> object:
    """The Python value that a text spells (`1e-3`, `True`, `[1, 2]`), or the text (`relu`)."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def plan(name: str, given: dict) -> dict[Path, dict]:
    """The notebooks to run, with their parameters, as text or as values.

    Args:
        name: of a notebook (`04_train`), its number (`04`) or its path; "all" for all that have the
            scale, each with those of the parameters that it has.
    """
    import papermill

    if Path(name).suffix == ".ipynb" and Path(name).is_file():
        return {Path(name).resolve(): given}
    if name != "all":
        known = {n: path for path in NOTEBOOKS for n in (path.stem, path.stem.split("_")[0])}
        if name not in known:
            raise ValueError(f"no notebook {name!r}: expected all or one of {', '.join(known)}")
        return {known[name]: given}
    known = {path: papermill.inspect_notebook(path) for path in NOTEBOOKS}
    if unknown := set(given).difference(*known.values()):
        raise ValueError(f"no notebook has a parameter {', '.join(sorted(unknown))}")
    scale = scale_of(given.get("scale", "sample")).name
    known = {p: k for p, k in known.items() if "scale" not in k or _fits(scale, k["scale"])}
    return {path: checked(path, {n: given[n] for n in given if n in known[path]}) for path in known}


def checked(path: Path, given: dict) -> dict:
    """The parameters to run a notebook with; text becomes a value where no `str` is expected.

    Raises ValueError for parameters that the notebook does not have, values that do not fit the
    annotation, and a scale that the comment of `scale` does not name.
    """
    import papermill

    known = papermill.inspect_notebook(path)
    values, wrong = ({"scale": "sample"} if "scale" in known else {}) | given, []
    for name, value in values.items():
        if isinstance(value, str) and known.get(name, {}).get("inferred_type_name") != "str":
            values[name] = value_of(value)
        if name not in known or not _fits(values[name], known[name]):
            wrong.append(f"{name} = {value!r}")
    if wrong:
        lines = ("\n  {name}: {inferred_type_name}  # {help}".format(**p) for p in known.values())
        head = f"{path.stem} does not take {', '.join(wrong)}. Its parameters:"
        raise ValueError(head + "".join(lines))
    return values


def _fits(value, parameter: dict) -> bool:
    if parameter["name"] == "scale":
        return value in SCALES and value in re.findall(r"\w+", parameter["help"])
    return type(value) in KINDS[parameter["inferred_type_name"]]


def run(path: Path, given: dict, out: Path | None = None) -> tuple[Path, str]:
    """Run a notebook and write its report and a web page of it.

    Returns the report (default: `reports/<scale>/<notebook>.ipynb`) and the error that ended the
    notebook, or "". Raises ValueError for wrong parameters.
    """
    values = checked(path, given)
    out = Path(out or reports_root() / values.get("scale", "") / path.name).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
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
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
    data = {x.fingerprint: x for x in names.values() if isinstance(x, Images)}
    data = [f"{x.name}, {x.split}: {len(x):,} images, {key}" for key, x in data.items()]
    return provenance(str(names.get("device", "cpu"))) | {"data": data, "parameters": parameters}


def _finished(executed: Path, source: Path, error: str) -> str:
    """The text of a report, without widgets and without folders of this machine."""
    import nbformat

    book = nbformat.read(executed, as_version=4)
    outputs = [output.data["text/plain"] for output in book.cells[-1].outputs if "data" in output]
    book.metadata["alexlib"] = ast.literal_eval(outputs[0]) if outputs else {}
    book.metadata.papermill |= {"input_path": f"notebooks/{source.name}", "exception": error}
    book.metadata.papermill.pop("output_path")
    book.metadata.pop("widgets", None)
    if error:
        book.cells[-2].source += f"\n\nFailed: `{error}`"
    text = nbformat.writes(book)
    home = os.path.expanduser("~")
    folders = {data_root(): "data/", runs_root(): "runs/", reports_root(): "reports/"}
    for folder, name in (folders | {ROOT: "", home: "~/"}).items():
        text = text.replace(f"{folder}/", name) if len(str(folder)) > 1 else text
    return text


def _page(report: Path) -> str:
    """A report as a web page that needs no network; formulas are MathML."""
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body):
            return convert(body)

        def block_math(self, body):
            return convert(body, display="block")

    exporter = HTMLExporter(template_file=str(TEMPLATE))
    exporter.register_filter("markdown2html", MarkdownWithMath(Renderer(escape=False)).render)
    return exporter.from_filename(str(report))[0]
