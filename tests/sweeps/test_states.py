"""States and what is left, from run directories that no training made."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanm.grids.cells import Cell
from sanm.record.directory import RunDirectory
from sweeps.grids.states import STATES, Progress, state_of


def made_up(runs: Path, name: str, method: str = "ce", nlr: bool = False) -> Cell:
    parts = {"amg": nlr, "nlr": nlr, "smr": False}
    return Cell((f"run={name}",), {"base_method": {"name": method}, "components": parts}, RunDirectory(runs, name))


def finished(cell: Cell, seconds: float, memory: float = 100.0) -> Cell:
    begun(cell).run.finish({"seconds": seconds, "peak_memory_mb": memory}, keep_checkpoint=False)
    return cell


def begun(cell: Cell) -> Cell:
    cell.run.path.mkdir(exist_ok=True, parents=True)
    cell.run.begin({})
    return cell


def failed(cell: Cell) -> Cell:
    begun(cell).run.fail("the loss is not finite", "a long story")
    return cell


def test_every_state(tmp_path: Path) -> None:
    cells = [
        finished(made_up(tmp_path, "a"), 1),
        begun(made_up(tmp_path, "b")),
        failed(made_up(tmp_path, "c")),
        made_up(tmp_path, "d"),
        made_up(tmp_path, "e"),
        finished(made_up(tmp_path, "f"), 1),
    ]
    (tmp_path / "f" / "result.json").write_text("{")
    with cells[4].run.claim():
        progress = Progress.of(cells)
        assert progress.counts() == dict.fromkeys(STATES, 1)
        assert progress.having("running") == [cells[4]]
    assert state_of(cells[4]) == "missing", "a claim ends with its owner"
    assert not (tmp_path / "d").exists(), "looking makes nothing"
    assert "failed       c: the loss is not finite" in progress.lines()
    assert any(line.startswith(f"unreadable   f: {tmp_path / 'f' / 'result.json'} ") for line in progress.lines())


def test_a_failed_run_that_is_taken_again_is_running(tmp_path: Path) -> None:
    cell = failed(made_up(tmp_path, "a"))
    with cell.run.claim():
        assert state_of(cell) == "running"


def test_looking_at_a_claim_does_not_take_it(tmp_path: Path) -> None:
    cell = begun(made_up(tmp_path, "a"))
    with cell.run.claim() as mine:
        assert mine
    assert not cell.run.claimed()
    with cell.run.claim() as mine:
        assert mine
        assert cell.run.claimed()
        with cell.run.claim() as second:
            assert not second


def test_what_is_left_goes_by_runs_of_the_same_kind(tmp_path: Path) -> None:
    done = [
        finished(made_up(tmp_path, "a"), 10),
        finished(made_up(tmp_path, "b"), 20),
        finished(made_up(tmp_path, "c", nlr=True), 100),
    ]
    assert Progress.of(done).seconds_left() == 0
    cells = [*done, made_up(tmp_path, "d"), begun(made_up(tmp_path, "e", nlr=True)), made_up(tmp_path, "f", "cdr")]
    progress = Progress.of(cells)
    assert progress.seconds_left() == pytest.approx(15 + 100 + (10 + 20 + 100) / 3)
    assert progress.lines()[-1] == "left         about 2:38 of training one after another, going by 3 done"


def test_without_a_finished_run_there_is_no_estimate(tmp_path: Path) -> None:
    progress = Progress.of([made_up(tmp_path, "a")])
    assert progress.seconds_left() is None
    assert progress.peak_memory_mb() is None
    assert progress.lines() == ["missing      1", "left         no estimate before one cell is done"]


def test_the_most_memory_of_all(tmp_path: Path) -> None:
    cells = [finished(made_up(tmp_path, name), 1, memory) for name, memory in (("a", 100), ("b", 300), ("c", 200))]
    assert Progress.of(cells).peak_memory_mb() == 300
