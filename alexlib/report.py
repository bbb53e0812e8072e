"""Notebooks to reports: papermill runs them, nbconvert makes one web page of each.

A page holds its figures and styles and needs no network, with one exception: nbconvert loads MathJax from its
usual address, so formulas are set when online and stay readable as TeX offline.
"""

import ast
import logging
import os
import sys
import tempfile
from pathlib import Path

from .config import scale_of
from .paths import ROOT, reports_root, write_whole
from .progress import TERMINAL

NOTEBOOKS = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = """<style>
.jp-OutputArea-output, .jp-RenderedMarkdown { overflow-x: auto }
.jp-OutputArea-output img, .jp-OutputArea-output svg { max-width: 100%; height: auto }
</style>"""


class ReportError(RuntimeError):
    """A report that cannot be made, or a notebook that failed; the message is for the user."""


def notebooks() -> list[str]:
    """Names of the project's notebooks, in the order of the story."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def find(notebook: str | Path) -> Path:
    """The notebook of that path, name (`04_train`) or number (`04`)."""
    if str(notebook).endswith(".ipynb") and Path(notebook).is_file():
        return Path(notebook).resolve()
    hits = [name for name in notebooks() if name == str(notebook) or name.split("_")[0] == str(notebook)]
    if len(hits) != 1:
        raise ReportError(f"no notebook {str(notebook)!r}; there are: {', '.join(notebooks()) or 'none'}")
    return NOTEBOOKS / f"{hits[0]}.ipynb"


def parameters_of(path: Path) -> dict[str, str]:
    """Name -> `default  # help` as written in the cell tagged `parameters`."""
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    source = next((c.source for c in cells if "parameters" in c.metadata.get("tags", [])), "")
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            rest = lines[node.end_lineno - 1][node.end_col_offset :]
            found[ast.unparse(target)] = ast.unparse(node.value) + rest
    return found


def run(notebook: str | Path, scale: str = "sample", parameters: dict | None = None, out=None) -> Path:
    """Run a notebook into `<reports>/<scale>/<name>.ipynb` (or `out`), with its page beside it.

    A notebook that fails leaves its report too, error included, and raises `ReportError`.
    """
    if out is not None and Path(out).suffix != ".ipynb":
        raise ReportError(f"{out}: expected the name of a notebook, NAME.ipynb")
    try:
        import papermill
    except ImportError as error:
        raise ReportError(f"reports need {error.name}: pip install -e '.[lab]'") from None
    path, values = find(notebook), dict(parameters or {})
    values["scale"] = scale_of(values.get("scale", scale)).name
    known = parameters_of(path)
    if unknown := ", ".join(values.keys() - known):
        listing = "".join(f"\n  {name} = {text}" for name, text in known.items()) or " none"
        raise ReportError(f"{path.stem} has no parameter {unknown}; it has:{listing}")
    out = Path(out or reports_root() / values["scale"] / path.name).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)

    def show(cell, cell_index):
        if cell.cell_type == "code":
            print(f"{path.stem} [{cell_index}] {cell.source.partition(chr(10))[0][:80]}", file=sys.stderr)

    failure = None
    backend = os.environ.pop("MPLBACKEND", None)  # set, it keeps every figure out of the report
    if sys.stderr.isatty():
        os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        try:
            papermill.execute_notebook(
                path, part, values, kernel_name="python3", progress_bar=False, cwd=path.parent,
                on_cell_execute=show, extra_arguments=["--log-level=CRITICAL"],  # else a warning about TCP
            )  # fmt: skip
        except papermill.PapermillExecutionError as error:
            failure = f"In [{error.exec_count}]: {error.ename}: {error.evalue}"
        except Exception as error:  # the kernel died, or would not start
            failure = f"{type(error).__name__}: {error}"
        finally:
            os.environ.pop(TERMINAL, None)
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
        if part.exists():
            write_whole(out, lambda file: file.write(_portable(part, path, out).encode()))
            html(out)
    if failure:
        raise ReportError(f"{path.stem} failed, {failure.strip()}\n  its report: {out.with_suffix('.html')}")
    return out


def html(path: Path) -> Path:
    """Write the web page of an executed notebook beside it."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config(CoalesceStreamsPreprocessor={"enabled": True})
    log = logging.getLogger("alexlib.report")
    log.setLevel(logging.ERROR)  # nbconvert warns of every figure without alternative text
    exporter = HTMLExporter(config=config, log=log, embed_images=True, require_js_url="")
    body, _ = exporter.from_filename(str(path))
    page = path.with_suffix(".html")
    body = body.replace("</head>", STYLE + "</head>", 1)
    write_whole(page, lambda file: file.write(body.encode()))
    return page


def _portable(part: Path, source: Path, out: Path) -> str:
    """Text of an executed notebook: no widgets, paths of this machine relative to the project."""
    import nbformat

    book = nbformat.from_dict(_relative(nbformat.read(part, as_version=4)))
    book.metadata.pop("widgets", None)
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]  # dead without a kernel
    for key, path in {"input_path": source, "output_path": out}.items():
        inside = path.is_relative_to(ROOT)
        book.metadata.papermill[key] = path.relative_to(ROOT).as_posix() if inside else path.name
    return nbformat.writes(book) + "\n"


def _relative(value):
    """All text, pictures excepted: the project's folder is left out and the home folder is `~`."""
    if isinstance(value, dict):
        return {k: v if str(k).startswith("image/") else _relative(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_relative(v) for v in value]
    if isinstance(value, str):
        return value.replace(f"{ROOT}/", "").replace(f"{Path.home()}/", "~/")
    return value
