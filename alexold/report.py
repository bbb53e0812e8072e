"""Notebooks to reports: papermill runs them, `site` makes a web page of each. A report says what it was made with."""

import ast
import json
import logging
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .config import SCALES, scale_of
from .data import Images
from .paths import ROOT, reports_root, write_whole
from .progress import TERMINAL
from .rows import provenance
from .site import failure, index, index_of, page, title

NOTEBOOKS = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
MADE = "made-with"  # tag of the cell at the end of a report
ASK = "import json\n\nfrom alexold import report\n\nprint(json.dumps(report.made_with(globals())))"
KINDS = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "None": (type(None),)}


class ReportError(ValueError):
    """A report that cannot be made, or a notebook that failed; the message is for the user."""


# ---- notebooks and their parameters ---------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Parameter:
    """A line of the cell tagged `parameters`: `name: kind = default  # help`."""

    line: str
    kind: str  # "" where it has none

    @property
    def scales(self) -> list[str]:
        """Those that the comment names."""
        return [name for name in SCALES if re.search(rf"\b{name}\b", self.line.partition("#")[2])]

    def takes(self, value) -> bool:
        """Whether a value is of the kind; a kind that is not plain takes all."""
        kinds = [kind.strip() for kind in self.kind.split("|")]
        return not set(kinds) <= KINDS.keys() or any(type(value) in KINDS[kind] for kind in kinds)


def parameters_of(path: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in their order."""
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    source = next((c.source for c in cells if "parameters" in c.metadata.get("tags", [])), "")
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            found[name] = Parameter("\n".join(lines[node.lineno - 1 : node.end_lineno]), kind)
    return found


def checked(path: Path, given: dict) -> dict:
    """The given parameters, for a notebook that has a scale with its scale; ReportError: one that it does not take."""
    known = parameters_of(path)
    values = {"scale": "sample"} | given if "scale" in known else dict(given)
    if unknown := ", ".join(values.keys() - known):
        listing = "".join(f"\n  {parameter.line}" for parameter in known.values()) or " none"
        raise ReportError(f"{path.stem} has no parameter {unknown}; it has:{listing}")
    if "scale" in values:
        values["scale"], has = scale_of(values["scale"]).name, known["scale"].scales
        if has and values["scale"] not in has:
            raise ReportError(f"{path.stem} has no scale {values['scale']}; it has: {', '.join(has)}")
    for name, value in values.items():
        if not known[name].takes(value):
            raise ReportError(f"{path.stem} does not take {name} = {value!r}; it has:\n  {known[name].line}")
    return values


def plan(given: dict) -> tuple[dict[str, dict], list[str]]:
    """What to run for all notebooks: {name: those of the given parameters that it has}; and who lacks the scale.

    All is checked before anything runs. ReportError: a parameter that no notebook has, or a value that one refuses.
    """
    known = {name: parameters_of(find(name)) for name in notebooks()}
    if unknown := ", ".join(given.keys() - {"scale"}.union(*known.values())):
        raise ReportError(f"no notebook has a parameter {unknown}")
    scale = scale_of(given.get("scale", "sample")).name
    lacking = [name for name, has in known.items() if "scale" in has and scale not in (has["scale"].scales or SCALES)]
    fitting = {
        name: {key: given[key] for key in given.keys() & has} for name, has in known.items() if name not in lacking
    }
    return {name: checked(find(name), values) for name, values in fitting.items()}, lacking


# ---- running --------------------------------------------------------------------------------------------------


def run(notebook: str | Path, parameters: dict | None = None, out=None) -> Path:
    """Run a notebook into `<reports>/<scale>/<name>.ipynb` (without a scale: `<reports>/<name>.ipynb`; or `out`).

    Its page is written beside it, and the index anew. A notebook that fails leaves its report too, error included, and
    raises `ReportError`.
    """
    if out is not None and Path(out).suffix != ".ipynb":
        raise ReportError(f"{out}: expected the name of a notebook, NAME.ipynb")
    try:
        import latex2mathml  # noqa: F401
        import nbconvert  # noqa: F401
        import papermill  # noqa: F401
    except ImportError as error:
        raise ReportError(f"reports need {error.name}: pip install -e '.[lab]'") from None
    path = find(notebook)
    values = checked(path, parameters or {})
    out = Path(out or reports_root() / values.get("scale", "") / path.name).absolute()
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        failed = _execute(path, part, values)
        if part.exists():
            text = _portable(part, path, out, failed)
            write_whole(out, lambda file: file.write(text.encode()))
            page(out)
    if out.is_relative_to(reports_root()):
        index(index_of(out))
    if failed:
        raise ReportError(f"{path.stem} failed, {failed}\n  its report: {out.with_suffix('.html')}")
    return out


def _execute(path: Path, part: Path, values: dict) -> str:
    """Run a notebook into `part`, with a last cell that asks what it was made with. Returns what it failed with."""
    import nbformat
    import papermill

    def show(cell, cell_index):
        if cell.cell_type == "code" and MADE not in cell.metadata.get("tags", []):
            print(f"{path.stem} [{cell_index}] {cell.source.partition(chr(10))[0][:80]}", file=sys.stderr)

    book = nbformat.read(path, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(ASK, metadata={"tags": [MADE]}))
    asking = part.with_name(f"asking_{path.name}")
    nbformat.write(book, asking)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with _surroundings():
            papermill.execute_notebook(
                asking, part, values, kernel_name="python3", progress_bar=False, cwd=path.parent,
                on_cell_execute=show, extra_arguments=["--log-level=CRITICAL"],  # else a warning about TCP
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        return f"In [{error.exec_count}]: {error.ename}: {error.evalue}".strip()
    except Exception as error:  # the kernel died, or would not start
        return f"{type(error).__name__}: {error}".strip()
    return ""


@contextmanager
def _surroundings():
    """The kernel's environment: no backend, which would keep every figure out; where progress may be shown."""
    backend = os.environ.pop("MPLBACKEND", None)
    if sys.stderr.isatty():
        os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())
    try:
        yield
    finally:
        os.environ.pop(TERMINAL, None)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


# ---- what a report holds --------------------------------------------------------------------------------------


def made_with(names: dict) -> dict:
    """What a notebook is made with: device, versions, commit, time, and its sets of pictures by fingerprint.

    Args:
        names: the notebook's variables; `device` is its device, if it has one.
    """
    sets = {one.fingerprint: one for one in names.values() if isinstance(one, Images)}
    pictures = [f"{s.name}, {s.split}: {len(s):,} pictures, {fingerprint}" for fingerprint, s in sets.items()]
    return provenance(str(names.get("device", "cpu"))) | {"pictures": pictures}


def _portable(part: Path, source: Path, out: Path, failed: str) -> str:
    """Text of an executed notebook: no widgets, nothing of this machine's folders; at its end what it was made with."""
    import nbformat

    book = nbformat.read(part, as_version=4)
    asked = next(cell for cell in book.cells if MADE in cell.metadata.get("tags", []))
    said = "".join(output.text for output in asked.outputs if output.get("name") == "stdout")
    made = (json.loads(said) if said else made_with({}) | {"device": "-"}) | {"failure": failed}
    book.cells[book.cells.index(asked)] = nbformat.v4.new_markdown_cell(_block(book, made), metadata={"tags": [MADE]})
    book = nbformat.from_dict(_relative(book))
    book.metadata.pop("widgets", None)
    book.metadata |= {"alexold": _relative(made), "title": title(book)}
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]  # dead without a kernel
    for key, path in {"input_path": source, "output_path": out}.items():
        inside = path.is_relative_to(ROOT)
        book.metadata.papermill[key] = path.relative_to(ROOT).as_posix() if inside else path.name
    return nbformat.writes(book) + "\n"


def _block(book, made: dict) -> str:
    """The last cell of a report."""
    given = book.metadata.papermill.parameters
    dirty = ", changed since" if made["commit"].endswith("+") else ""
    lines = {
        "code": f"commit `{made['commit'].rstrip('+')}`{dirty}",
        "parameters": ", ".join(f"`{name} = {value!r}`" for name, value in given.items()) or "as they stand",
        "pictures": "; ".join(made["pictures"]) or "none",
        "device": made["device"],
        "versions": ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "finished": made["started"],
    }
    if made["failure"]:
        lines["failed"] = f"`{made['failure']}`"
    return "## Made with\n\n" + "\n".join(f"- **{name}**: {text}" for name, text in lines.items())


def stale(path: Path) -> str:
    """Why a report no longer belongs to its notebook; "" if it does: it has its parameters and says what made it.

    Text and code of the notebook may have changed since: what a report rests on are its parameters and the rows.
    """
    book = json.loads(path.read_text())
    ran = book["metadata"]["papermill"]
    source = ROOT / ran["input_path"]
    if not source.exists():
        return f"there is no {source.relative_to(ROOT)}"
    if unknown := set(ran["parameters"]) - set(parameters_of(source)):
        return f"its notebook has no {', '.join(sorted(unknown))} now"
    if wrong := failure(book):
        return f"it failed: {wrong}"
    return "" if "alexold" in book["metadata"] else "it does not say what it was made with"


def _relative(value):
    """All text, pictures excepted: the project's folder is left out and the home folder is `~`."""
    if isinstance(value, dict):
        return {k: v if str(k).startswith("image/") else _relative(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_relative(v) for v in value]
    if isinstance(value, str):
        return value.replace(f"{ROOT}/", "").replace(f"{Path.home()}/", "~/")
    return value
