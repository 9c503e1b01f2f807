"""Memory of the host: what a step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's names for its settings, malloc.h
NEVER_TRIM = 2**31 - 1
GROW_BY = 64 * 2**20


def keep_freed_memory() -> None:
    """Let the process keep what it frees, until ``release_freed_memory``. Allocators other than glibc's are left alone.

    By default glibc gives every large tensor back to the system as soon as it is freed, and the system clears the
    pages of the next one: a sixth of the time of a step with a small network (docs/performance.md).
    """
    library = _glibc()
    if library is not None:
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, NEVER_TRIM)
        library.mallopt(TOP_PAD, GROW_BY)


def release_freed_memory() -> None:
    """Give back what has been kept."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
