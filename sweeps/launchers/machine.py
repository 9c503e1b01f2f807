"""What this machine has for several runs at once: cores, GPUs, memory. Nothing here loads torch."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Names of the visible GPUs as CUDA_VISIBLE_DEVICES takes them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return _nvidia_smi("index")


def gpu_memory_mb() -> float | None:
    """Memory of the smallest GPU, in MiB; None where nobody says."""
    found = _nvidia_smi("memory.total")
    return min((float(value) for value in found), default=None)


def memory_mb() -> float:
    """Main memory that this process may use, in MiB: the machine's, or its control group's when that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found = min(found, int(Path(limit).read_text()) / 2**20)
    return found


def _nvidia_smi(field: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
