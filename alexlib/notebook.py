"""What every notebook needs from Jupyter: checked parameters, and tables that are also text."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from alexlib.config import CIFAR13, PAPER, lookup
from alexlib.progress import in_notebook

# Fields of the config that can be set; the number of classes is that of the images.
FIELDS = {row["field"]: row["meaning"] for config in (PAPER, CIFAR13) for row in config.table()}
del FIELDS["classes"]
KINDS = {  # of parameters: the types that fit, and what a message says
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "text (papermill: -r NAME VALUE)"),
    "dict": ((dict,), "a dict"),
}
RETURNED = {}  # the last options, and the parameter `options` that they were made from


def parameters(names: dict, **options) -> dict | None:
    """Check the parameters of a notebook, in the cell after them; returns its options, if any.

        options = parameters(globals(), device="auto", pictures=True)

    Text becomes a value where no text is expected: papermill passes "false" as text. Any other name
    that papermill sets must be an option or a field of the config, and is stored as such.

    Args:
        names: `globals()` of the notebook.
        options: all options and their defaults.

    Raises:
        ValueError: an unknown name, or a value of another type than the annotation or the default.
    """
    cells = names.get("In") or [Path(names["__file__"]).read_text("utf-8")]
    # Jupyter keeps no annotations with Python 3.14: they are read from the code.
    nodes = [node for node in _statements(cells) if isinstance(node, ast.AnnAssign)]
    kinds = {ast.unparse(node.target): ast.unparse(node.annotation) for node in nodes}
    kinds = {name: kind for name, kind in kinds.items() if name in names and kind in KINDS}
    given = {name: names[name] for name in kinds}
    if given.get("options") is RETURNED.get("options", kinds):  # the cell is run again
        given["options"] = RETURNED["given"]

    injected = [cell for cell in cells if cell.startswith("# Parameters\n")]  # by papermill
    exec("".join(injected[-1:]), {}, others := {})
    others = {name: others[name] for name in others if not name.startswith("PAPERMILL_")}
    values = fitted(others | given, kinds, options)
    names.update({name: values[name] for name in kinds})

    others = {name: values[name] for name in others if name not in kinds}
    if fields := {name: others[name] for name in others if name not in options}:
        names["fields"] = names["fields"] | fields
    chosen = values.get("options", {}) | {name: others[name] for name in others if name in options}
    RETURNED.update(given=given.get("options"), options=options | chosen)
    return RETURNED["options"] or None


def accepted(kinds: dict[str, str], options: dict) -> dict[str, str]:
    """The type of everything that a notebook can be given by name; "field" for config fields.

    Args:
        kinds: the type of each parameter, e.g. {"epochs": "int"}.
        options: the options and their defaults.
    """
    own = kinds | {name: type(value).__name__ for name, value in options.items()}
    fields = FIELDS if "fields" in kinds else {}
    return own | {name: "field" for name in fields if name not in own}


def fitted(given: dict, kinds: dict[str, str], options: dict) -> dict:
    """The given values, in the types that a notebook expects; ValueError if they do not fit.

    Entries of the parameters `options` and `fields` are checked as well.
    """
    known, values = accepted(kinds, options), {}
    for name, value in given.items():
        values[name] = _typed(name, value, lookup(known, name, "parameter"))
    fields = {name: kind for name, kind in known.items() if kind == "field"}
    others = {name: known[name] for name in options}
    for name, kind_of in (("options", others), ("fields", fields)):
        if name in kinds and name in values:
            values[name] = {
                key: _typed(key, value, lookup(kind_of, key, f"entry of {name}"))
                for key, value in values[name].items()
            }
    return values


def _typed(name: str, value, kind: str):
    if isinstance(value, str) and kind != "str":
        value = value_of(value)
    if kind != "field" and type(value) not in KINDS[kind][0]:  # a config checks its fields itself
        raise ValueError(f"{name} = {value!r}: expected {KINDS[kind][1]}")
    return value


def value_of(text: str) -> object:
    """The value of a text in Python or JSON (`1e-3`, `True`, `false`), or the text itself."""
    for read in (ast.literal_eval, json.loads):
        with suppress(ValueError, SyntaxError):
            return read(text)
    return text


def options_of(cells: list[str]) -> dict:
    """The options and their defaults in the code of a notebook, from its call of `parameters`."""
    for node in _statements(cells):
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "parameters":
            return {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    return {}


def _statements(cells: list[str]) -> Iterator[ast.stmt]:
    for cell in cells:
        with suppress(SyntaxError):  # a user error, or a magic command
            yield from ast.parse(cell).body


def as_text(styler) -> str:
    """A pandas table as Markdown, which is readable as plain text and becomes a table in LaTeX.

    A Styler itself has only HTML, and a text with a memory address that changes with every run.
    """
    spread = {"sparse_index": False, "sparse_columns": False}
    text = styler.to_string(delimiter="\t", **spread).replace("|", "\\|")
    columns = list(zip_longest(*(line.split("\t") for line in text.splitlines()), fillvalue=""))
    widths = [max(map(len, column)) for column in columns]
    rows = [" | ".join(map(str.ljust, row, widths)) for row in zip(*columns, strict=True)]
    rows.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {row} |" for row in rows)


def as_html(styler) -> str:
    """A pandas table for a web page: text is left-aligned in its column, numbers right-aligned."""
    left, number = [{"selector": "", "props": "text-align: left"}], r"[-+.\d]|nan|None"
    text = [c for c, x in styler.data.items() if not x.astype(str).str.match(number).all()]
    return styler.set_table_styles(dict.fromkeys(text, left), overwrite=False).to_html()


if in_notebook():
    from IPython import get_ipython

    kinds_of_output = get_ipython().display_formatter.formatters
    styler = "pandas.io.formats.style", "Styler"
    kinds_of_output["text/html"].for_type_by_name(*styler, as_html)
    kinds_of_output["text/markdown"].for_type_by_name(*styler, as_text)
    kinds_of_output["text/plain"].for_type_by_name(*styler, lambda s, out, _: out.text(as_text(s)))
