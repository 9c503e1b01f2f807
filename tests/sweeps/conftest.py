"""What tests of grids and studies share: command lines in processes of their own, tiny cells, studies."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from sanm.config.checks import CONF
from sweeps.studies.study import Study, study_of
from tests.conftest import ROOT, SMALL

TINY = (*SMALL, "base_method=ce", "quality.every=0", "trainer.last_window=1")
"""Overrides that make the cells of the grid ``quick`` a matter of a second."""

KILLS = int(os.environ.get("SANM_TEST_KILLS", "2"))
"""How many random kills a grid and a study have to stand; 15 of each take some minutes."""


@pytest.fixture
def hydra() -> Iterator[None]:
    """Hydra as the launcher has it, for what composes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def start(command: str, runs: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """``python -m sweeps.launch COMMAND quick`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps.launch", command, "quick", f"runs_dir={runs}", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], timeout: float = 240) -> tuple[int, str, str]:
    """Status, output and errors of a process, once it has ended."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def launched(command: str, runs: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    return ended(start(command, runs, *arguments, **environment))


def children(process: int) -> list[int]:
    """Processes that a process has started and that are still there."""
    everybody = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [one for one in everybody if parent(one) == process]


def parent(process: int) -> int | None:
    """Who started a process; None when it is not there, or has ended and nobody has asked how."""
    return _parent_and_session(process)[0]


def _parent_and_session(process: int) -> tuple[int, int] | tuple[None, None]:
    try:
        state, number, _, session, *_ = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return (None, None) if state == "Z" else (int(number), int(session))


def killed_at_random(process: subprocess.Popen[str], runs: Path, chance: random.Random) -> bool:
    """Kill a command, some of its workers, or both, a moment after a run has saved. False when it has ended before."""
    before = saved(runs)
    while saved(runs) == before and process.poll() is None:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 0.5))
    if process.poll() is not None:
        return False
    workers = children(process.pid)
    all_of_it = [process.pid, *(worker for worker in workers if chance.random() < 0.7)]
    for victim in [chance.choice(workers)] if workers and chance.random() < 0.5 else all_of_it:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return True


def saved(runs: Path) -> dict[Path, int]:
    """When each run saved last."""
    found = {}
    for checkpoint in runs.glob("*/checkpoint.pt"):
        with suppress(FileNotFoundError):  # its run has just ended
            found[checkpoint] = checkpoint.stat().st_mtime_ns
    return found


def wait_for_orphans(command: subprocess.Popen[str]) -> None:
    """Until nobody is left of a command's session: a worker whose launcher is gone ends after it has saved, and one
    that has just been started takes up its run first."""
    while any(_parent_and_session(int(one.name))[1] == command.pid for one in Path("/proc").glob("[0-9]*")):
        time.sleep(0.05)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read a process's output up to the line that holds the words."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came in:\n{seen}")


MakeStudy = Callable[..., Study]


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[MakeStudy]:
    """``study_of`` with the runs and, unless given, a quick storage below the test's own folder."""
    quick = f"study.storage=journal:{tmp_path / 'study.log'}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *words: study_of([quick, *words, f"runs_dir={tmp_path / 'runs'}"])
