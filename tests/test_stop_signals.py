"""A signal to a process that trains: it saves, ends with a status of its own, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sanm.output import GONE
from sanm.run import REQUEUE, STOP_SIGNALS, stop_signals
from tests.conftest import ROOT, SMALL
from tests.test_interruption import numbers

GRID = (*SMALL, "trainer.epochs=40", "base_method=ce", "components=full,none")


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


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout
    assert process.stderr
    next(line for line in process.stdout if "epoch 3/" in line)
    process.stdout.close()
    assert process.wait(timeout=120) == GONE == 141
    (line,) = process.stderr.read().splitlines()
    assert line.startswith("stopped  nobody reads")
    assert not list(tmp_path.rglob("failure.txt"))
    again = start(tmp_path)
    assert again.stdout
    assert any("resume   ce-full" in line for line in again.stdout)
    again.communicate(timeout=120)
    assert again.returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ("sanm.run", "-m", "components=none"),
        ("sweeps.launch", "status", "quick"),
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
