"""Dataclass fields with a meaning and valid values."""

import dataclasses
import typing


def setting(default, meaning: str, *valid):
    """A field of a `Checked` dataclass.

    Args:
        meaning: a text for tables and error messages.
        valid: the least and the largest value of a number, or of each number of a tuple; all
            choices of a string. A bool needs none.
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, "valid": valid})


class Checked:
    """Base class of frozen dataclasses that check their fields: a wrong value is a ValueError.

    Where a float or a tuple is expected, an int or a list is converted. A bool is not a number.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self._checked(field))

    def _checked(self, field: dataclasses.Field):
        """The value of a field, in the type of the field."""
        value, valid = getattr(self, field.name), field.metadata["valid"] or (True, False)
        is_tuple = typing.get_origin(field.type) is tuple
        types = typing.get_args(field.type) if is_tuple else (field.type,)  # of the items
        kind, is_number = types[0], types[0] in (int, float)
        length = None if ... in types else len(types)

        items = list(value) if isinstance(value, list | tuple) else [value]
        items = [x.item() if hasattr(x, "item") else x for x in items]  # a NumPy number
        items = [float(x) if kind is float and type(x) is int else x for x in items]
        if (
            isinstance(value, list | tuple) == is_tuple
            and length in (None, len(items))
            and all(type(x) is kind for x in items)
            and all(valid[0] <= x <= valid[1] if is_number else x in valid for x in items)
        ):
            return tuple(items) if is_tuple else items[0]

        values = f"{kind.__name__}, {(' to ' if is_number else ' or ').join(map(str, valid))}"
        if is_tuple:
            values = f"a tuple of {length or 'any number of'} values, each {values}"
        name, meaning = f"{type(self).__name__}.{field.name}", field.metadata["meaning"]
        raise ValueError(f"{name} = {value!r}: expected {values} ({meaning})")
