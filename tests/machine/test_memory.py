"""Freed memory is kept for the next step, and given back between runs."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
import resource, torch
from sanm.machine.memory import keep_freed_memory, release_freed_memory
def pages():
    return int(open('/proc/self/statm').read().split()[1])
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2 ** 24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
usual = [faults() for _ in range(3)][-1]
keep_freed_memory()
kept = min(faults() for _ in range(10))  # the first ones find their place
held = pages()
release_freed_memory()
print(usual, kept, held, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists(), reason="glibc on Linux")
def test_memory_is_kept_until_it_is_released() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    usual, kept, held, released = map(int, done.stdout.split())
    assert usual > 1000  # pages of 4 KiB, each cleared by the system anew
    assert kept < usual / 10
    assert released < held - 10_000
