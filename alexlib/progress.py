"""One line of progress: live in a notebook or a terminal, silent in a log, and a single final line in all of them."""

import sys
import time


class Progress:
    """`show` draws where somebody can watch, as often as `due` says; `end` leaves the final text."""

    def __init__(self):
        self._drawn = 0.0
        self._handle = _notebook_display()
        self._terminal = self._handle is None and sys.stderr.isatty()

    def due(self) -> bool:
        """Twice a second, where somebody can watch."""
        return (self._terminal or self._handle is not None) and time.monotonic() - self._drawn > 0.5

    def show(self, text: str) -> None:
        self._drawn = time.monotonic()
        if self._handle is not None:
            self._handle.update(_Text(text))
        elif self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def end(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update(_Text(text))
        else:
            print(f"\r\x1b[K{text}" if self._terminal else text, file=sys.stderr, flush=True)


class _Text(str):
    """Shown as it is, without quotes."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def _notebook_display():
    """A display that can be updated, if this is a notebook."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython.display import display

    return display(_Text(""), display_id=True)


def clock(seconds: float) -> str:
    """Seconds as a person would say them: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
