"""A signal to a process that trains: it saves, ends with a status of its own, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from sanm import run
from sanm.grids import multirun
from sanm.machine.stopping import REQUEUE, STOP_SIGNALS, stop_signals
from sanm.record.directory import RunDirectory
from sanm.terminal.output import GONE
from sanm.training import experiment
from tests.conftest import ROOT, SMALL, Command, config_of
from tests.training.test_interruption import numbers

pytestmark = pytest.mark.slow

GRID = (*SMALL, "trainer.epochs=20", "base_method=ce", "components=full,none")


def start(runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sanm.run", "-m", *GRID, f"runs_dir={runs}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_stopped_in_the_middle_and_asked_again_it_ends_with_the_same_numbers(tmp_path: Path) -> None:
    undisturbed = start(tmp_path / "whole")
    process = start(tmp_path / "parts")
    assert process.stdout
    next(line for line in process.stdout if "epoch 5/" in line)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=120)
    assert process.returncode == REQUEUE == 75, out + err
    assert "stopped  ce-full" in out
    assert "ce-none" not in out, "the grid's next cell is not begun"
    again = start(tmp_path / "parts")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    assert "resume   ce-full" in out
    undisturbed.communicate(timeout=120)
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path, within: Command) -> None:
    process = start(tmp_path)
    assert process.stdout
    assert process.stderr
    next(line for line in process.stdout if "epoch 3/" in line)
    process.stdout.close()
    assert process.wait(timeout=120) == GONE == 141
    (line,) = process.stderr.read().splitlines()
    assert line.startswith("stopped  nobody reads")
    assert not list(tmp_path.rglob("failure.txt"))
    again = within("-m", *GRID, f"runs_dir={tmp_path}", runs=False)
    assert "resume   ce-full" in again.stdout
    assert again.returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ("sanm.run", "-m", "components=none"),
        ("sweeps.launch", "status", "quick", "trainer.last_window=1"),
        ("sweeps.tune", "study=tau", "data.validation=0.2"),
    ],
)
def test_a_reader_that_was_never_there_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", *command, *SMALL, f"runs_dir={tmp_path}"],
        cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == GONE
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped  nobody reads")
    assert not list(tmp_path.rglob("failure.txt"))


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_heard_within_and_does_what_it_did_without(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, _: heard.append(number))
    try:
        with stop_signals() as stop:
            assert not stop()
            signal.raise_signal(number)
            assert stop()
        assert not heard
        signal.raise_signal(number)
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_other_threads_leave_signals_alone() -> None:
    answers: list[bool] = []

    def work() -> None:
        with stop_signals() as stop:
            answers.append(stop())

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
    assert signal.getsignal(signal.SIGTERM) is before


DOORS = {
    "sanm.run": ("trainer.epochs=1",),
    "sanm.pretrain": (),
    "sanm.bench": (),
    "sweeps.launch": ("status", "quick"),
    "sweeps.tune": ("study=tau",),
}


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has said what a signal is to it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("door", "number"),
    [*((door, signal.SIGTERM) for door in DOORS), ("sanm.run", signal.SIGHUP), ("sanm.run", signal.SIGINT)],
)
def test_a_signal_during_the_start_is_one_line_and_leaves_nothing(
    tmp_path: Path, door: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", door, *DOORS[door], f"runs_dir={tmp_path / 'runs'}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (catches(process, signal.SIGHUP) and catches(process, number)):
        time.sleep(0.001)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (REQUEUE, "")
    (line,) = err.splitlines()
    assert line.startswith(f"stopped  by {number.name}")
    assert not (tmp_path / "runs").exists()


def test_a_signal_where_python_drops_what_is_raised_ends_the_process_all_the_same() -> None:
    script = """
import signal, time
from sanm.machine import stopping
stopping.listen()
class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
try:
    Dropped()
    time.sleep(60)
finally:
    print("cleaned")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (REQUEUE, "cleaned\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped  by SIGTERM")


def test_ctrl_c_pressed_twice_ends_at_once_and_what_is_ignored_stays_so() -> None:
    script = """
import os, signal, time
from sanm.machine import stopping
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stopping.listen()
signal.raise_signal(signal.SIGHUP)
try:
    signal.raise_signal(signal.SIGINT)
finally:
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert len(done.stderr.splitlines()) == 1


def test_a_signal_while_data_is_read_does_not_wait_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    def end(*_: object) -> None:
        raise SystemExit(REQUEUE)

    before = signal.signal(signal.SIGTERM, end)
    monkeypatch.setattr(experiment, "prepare", read)
    try:
        with pytest.raises(SystemExit):
            run.train_or_skip(config_of(*SMALL, f"runs_dir={tmp_path}"), [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list(tmp_path.rglob("failure.txt"))


def test_a_signal_that_comes_when_a_cell_is_as_good_as_done_keeps_the_next_from_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish = RunDirectory.finish

    def signalled(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        finish(*arguments)

    monkeypatch.setattr(RunDirectory, "finish", signalled)
    config = config_of(*SMALL, "trainer.epochs=2", "trainer.milestones=[]", "base_method=ce", f"runs_dir={tmp_path}")
    with pytest.raises(SystemExit) as left:
        multirun._train(types.SimpleNamespace(config=config, overrides=()))  # type: ignore[arg-type]
    assert left.value.code == REQUEUE
    assert capsys.readouterr().out.splitlines()[-1].startswith("done     ")
