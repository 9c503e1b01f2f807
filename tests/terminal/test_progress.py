"""What a run prints when it is not on a terminal."""

from __future__ import annotations

import pytest

from sanm.terminal import progress
from sanm.terminal.progress import Progress, clock

ROW = {"epoch": 3, "loss": 1.25, "test_accuracy": 50.0, "labeled_fraction": 0.5, "clean_auroc": 0.9, "seconds": 2.0}


def test_a_line_an_epoch_with_accuracy_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress("a-run", epochs=4, epochs_done=2)
    shown.step(20, 40)
    shown.epoch(ROW)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resume   a-run at epoch 3"
    assert lines[1].startswith("  epoch 3/4  loss 1.250  test 50.0 %  labeled 0.50  auroc 0.900  2.0 s  left 0:0")


def test_a_long_epoch_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Progress("a-run", epochs=4, epochs_done=0)
    monkeypatch.setattr(progress, "SILENCE", -1)
    shown.step(20, 40)
    assert capsys.readouterr().out.splitlines()[-1] == "  step 20/40"


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]
