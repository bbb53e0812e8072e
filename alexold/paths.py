"""Where things are: from the package's location or the environment, never from the working directory."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """Folder of the data sets: `$ALEXLIB_DATA`, else `data/` in the project."""
    return Path(os.environ.get("ALEXLIB_DATA") or ROOT / "data").expanduser().resolve()


def runs_root() -> Path:
    """Folder of runs and packed pictures: `$ALEXLIB_RUNS`, else `runs/` in the project."""
    return Path(os.environ.get("ALEXLIB_RUNS") or ROOT / "runs").expanduser().resolve()


def reports_root() -> Path:
    """Folder of reports and rows: `$ALEXLIB_REPORTS`, else `reports/` in the project."""
    return Path(os.environ.get("ALEXLIB_REPORTS") or ROOT / "reports").expanduser().resolve()


def cache_root() -> Path:
    """Folder of what can be made again at any time: `$XDG_CACHE_HOME/alexold`, else `~/.cache/alexold`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alexold"


def write_whole(file: Path, fill: Callable, before: Path | None = None) -> None:
    """A whole file or none: `fill(out)` writes it, in bytes, under another name; it is synced and renamed.

    Args:
        before: what the file of this name that is there now is renamed to; without it, it is replaced.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as out:
            fill(out)
            out.flush()
            os.fsync(out.fileno())
        if before and file.exists():
            os.replace(file, before)
        os.replace(part, file)
        _sync(file.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """The names in a folder reach the disk, where the system allows it."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
