"""``torchrun -m sanm.run``: one record, whatever happens to one of the processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from sanm import run
from sanm.bench.__main__ import main as bench
from sanm.errors import InputError
from sanm.predict.__main__ import main as predict
from sanm.run import FAILED, REFUSED, REQUEUE
from sanm.several import processes
from tests.conftest import ROOT, SMALL, config_of
from tests.several.torchrun import torchrun, workers

RUN = (*SMALL, "base_method=ce", "trainer.epochs=8", "components=full", "device=cpu")
COMMAND = ("sanm.run", *RUN)


def words(runs: Path) -> tuple[str, ...]:
    return (*COMMAND, f"runs_dir={runs}")


def alone(runs: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words(runs), *more],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} did not come: {seen}")


def losses(runs: Path) -> list[float]:
    (path,) = runs.glob("*/metrics.csv")
    with open(path, newline="") as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]


def clean_probabilities(runs: Path) -> list[float]:
    (path,) = runs.glob("*/label_quality.csv")
    with open(path, newline="") as handle:
        return [float(row["clean_probability"]) for row in csv.DictReader(handle)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by one process in one go."""
    runs = tmp_path_factory.mktemp("undisturbed")
    process = alone(runs)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return runs


def check_same_run(runs: Path, undisturbed: Path) -> None:
    (own,), (other,) = (list(each.glob("*/result.json")) for each in (runs, undisturbed))
    assert own.parent.name == other.parent.name, "the number of processes is no part of what a run is"
    assert losses(runs) == pytest.approx(losses(undisturbed), rel=1e-3)
    assert clean_probabilities(runs) == pytest.approx(clean_probabilities(undisturbed), abs=0.02)
    left, expected = ({file.name for file in each.parent.iterdir()} - {".lock"} for each in (own, other))
    assert left == expected


def test_stopped_in_one_killed_in_another_and_finished_alone(tmp_path: Path, undisturbed: Path) -> None:
    with torchrun(*words(tmp_path)) as process:
        wait_for(process, "epoch 1/8")
        os.kill(workers(process)[1], signal.SIGTERM)  # to one alone: both have to stop, after the same step
        out, err = process.communicate(timeout=300)
        assert "stopped  ce-full" in out, out + err
        assert f"exitcode  : {REQUEUE}" in err
    assert list(tmp_path.glob("*/checkpoint.pt"))
    assert not list(tmp_path.glob("*/failure.txt"))
    with torchrun(*words(tmp_path)) as process:
        wait_for(process, "resume   ce-full")
        wait_for(process, "epoch ")
        os.kill(workers(process)[1], signal.SIGKILL)
        out, err = process.communicate(timeout=300)
        assert out.count("failed   ce-full") == 1, out + err
    (failure,) = tmp_path.glob("*/failure.txt")
    assert failure.read_text().startswith("another process of this run is gone or silent: killed")
    last = alone(tmp_path, "retry=true")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, out + err
    assert "resume   ce-full" in out
    check_same_run(tmp_path, undisturbed)


def test_begun_alone_and_finished_by_two(tmp_path: Path, undisturbed: Path) -> None:
    first = alone(tmp_path)
    wait_for(first, "epoch 1/8")
    first.send_signal(signal.SIGUSR1)
    first.communicate(timeout=300)
    assert first.returncode == REQUEUE
    with torchrun(*words(tmp_path)) as process:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
    assert out.count("resume   ce-full") == out.count("done     ce-full") == 1, "the other process is silent"
    check_same_run(tmp_path, undisturbed)
    (result,) = tmp_path.glob("*/result.json")
    assert json.loads(result.read_text())["processes"] == 2


@pytest.mark.parametrize("leader_waits", [False, True])
def test_a_process_that_fails_says_why_in_the_record(
    leader_waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leader_waits:
        monkeypatch.setenv("LEADER_WAITS", "1")
    with torchrun("tests.several.one_fails", *RUN, f"runs_dir={tmp_path}") as process:
        out, _ = process.communicate(timeout=300)
        assert process.returncode
    (failure,) = tmp_path.glob("*/failure.txt")
    reason = failure.read_text().partition("\n")[0]
    assert reason == "process 2 of 2: out of memory, for once"
    assert f": {reason} (see " in out


@pytest.mark.parametrize(
    ("outcome", "status", "at_once"),
    [(InputError("no space left"), REFUSED, True), (FAILED, FAILED, True), (REQUEUE, REQUEUE, False), (0, 0, False)],
)
def test_a_leader_that_ends_before_the_others_does_not_wait_for_them(
    outcome: InputError | int, status: int, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would wait, the end of the group, does so over NCCL alone."""

    def lead(*_: object) -> int:
        if isinstance(outcome, InputError):
            raise outcome
        return outcome

    left: list[int] = []
    monkeypatch.setattr(run, "_lead", lead)
    monkeypatch.setattr(processes, "joined", nullcontext)
    monkeypatch.setattr(processes, "leave", left.append)
    assert run._train_together(config_of(), [], lambda: False, None) == status
    assert left == ([status] if at_once else [])


REFUSALS = [
    ("sanm.run", ("-m", "seed=1,2"), "torchrun is for one run"),
    ("sanm.pretrain", (), "torchrun is for one run"),
    ("sweeps.launch", ("status", "components"), "torchrun is for one run"),
    ("sanm.run", ("trainer.batch_size=2",), "trainer.batch_size=2 is less than the 3 processes of torchrun"),
    ("sanm.run", ("trainer.compile=true",), "trainer.compile=true is for one process"),
    ("sanm.run", ("device=cuda:0",), "device=cuda:0: each process of torchrun takes a GPU of its own"),
]


@pytest.mark.parametrize(("module", "arguments", "message"), REFUSALS)
def test_what_processes_cannot_share_is_one_line_by_the_first_of_them(
    module: str, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Refused before they join, so no other process is needed to see it."""
    where = () if module == "sweeps.launch" else (f"runs_dir={tmp_path}",)
    done = [
        subprocess.run(
            [sys.executable, "-m", module, *arguments, *where],
            cwd=ROOT,
            env={**os.environ, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        for rank in ("0", "1")
    ]
    assert [each.returncode for each in done] == [REFUSED, REFUSED]
    assert message in done[0].stderr
    assert len(done[0].stderr.strip().splitlines()) == 1
    if module != "sweeps.launch":
        assert done[1].stdout + done[1].stderr == ""


@pytest.mark.parametrize("main", [bench, predict])
def test_what_is_not_a_run_is_for_one_process(
    main: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["runs/some-run", "photos"]) == 2
    assert "torchrun is for one run" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for GPUs that are not there")
def test_more_processes_than_gpus_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from sanm.several.processes import own_device

    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert own_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="torchrun started 2 processes on a machine with 0 GPUs"):
        own_device("cuda")
