"""Many launchers on one grid, and kills at random moments: every cell is trained once, to the same numbers."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from sanm.run import MISSING
from tests.sweeps.conftest import KILLS, TINY, ended, killed_at_random, launched, start, wait_for_orphans
from tests.training.test_interruption import numbers

pytestmark = pytest.mark.slow

CELLS = (
    *TINY,
    f"trainer.epochs={max(20, 5 * KILLS)}",
    "device=cpu",
    "--only",
    "components=none,full",
    "--only",
    "noise.rate=0.2,0.5",
)
"""Four cells."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    status, out, err = launched("run", runs, *CELLS)
    assert status == 0, out + err
    return runs


def test_three_launchers_train_each_cell_once(tmp_path: Path, undisturbed: Path) -> None:
    processes = [start("run", tmp_path, *CELLS) for _ in range(3)]
    outputs = [ended(process) for process in processes]
    assert {status for status, _, _ in outputs} <= {0, MISSING}, outputs
    trained = [name for _, out, _ in outputs for name in re.findall(r"^run      (\S+)", out, re.MULTILINE)]
    assert len(trained) == len(set(trained)) == 4
    assert not [out for _, out, _ in outputs if "resume   " in out or "crashed  " in out]
    assert numbers(tmp_path) == numbers(undisturbed)


def test_kills_of_launchers_and_workers_change_no_number(tmp_path: Path, undisturbed: Path) -> None:
    chance = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = start("run", tmp_path, *CELLS, "launch=parallel", "launch.slots=2")
        while kills < KILLS and killed_at_random(process, tmp_path, chance):
            kills += 1
        process.kill()
        status, out, err = ended(process)
        assert status, f"done after {kills} kills: give it more epochs\n{out}{err}"
        wait_for_orphans(process)
    status, out, err = launched("run", tmp_path, *CELLS)
    assert status == 0, out + err
    assert numbers(tmp_path) == numbers(undisturbed)
