"""Where a result comes from: versions of what ran, the commit, the machine's use."""

import platform
import re
import resource
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sanm import __version__
from sanm.machine.memory import release_freed_memory

REPOSITORY = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Versions of the interpreter, the libraries that compute, and this package."""
    found = {"sanm": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> tuple[str | None, bool]:
    """The commit the code is at, and whether tracked files differ from it; (None, False) outside a checkout."""
    head = _git("rev-parse", "--short=10", "HEAD")
    return (head, bool(_git("status", "--porcelain", "--untracked-files=no"))) if head else (None, False)


def code() -> dict[str, Any]:
    """What ran, for a record: versions, commit, and whether tracked files differ from it."""
    head, dirty = commit()
    return {"versions": versions(), "commit": head, "dirty": dirty}


def cost(seconds: float, images: int, device: torch.device) -> dict[str, Any]:
    """What ``images`` training images took, for a record: time, speed, memory since the reset, machine."""
    return {
        "seconds": round(seconds, 3),
        "images_per_second": round(images / max(seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(device), 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _git(*arguments: str) -> str | None:
    if not (REPOSITORY / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak of the runs that this process did before, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    release_freed_memory()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Most memory in use since the reset, in MiB: of the device when it is a GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # since the process began
