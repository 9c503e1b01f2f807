"""Files that are made once and kept for all processes: one makes them, the others wait."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sanm.files import remove_partial_files
from sanm.terminal import output

LOOK_EVERY = 0.5
"""Seconds between looks whether another process has made what both want."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
"""What a disk says that has none; processes may then work beside each other."""


@contextmanager
def alone_with(file: Path, verb: str) -> Iterator[None]:
    """Within, no other process writes the file, and what one that was killed has left of it is gone.

    ``verb`` begins the line that says so where another one is at it.
    """
    lock = FileLock(file.with_name(f".{file.name}.lock"), mode=0o666, poll_interval=LOOK_EVERY)  # anybody's
    try:
        lock.acquire(timeout=0)
    except Timeout:
        output.say(f"{verb:<8} {file}: another process is at it, waiting for it")
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        if lock.is_locked:
            remove_partial_files(file.parent, file.name)
        yield
    finally:
        lock.release()
