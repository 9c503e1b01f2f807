"""Files and folders that the user names: looked at before they are read, so that no pipe or device is waited for.

Light, as ``sanm.formats.image_table`` is.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sanm.errors import InputError

KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
SYSTEM = ("/proc", "/sys")
"""Where the kernel shows itself as files, of which some have no end."""
LARGEST = 8 * 2**30
"""Bytes of a table or list that is read as a whole, at most."""


def status_of(path: Path) -> os.stat_result:
    """The status of a regular file. Raises OSError, whose ``strerror`` says why, for anything else."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    kind = next((name for is_one, name in KINDS if is_one(found.st_mode)), None)
    if kind is None and found.st_dev in _devices_of_system():
        kind = "of the system itself"
    if kind:
        raise OSError(errno.EINVAL, f"it is {kind}, no regular file", str(path))
    return found


def _devices_of_system() -> Iterator[int]:
    for place in SYSTEM:
        with suppress(OSError):
            yield os.stat(place).st_dev


def is_of_system(real_path: str) -> bool:
    """Whether a path without links is of what the kernel shows as files."""
    return any(real_path == place or real_path.startswith(f"{place}/") for place in SYSTEM)


def read_bytes(path: Path) -> bytes:
    """What a regular file of at most ``LARGEST`` bytes holds. Raises OSError, whose ``strerror`` says why."""
    _check_size(path)
    return path.read_bytes()


def read_text(path: Path) -> str:
    """The same as UTF-8 text, without the mark that spreadsheets put in front. Raises UnicodeDecodeError too."""
    _check_size(path)
    return path.read_text(encoding="utf-8-sig")


def _check_size(path: Path) -> None:
    size = status_of(path).st_size
    if size > LARGEST:
        reason = f"it has {size / 2**30:.3g} GiB, more than the {LARGEST / 2**30:g} that are read"
        raise OSError(errno.EFBIG, reason, str(path))


def sha256(path: Path) -> str:
    """Hash of a regular file of any size. Raises OSError, whose ``strerror`` says why."""
    status_of(path)
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_folder(path: Path) -> bool:
    """Whether a folder is there. Raises InputError where nobody can say: one above it is closed, or it is no name."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{str(path)[:200]} cannot be read ({error.strerror}): open it, or give another") from error


def is_there(path: Path) -> bool:
    """Whether a file or folder is there. Raises InputError as ``is_folder`` does."""
    return is_folder(path) or path.exists()
