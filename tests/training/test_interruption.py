"""Killed at any moment and asked again: the same numbers, each cell once."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, SMALL, Command

pytestmark = pytest.mark.slow

TIMES = {"seconds", "images_per_second", "peak_memory_mb", "finished", "overrides", "commit", "dirty"}
"""What may differ between two runs of the same numbers."""

GRID = (*SMALL, "trainer.epochs=4", "components=full,none", "base_method=ce,dividemix")


def start(runs: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sanm.run", "-m", *arguments, f"runs_dir={runs}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def numbers(runs: Path) -> dict[str, Any]:
    """All that a grid's records say, without times."""
    found: dict[str, Any] = {}
    for folder in sorted(path.parent for path in runs.glob("*/result.json")):
        result = json.loads((folder / "result.json").read_text())
        with open(folder / "metrics.csv", newline="") as handle:
            rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(handle)]
        found[folder.name] = (
            {key: value for key, value in result.items() if key not in TIMES},
            rows,
            (folder / "label_quality.csv").read_text(),
            (folder / "samples.npz").read_bytes(),
            (folder / "config.yaml").read_text(),
        )
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    finish(start(runs, *GRID))
    return runs


def test_killed_at_random_moments_ends_with_the_same_numbers(tmp_path: Path, undisturbed: Path) -> None:
    moments = random.Random(0)
    for _ in range(4):
        process = start(tmp_path, *GRID)
        seen = moments.randint(1, 5)
        assert process.stdout
        for line in process.stdout:  # wait for so many epochs, then for a moment within one
            seen -= "epoch" in line
            if seen <= 0:
                break
        time.sleep(moments.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, *GRID))
    assert numbers(tmp_path) == numbers(undisturbed)


def test_two_processes_share_the_cells_and_run_none_twice(tmp_path: Path, undisturbed: Path) -> None:
    processes = [start(tmp_path, *GRID) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert sorted(process.returncode for process in processes) in ([0, 0], [0, 3]), outputs
    trained = [line.split()[1] for output in outputs for line in output.splitlines() if line.startswith("run ")]
    assert len(trained) == len(set(trained)) == 4
    assert numbers(tmp_path) == numbers(undisturbed)


def test_a_checkpoint_that_cannot_be_read_says_what_to_do(tmp_path: Path, within: Command) -> None:
    words = (*SMALL, "trainer.epochs=200", "base_method=ce", "components=none")
    process = start(tmp_path, *words)
    assert process.stdout
    next(line for line in process.stdout if "epoch 2" in line)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    again = within("-m", *words, f"runs_dir={tmp_path}", runs=False)
    assert again.returncode == 3
    assert "delete it to start this run again" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
