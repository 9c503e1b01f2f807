"""``torchrun`` as tests start it: two processes on this machine's CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import ROOT


@contextmanager
def torchrun(*words: str, processes: int = 2) -> Iterator[subprocess.Popen[str]]:
    """``torchrun -m WORDS`` underway; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            f"--nproc_per_node={processes}",
            "--standalone",
            "-m",
            *words,
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for each in [*workers(process), process.pid]:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that torchrun has started, by rank."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return sorted(map(int, found.stdout.split()))
