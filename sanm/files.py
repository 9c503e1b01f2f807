"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sanm.errors import InputError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` with an open file that becomes ``path`` when it is complete and on the disk.

    Raises InputError when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # there is none, or not even its folder
            temporary.unlink()
    _sync_folder(path.parent)


def remove_partial_files(folder: Path, name: str = "*") -> None:
    """Remove what killed writers left in a folder of all files, or of the one, that nobody else is writing."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> InputError:
    """The one line to show for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"no space left to write {path}: free some and run the same command again, it goes on")
    return InputError(f"cannot write {path} ({error.strerror}): give a place that can be written")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
