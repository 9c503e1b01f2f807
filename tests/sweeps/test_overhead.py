"""The cost of a grid beyond its training is of real command lines; how much it is, is for no test to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps.overhead import Cost, main


def test_three_command_lines_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "overhead.json"
    assert main(["--cells", "2", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["cells"] == 2
    assert all(found[key]["cpu"] > 0 for key in ("help", "cell_beyond_training", "finished_again"))
    shown = capsys.readouterr().out
    assert "over 2 finished cells" in shown
    assert len(shown.splitlines()) == 4


def test_a_cell_bears_its_share_of_what_is_not_training() -> None:
    assert Cost(wall=12, cpu=10).beyond(training=2, cells=5) == Cost(wall=2, cpu=1.6)


def test_no_cells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cells", "0"]) == 2
    assert capsys.readouterr().err == "error    --cells 0: must be at least 1\n"


def test_a_command_that_fails_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.overhead.CELL", ("trainer.epochs=-1",))
    assert main(["--cells", "1"]) == 1
    assert "trainer.epochs=-1" in capsys.readouterr().err
