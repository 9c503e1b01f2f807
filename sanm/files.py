"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sanm.errors import InputError

ZIP = b"PK\x03\x04"
"""How an archive begins; torch's files did not before version 1.6."""


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` with an open file that becomes ``path`` when it is complete and on the disk.

    A link stays one: the file that it leads to is replaced. Raises InputError when the disk is full or the folder
    cannot be written, and for what is there and is no regular file (a folder, a device, a pipe); the old file is then
    untouched.
    """
    named, path = path, Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"cannot write {named}, which is no regular file: give a file")
        with open(temporary, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(named, error) from error
    finally:
        with suppress(OSError):  # there is none, or not even its folder
            temporary.unlink()
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write what there is as ``write_atomically`` does."""
    write_atomically(path, lambda handle: handle.write(content))


def check_sums(path: Path, required: bool = True) -> None:
    """Read a zip archive, which torch's and NumPy's files are, against the check sums that it holds of its members.

    Other readers pass them over. Raises ValueError that says in a few words what does not fit: one of them, or, where
    they are ``required``, that it is no archive or has none. Raises OSError when the file cannot be read.
    """
    with open(path, "rb") as handle:
        if not required and handle.read(4) != ZIP:
            return
        try:
            with zipfile.ZipFile(handle) as archive:
                summed = required or any(member.CRC for member in archive.infolist())
                damaged = archive.testzip() if summed else None
                if any(member.comment for member in archive.infolist()):  # nobody writes one: a length was damaged
                    raise zipfile.BadZipFile("a member has swallowed those behind it")
        except Exception as error:  # a damaged archive raises nearly anything
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that: a place before the file's begin
                raise
            raise ValueError(f"it is cut or damaged: {str(error).partition(chr(10))[0]}") from error
    if damaged is not None:
        raise ValueError(f"it is damaged: the check sum of {damaged} is another")


def write_json(path: Path, content: object) -> None:
    """Write plain values with a check sum, atomically, for ``read_json``. Raises InputError as ``write_atomically``."""
    write_bytes(path, json.dumps({"content": content, "sha256": _sha_of_json(content)}).encode())


def read_json(path: Path) -> Any:
    """What ``write_json`` wrote, None where it is not there whole and unchanged: for what can be made again."""
    try:
        found = json.loads(path.read_bytes())
        return found["content"] if found["sha256"] == _sha_of_json(found["content"]) else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _sha_of_json(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


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
