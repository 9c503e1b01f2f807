"""Memory: what of it is left, and that of the host which a step frees kept for the next one."""

import ctypes
import platform
import re
from contextlib import suppress
from pathlib import Path

import torch

from sanm.machine.several import processes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's names for its settings, malloc.h
NEVER_TRIM = 2**31 - 1
GROW_BY = 64 * 2**20
CONTROL_GROUPS = Path("/sys/fs/cgroup")


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


def available_memory(device: torch.device) -> int | None:
    """Bytes that could be taken on the device now: of a GPU, what the process keeps for itself included, or of the
    host, by the system's account and the limits of the control groups that the process is in, where each process of the
    run has the same share. None where nobody says.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    with suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if found:
            return min([int(found[1]) * 2**10, *_left_of_limits()]) // processes.count_here()
    return None


def _left_of_limits() -> list[int]:
    """Bytes that each control group (version 2) around the process still allows; what files are cached in is free."""
    left = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.partition("::")[2] for line in lines if line.startswith("0::"))
        place = CONTROL_GROUPS / own.lstrip("/")
        for group in (place, *place.parents):
            if not group.is_relative_to(CONTROL_GROUPS):
                break
            limit = group / "memory.max"
            if limit.is_file() and (most := limit.read_text().strip()) != "max":
                taken = re.search(r"^anon (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
                left.append(max(0, int(most) - int(taken[1] if taken else 0)))
    return left
