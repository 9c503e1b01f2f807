"""``torchrun -m sanm.run``: one record, whatever happens to one of the processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from sanm import run
from sanm.bench.__main__ import main as bench
from sanm.errors import InputError
from sanm.machine.several import processes
from sanm.machine.stopping import REQUEUE
from sanm.predict.__main__ import main as predict
from sanm.run import FAILED, REFUSED
from tests.conftest import ROOT, SMALL, config_of
from tests.fuzz.door import ask, whole_sanm_run
from tests.machine.several.torchrun import torchrun, workers

pytestmark = pytest.mark.slow

RUN = (*SMALL, "base_method=ce", "trainer.epochs=8", "components=full", "device=cpu")
COMMAND = ("sanm.run", *RUN)


def words(runs: Path) -> tuple[str, ...]:
    return (*COMMAND, f"runs_dir={runs}")


def alone(runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words(runs)],
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
    done = ask(whole_sanm_run, words(runs)[1:])
    assert done.status == 0, done.err
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
    last = ask(whole_sanm_run, [*words(tmp_path)[1:], "retry=true"])
    assert last.status == 0, last.err
    assert "resume   ce-full" in last.out
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
    with torchrun("tests.machine.several.one_fails", *RUN, f"runs_dir={tmp_path}") as process:
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


def environment(size: str, rank: str = "0") -> dict[str, str]:
    """What torchrun says to a process of its own."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    return {**own, "TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({}, 1),
        ({"MASTER_ADDR": "10.0.0.1"}, 1),
        ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, 4),
        ({"TORCHELASTIC_RUN_ID": "none"}, 4),
    ],
)
def test_what_an_image_of_a_cluster_leaves_in_the_environment_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, where: dict[str, str], count: int
) -> None:
    for name, value in ({"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"} | where).items():
        monkeypatch.setenv(name, value)
    assert processes.count() == count
    assert (processes.rank(), processes.count_here()) == ((1, 2) if count > 1 else (0, 1))
    if count > 1:
        with pytest.raises(InputError, match="torchrun"):
            processes.check_alone()
        with warnings.catch_warnings(action="error"):
            processes.warn_of_left_over()
    else:
        processes.check_alone()
        with pytest.warns(UserWarning, match="WORLD_SIZE=4"):
            processes.warn_of_left_over()


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", ""), ("WORLD_SIZE", "two"), ("RANK", "-1"), ("RANK", "2")])
def test_what_the_environment_cannot_mean_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for each, number in (environment("2") | {name: value}).items():
        monkeypatch.setenv(each, number)
    with pytest.raises(InputError, match=f"{name}={value}"):
        processes.count()


def test_processes_that_do_not_meet_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment("2"), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(processes, "PATIENCE", timedelta(seconds=1))
    with pytest.raises(InputError, match="WORLD_SIZE"), processes.joined("cpu"):
        pass


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
            env={**os.environ, **environment("3", rank)},
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
    for name, value in environment("2").items():
        monkeypatch.setenv(name, value)
    assert main(["runs/some-run", "photos"]) == 2
    assert "torchrun is for one run" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for GPUs that are not there")
def test_more_processes_than_gpus_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from sanm.machine.several.processes import own_device

    for name, value in environment("2").items():
        monkeypatch.setenv(name, value)
    assert own_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match=r"2 processes .* 0 GPUs"):
        own_device("cuda")
