"""Locks, writing and imports, also where a file system or an installation lacks something."""

import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EBADF}


def try_writing(folder: Path, variable: str) -> None:
    """Raise OSError if a folder cannot be written to; the message names the variable to set."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        text = f"cannot write in {folder} ({error}): set {variable} to a folder of your own"
        raise OSError(text) from None


def imported(name: str, packages: str):
    """An optional library. ModuleNotFoundError: says which packages to install."""
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}: pip install {packages}") from error


def lock(file: Path, waiting: str = "", kind=FileLock):
    """Acquire a lock, for use in `with`; prints `waiting` if another process has it."""
    found = kind(file)
    try:
        return found.acquire(blocking=False)
    except Timeout:
        if waiting:
            print(f"{waiting} (lock: {file})", file=sys.stderr)
        return found.acquire()
    except OSError:
        if kind is SoftFileLock:
            raise
        return lock(Path(f"{file}.soft"), waiting, SoftFileLock)  # a file system without flock


def sync(*paths: Path) -> None:
    """Flush files or folders to the disk, if the system and the file system support it."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise


def atomic_write(file: Path, fill: Callable, before: Path | None = None) -> None:
    """Write a file atomically: temporary file, fsync, rename.

    Args:
        fill: called with the temporary file, open for bytes.
        before: an existing `file` is renamed to this, not replaced.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    try:
        with open(temporary, "wb") as out:
            fill(out)
        sync(temporary)
        if before and file.exists():
            os.replace(file, before)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
