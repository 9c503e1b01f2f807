"""``python -m sweeps.tune`` as a user types it, with workers that are killed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sanm.run import REFUSED
from sweeps.tune import main as tune
from tests.conftest import ROOT, SMALL, remount
from tests.fuzz.door import ask, by_argv
from tests.sweeps.conftest import KILLS, killed_at_random, wait_for_orphans
from tests.training.test_interruption import TIMES

STUDY = ("study=tau", "study.noise_rates=[0.5]", "study.seeds=[1,2]", "study.n_trials=2", *SMALL, "base_method=ce")


def start(runs: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps.tune", *words, f"runs_dir={runs}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, out + err
    return out + err


def kill_one_worker(process: subprocess.Popen[str]) -> str:
    """Kill a worker of the command as soon as a run has trained an epoch. Returns what had been said."""
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "epoch 1/" in line:
            break
    (children,) = Path(f"/proc/{process.pid}/task/{process.pid}").glob("children")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    return "".join(said)


def records(runs: Path) -> dict[str, Any]:
    found = {}
    for file in runs.glob("*/result.json"):
        with open(file.parent / "metrics.csv", newline="") as handle:
            rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(handle)]
        result = {key: value for key, value in json.loads(file.read_text()).items() if key not in TIMES}
        found[file.parent.name] = (result, rows, (file.parent / "label_quality.csv").read_text())
    return found


def trials(runs: Path) -> list[dict[str, str]]:
    with open(runs / "studies" / "tau" / "trials.csv", newline="") as handle:
        return list(csv.DictReader(handle))


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")


@needs_proc
def test_a_worker_killed_mid_trial_costs_nothing_and_changes_nothing(tmp_path: Path) -> None:
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
    out = finish(start(quiet, *STUDY))
    assert "2 trials (2 complete)" in out
    process = start(disturbed, *STUDY, "study.workers=2")
    said = kill_one_worker(process)
    said += finish(process)
    assert "died; another takes its trial up" in said
    assert "2 trials (2 complete)" in said
    assert [row["state"] for row in trials(disturbed)] == ["complete"] * 2
    assert trials(disturbed) == trials(quiet), "the same parameters, the same scores"
    assert records(disturbed) == records(quiet)

    again = finish(start(disturbed, *STUDY, "study.workers=2"))
    assert "2 of 2 trials" in again
    assert "epoch 1/" not in again
    assert "use      python -m sanm.run -m" in again


@needs_proc
def test_killed_altogether_and_asked_again(tmp_path: Path) -> None:
    process = start(tmp_path, *STUDY)
    assert process.stdout
    next(line for line in process.stdout if "epoch 2/" in line)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    two = [start(tmp_path, *STUDY), start(tmp_path, *STUDY)]
    outputs = [process.communicate(timeout=300)[0] for process in two]
    assert sorted(process.returncode for process in two) in ([0, 0], [0, 3]), outputs
    assert len(trials(tmp_path)) == 2
    assert len(records(tmp_path)) == 4
    trained = [line.split()[1] for out in outputs for line in out.splitlines() if line.startswith("run  ")]
    assert len(trained) == len(set(trained)), "no run twice"


@pytest.mark.slow
@needs_proc
def test_kills_of_commands_and_workers_change_no_number(tmp_path: Path) -> None:
    words = (*STUDY, "study.n_trials=4", "study.seeds=[1]", f"trainer.epochs={max(20, 8 * KILLS)}")
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
    finish(start(quiet, *words))
    chance = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = start(disturbed, *words, "study.workers=2")
        while kills < KILLS and killed_at_random(process, disturbed, chance):
            kills += 1
        process.kill()
        out, err = process.communicate(timeout=300)  # its output is open until its workers have ended
        assert process.returncode, f"done after {kills} kills: give it more epochs\n{out}{err}"
        wait_for_orphans(process)
    finish(start(disturbed, *words, "study.workers=2"))
    assert trials(disturbed) == trials(quiet), "exactly n, the same parameters, the same scores"
    assert records(disturbed) == records(quiet)


def test_a_storage_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    remount(small_disk, "size=4k")
    journal = small_disk / "study.log"
    words = (*STUDY, "study.workers=2", "study/pruner=median", f"study.storage=journal:{journal}")
    said = finish(start(tmp_path, *words), status=REFUSED)
    assert [line for line in said.splitlines() if line.startswith("error")] == [
        f"error    study.storage=journal:{journal} cannot be written (No space left on device): "
        "the same command goes on once it can"
    ]
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*/failure.txt")), "a full disk is no failure of a run"
    remount(small_disk, "size=1m")
    finish(start(tmp_path, *words))
    assert [row["state"] for row in trials(tmp_path)] == ["complete"] * 2


def test_a_folder_that_can_only_be_read_is_one_line(small_disk: Path) -> None:
    remount(small_disk, "ro")
    answer = ask(by_argv(tune), [*STUDY, f"runs_dir={small_disk}"])
    assert (answer.status, answer.out) == (REFUSED, "")
    assert answer.err == f"error    runs_dir={small_disk}/studies/tau cannot be written (Read-only file system)\n"


def test_a_report_of_nothing_is_one_line(tmp_path: Path) -> None:
    answer = ask(by_argv(tune), ["report", "study=tau", f"runs_dir={tmp_path}"])
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error    study tau is not in sqlite:///{tmp_path}/studies/tau/study.db yet")
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "studies").exists()
