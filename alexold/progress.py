"""One line of progress: live in a notebook or a terminal, silent in a log, and a single final line in all of them."""

import os
import sys
import time

from alexold.parallel import rank

listener = None  # in a worker: what its lines go to
TERMINAL = "ALEXLIB_TERMINAL"  # environment: where a notebook without a reader shows its progress (`report` sets it)


class Progress:
    """`show` draws where somebody can watch, as often as `due` says; `end` leaves the final text.

    Each text is preceded by `before`, which may be changed between them.
    """

    def __init__(self, before: str = ""):
        self.before = before
        self._drawn = 0.0
        self._display, self._notebook = None, _in_notebook()
        name = os.environ.get(TERMINAL)
        self._terminal = open(name, "w") if name else sys.stderr if sys.stderr.isatty() else None  # noqa: SIM115

    def due(self) -> bool:
        """Twice a second, where somebody can watch."""
        return (
            bool(self._terminal or self._notebook or listener) and not rank() and time.monotonic() - self._drawn > 0.5
        )

    def show(self, text: str) -> None:
        self._drawn, text = time.monotonic(), self.before + text
        if listener:
            listener(text)
        self._write(text)
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=self._terminal, flush=True)

    def end(self, text: str) -> None:
        if rank():
            return
        text = self.before + text
        self._write(text)
        if self._terminal:
            print(f"\r\x1b[K{text}", file=self._terminal, flush=True)
        elif not self._notebook:
            print(text, file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        """In a notebook: one display, made on the first text and changed by those that follow."""
        if self._display:
            self._display.update(_Text(text))
        elif self._notebook:
            from IPython.display import display

            self._display = display(_Text(text), display_id=True)


class _Text(str):
    """Shown as it is, without quotes."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def _in_notebook() -> bool:
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def clock(seconds: float) -> str:
    """Seconds as a person would say them: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
