"""What every notebook needs of Jupyter: checked parameters, and tables that are text as well."""

import ast
import json
from contextlib import suppress
from pathlib import Path

from alexlib.config import CIFAR13, PAPER, lookup
from alexlib.progress import in_notebook

FIELDS = {row["field"]: row["meaning"] for config in (PAPER, CIFAR13) for row in config.table()}
KINDS = {  # of parameters: the types that fit, and what a message says
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "text (papermill: -r NAME VALUE)"),
    "dict": ((dict,), "a dict"),
}


def parameters(names: dict, **options) -> dict:
    """Check the parameters of a notebook, in the cell after them; returns its options.

        options = parameters(globals(), device="auto", pictures=True)

    Text becomes a value where no text is expected: papermill passes "false" as text. What papermill
    sets besides the parameters is an option, or a field of the config, and is put there.

    Args:
        names: `globals()` of the notebook.
        options: all options and their defaults.

    Raises:
        ValueError: an unknown name, or a value of another type than the annotation or the default.
    """
    cells = names.get("In") or [Path(names["__file__"]).read_text("utf-8")]
    kinds = {name: kind for name, kind in _annotated(cells).items() if name in names}
    injected = [cell for cell in cells if cell.startswith("# Parameters\n")]  # by papermill
    exec("".join(injected[-1:]), {}, given := {})
    given = {name: given[name] for name in given if not name.startswith("PAPERMILL_")}

    values = fitted(given | {name: names[name] for name in kinds}, kinds, options)
    names.update({name: values[name] for name in kinds})
    extra = {name: value for name, value in values.items() if name not in kinds}
    fields = {name: value for name, value in extra.items() if name not in options}
    if fields:
        names["fields"] = names["fields"] | fields
    return options | names.get("options", {}) | {n: extra[n] for n in extra if n in options}


def fitted(given: dict, kinds: dict[str, str], options: dict) -> dict:
    """Parameters, options and fields of the config in the types that a notebook expects.

    Args:
        given: values by name; `fields` and `options` are dicts of more of them.
        kinds: the type of each parameter, e.g. {"epochs": "int"}.
        options: the defaults of the options.
    """
    kind_of = kinds | {name: type(value).__name__ for name, value in options.items()}
    fields = {name: "field" for name in FIELDS if "fields" in kinds and name not in kind_of}
    known = {"options": options, "fields": fields}
    values = {}
    for name, value in given.items():
        values[name] = _typed(name, value, lookup(kind_of | fields, name, "parameter"))
        if name in known and name in kinds:
            if here := kinds.keys() & values[name].keys():
                raise ValueError(f"{', '.join(here)}: not in {name}, it is a parameter of its own")
            for key, one in values[name].items():
                lookup(known[name], key, name.removesuffix("s"))
                values[name][key] = _typed(key, one, kind_of.get(key, "field"))
    return values


def _typed(name: str, value, kind: str):
    if isinstance(value, str) and kind != "str":
        value = value_of(value)
    types, expected = KINDS.get(kind, ((object,), ""))  # a config checks its fields
    if isinstance(value, types) and (type(value) is not bool or bool in types or object in types):
        return value
    raise ValueError(f"{name} = {value!r}: expected {expected}")


def value_of(text: str) -> object:
    """The value that a text spells in Python or JSON (`1e-3`, `True`, `false`), or the text."""
    for read in (ast.literal_eval, json.loads):
        with suppress(ValueError, SyntaxError):
            return read(text)
    return text


def options_of(code: str) -> dict:
    """The options and their defaults in the code of a notebook, from its call of `parameters`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "parameters":
            return {word.arg: ast.literal_eval(word.value) for word in node.keywords}
    return {}


def _annotated(cells: list[str]) -> dict[str, str]:
    """The annotations of variables in code, {"epochs": "int"}; Python 3.14 keeps no others."""
    found = {}
    for cell in cells:
        with suppress(SyntaxError):
            nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.AnnAssign)]
            found |= {ast.unparse(node.target): ast.unparse(node.annotation) for node in nodes}
    return {name: kind for name, kind in found.items() if kind in KINDS}


def as_text(styler) -> str:
    """A table of pandas as Markdown, which is readable as plain text and becomes a table in LaTeX.

    A Styler alone has HTML only, and a text with an address that changes with every run.
    """
    rows = [line.split("\t") for line in styler.to_string(delimiter="\t").splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


if in_notebook():
    from IPython import get_ipython

    kinds_of_output = get_ipython().display_formatter.formatters
    styler = "pandas.io.formats.style", "Styler"
    kinds_of_output["text/markdown"].for_type_by_name(*styler, as_text)
    kinds_of_output["text/plain"].for_type_by_name(*styler, lambda s, out, _: out.text(as_text(s)))
