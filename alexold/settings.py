"""Fields of frozen dataclasses that know their meaning and their valid values; a wrong value fails at once."""

import dataclasses
import math
from dataclasses import field


def setting(default, doc: str, *, one_of=None, low=-math.inf, high=math.inf, length=None, each=None):
    """A dataclass field with its meaning and its valid values; `each` = values a tuple's items may take."""
    meta = {"doc": doc, "one_of": one_of, "low": low, "high": high, "length": length, "each": each}
    return field(default=default, metadata=meta)


def _expected(f: dataclasses.Field) -> str:
    m = f.metadata
    if m["one_of"]:
        return "one of " + ", ".join(map(repr, m["one_of"]))
    if isinstance(f.default, tuple):
        size = f"{m['length']} values" if m["length"] else "a tuple"
        return size + (f" out of {', '.join(map(str, m['each']))}" if m["each"] else "")
    return f"{f.type.__name__} from {m['low']:g} to {m['high']:g}"


def check(settings) -> None:
    """Reject any value that its field does not allow; ints become floats where floats are meant."""
    for f in dataclasses.fields(settings):
        value, m = getattr(settings, f.name), f.metadata
        if f.type is float and type(value) is int:
            value = float(value)
        if isinstance(f.default, tuple) and isinstance(value, list):
            value = tuple(value)
        object.__setattr__(settings, f.name, value)
        good = type(value) is f.type
        if good and m["one_of"]:
            good = value in m["one_of"]
        elif good and isinstance(value, tuple):
            good = (m["length"] in (None, len(value))) and (not m["each"] or set(value) <= set(m["each"]))
        elif good and f.type in (int, float):
            good = m["low"] <= value <= m["high"]
        if not good:
            raise ValueError(f"{type(settings).__name__}.{f.name} = {value!r}: expected {_expected(f)} ({m['doc']})")
