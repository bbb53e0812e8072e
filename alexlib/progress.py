"""Progress bars that work in a terminal, in notebooks and in reports, without widgets."""

import sys

from tqdm import tqdm


def bar(disable: bool = False, **options) -> tqdm:
    """A tqdm bar for terminals and notebooks, cleared at its end; hidden anywhere else."""
    notebook = in_notebook()
    hidden = disable or not (notebook or sys.stderr.isatty())
    file = OneOutput() if notebook and not hidden else sys.stderr
    return tqdm(mininterval=0.5, leave=False, disable=hidden, file=file, **options)


def in_notebook() -> bool:
    """Whether this code runs in the kernel of a notebook."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class OneOutput:
    """A cell output whose contents can be replaced; tqdm can write to it as to a file."""

    def __init__(self):
        self.handle = None

    def write(self, text: str) -> None:
        if text.strip() or self.handle:
            self.show({"text/plain": text.strip()})

    def show(self, shown: dict) -> None:
        from IPython.display import display

        if self.handle:
            self.handle.update(shown, raw=True)
        else:
            self.handle = display(shown, raw=True, display_id=True)

    def flush(self) -> None:
        pass
