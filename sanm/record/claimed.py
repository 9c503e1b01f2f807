"""Whether a living process is at a run, on this machine or on another one that shares the disk."""

from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""The file in a run's directory that its owner has locked; the kernel frees it when the owner dies."""


def claimed(run: Path) -> bool:
    """Whether the directory's lock is taken now. Changes nothing, and makes no file."""
    path = run / LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a disk that can only be read: nobody works there
        return False
