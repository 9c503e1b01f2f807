"""Grids on a real Slurm of one node, started for these tests where it is installed and we may start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from sanm.errors import InputError
from sanm.run import FAILED
from sweeps.launchers import settings_of, slurm
from tests.conftest import ROOT
from tests.sweeps.conftest import TINY, ended, launched, start
from tests.training.test_interruption import numbers

HERE = Path(__file__).parent
LAUNCH = ("launch=slurm", "launch.gpus=0", "launch.cpus=1", "launch.memory_gb=1", "launch.poll_s=0.5",
          "launch.timeout_min=10")  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What to add to the environment to be on a cluster."""
    pytest.importorskip("submitit")
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
        pytest.skip("needs root, slurmctld, slurmd, slurm-client and munge")
    folder = tmp_path_factory.mktemp("slurm")
    for place in (folder, *folder.parents):  # munged refuses a socket that others could not reach, or could replace
        if str(place).startswith("/tmp/"):
            place.chmod(0o755)
    try:
        up = subprocess.run([HERE / "slurm_up.sh", folder, str(_free_port())], capture_output=True, text=True)
        if up.returncode:
            pytest.skip(f"Slurm does not start here: {up.stderr[-300:]}")
        yield {"SLURM_CONF": str(folder / "slurm.conf"), "PYTHONPATH": _python_path()}
    finally:
        subprocess.run([HERE / "slurm_down.sh", folder], check=True)


def _free_port() -> int:
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        other.bind(("127.0.0.1", port + 1))
        return port


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def asked(cluster: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, env={**os.environ, **cluster}, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def next_to_train(runs: Path, launcher: subprocess.Popen[str], but: Container[str]) -> str:
    """The name of a run, not one of ``but``, as soon as it has trained for an epoch."""
    while True:
        for checkpoint in runs.glob("*/checkpoint.pt"):
            if checkpoint.parent.name not in but:
                return checkpoint.parent.name
        assert launcher.poll() is None, ended(launcher)
        time.sleep(0.05)


def job_of(runs: Path, run: str) -> str:
    lines = (runs / slurm.FOLDER / slurm.LEDGER).read_text().splitlines()
    return next(job for job, name in map(str.split, lines) if name == run)


@pytest.mark.slow
def test_a_grid_with_a_failing_cell_a_cancelled_job_and_one_queued_again(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    cells = (*TINY, "trainer.epochs=80", "trainer.lr=0.01,0.02,0.03,1e30", "device=cpu",
             "--only", "components=none", "--only", "noise.rate=0.2")  # fmt: skip
    runs = tmp_path / "slurm"
    process = start("run", runs, *cells, *LAUNCH, **cluster)
    disturbed: dict[str, str] = {}  # job by run
    for command in (("scancel",), ("scontrol", "requeue")):
        run = next_to_train(runs, process, disturbed)
        disturbed[run] = job_of(runs, run)
        asked(cluster, *command, disturbed[run])
    cancelled = next(iter(disturbed.values()))
    status, out, err = ended(process)
    assert status == FAILED, out + err
    assert out.count("crashed  ") == 1, "the cancelled job; the one that was queued again is still the same job"
    assert f"job {cancelled} ended without a result; tried once more" in out
    assert "grid     3 of 4 runs done" in out
    assert out.count("the loss is not finite at epoch 1, step") == 2, "at once, and at the end"
    assert not asked(cluster, "squeue", "--noheader").strip()

    status, out, _ = launched("status", runs, *cells)
    assert status == FAILED
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["done", "3"], ["failed", "1"]], "nothing is left"
    launched("run", tmp_path / "local", *cells)
    assert len(numbers(runs)) == 3
    assert numbers(runs) == numbers(tmp_path / "local"), "as if nobody had cancelled or queued anything"


@pytest.mark.slow
def test_a_second_launcher_finds_the_jobs_of_the_first(cluster: dict[str, str], tmp_path: Path) -> None:
    cells = (*TINY, "--only", "components=none", "--only", "noise.rate=0.2,0.5")
    first = start("run", tmp_path, *cells, *LAUNCH, **cluster)
    while not asked(cluster, "squeue", "--noheader", "--format=%i").strip():
        time.sleep(0.05)
    while not (tmp_path / ".slurm" / slurm.LEDGER).exists():
        time.sleep(0.05)
    time.sleep(0.3)
    first.kill()
    first.communicate()
    status, out, err = launched("run", tmp_path, *cells, *LAUNCH, **cluster)
    assert status == 0, out + err
    assert "slurm    2 jobs are in the queue already" in out
    assert "submitted" not in out


def test_settings_become_options_of_sbatch() -> None:
    pytest.importorskip("submitit")
    settings = slurm.Settings(partition="gpu", gpus=2, cpus=8, memory_gb=1.5, timeout_min=90, sbatch={"nice": 5},
                              setup=["module load cuda"])  # fmt: skip
    found = slurm.sbatch_parameters(settings)
    assert {"partition": "gpu", "gpus_per_node": 2, "cpus_per_task": 8, "mem": "1536MB", "time": 90}.items() <= (
        found.items()
    )
    assert found["additional_parameters"] == {"requeue": True, "nice": 5}
    assert found["setup"][-1] == "module load cuda"
    assert "gpus_per_node" not in slurm.sbatch_parameters(slurm.Settings(gpus=0))
    assert "account" not in found


def test_without_slurm_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="sbatch"):
        settings_of(["launch=slurm"])


@pytest.mark.parametrize(
    "word",
    [
        "launch.cpus=0",
        "launch.gpus=-1",
        "launch.timeout_min=0",
        "launch.at_once=999999999999",
        "launch.poll_s=nan",
        "launch.notice_s=999999999999",
        "launch.memory_gb=-1.0",
    ],
)
def test_numbers_that_make_no_sense_are_refused(word: str) -> None:
    with pytest.raises(InputError, match=f"{word}: "):
        settings_of(["launch=slurm", word])


def test_a_queue_that_does_not_answer_is_not_an_empty_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert slurm.queued_jobs() is None
    squeue.write_text("#!/bin/sh\necho '7_0|RUNNING|sanm'\necho '7_1|PENDING|sanm'\necho '8|RUNNING|other'\n")
    assert slurm.queued_jobs() == {"7_0": "RUNNING", "7_1": "PENDING"}
