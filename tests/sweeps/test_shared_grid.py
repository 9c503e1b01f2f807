"""Many launchers on one grid, and kills at random moments: every cell is trained once, to the same numbers."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from sanm.run import MISSING
from tests.sweeps.conftest import TINY, children, ended, launched, start
from tests.test_interruption import numbers

pytestmark = pytest.mark.slow

CELLS = (*TINY, "trainer.epochs=30", "device=cpu", "--only", "components=none,full", "--only", "noise.rate=0.2,0.5,0.8")
"""Six cells."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    status, out, err = launched("run", runs, *CELLS)
    assert status == 0, out + err
    return runs


def test_eight_launchers_train_each_cell_once(tmp_path: Path, undisturbed: Path) -> None:
    processes = [start("run", tmp_path, *CELLS) for _ in range(8)]
    outputs = [ended(process) for process in processes]
    assert {status for status, _, _ in outputs} <= {0, MISSING}, outputs
    trained = [name for _, out, _ in outputs for name in re.findall(r"^run      (\S+)", out, re.MULTILINE)]
    assert len(trained) == len(set(trained)) == 6
    assert not [out for _, out, _ in outputs if "resume   " in out or "crashed  " in out]
    assert numbers(tmp_path) == numbers(undisturbed)


def test_kills_of_launchers_and_workers_change_no_number(tmp_path: Path, undisturbed: Path) -> None:
    chance = random.Random(0)
    for round_ in range(4):
        process = start("run", tmp_path, *CELLS, "launch=parallel", "launch.slots=2")
        before = set(tmp_path.glob("*/checkpoint.pt"))
        while set(tmp_path.glob("*/checkpoint.pt")) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        workers = children(process.pid)
        if round_ % 2 and workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(chance.uniform(0, 1))
        for victim in (process.pid, *children(process.pid)):
            if chance.random() < 0.7 or victim == process.pid:
                os.kill(victim, signal.SIGKILL)
        ended(process)
        wait_for_orphans(tmp_path)
    status, out, err = launched("run", tmp_path, *CELLS)
    assert status == 0, out + err
    assert numbers(tmp_path) == numbers(undisturbed)


def wait_for_orphans(runs: Path) -> None:
    """Until nobody holds a run: a worker whose launcher is gone ends after it has saved."""
    from sanm.store import RunDirectory

    while any(RunDirectory(runs, path.parent.name).claimed() for path in runs.glob("*/config.yaml")):
        time.sleep(0.05)
