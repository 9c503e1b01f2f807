"""The command line of grids: what it says, what it refuses, what it trains, what it survives."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sanm.errors import InputError
from sanm.grids import cells
from sanm.machine.stopping import REQUEUE
from sanm.record.directory import RunDirectory
from sanm.run import FAILED, MISSING, REFUSED
from sweeps import launch
from tests.conftest import Command, remount
from tests.sweeps.conftest import TINY, children, ended, launched, parent, read_until, start

ONE_FAILS = (*TINY, "trainer.lr=0.02,1e30", "device=cpu", "--only", "components=none", "--only", "noise.rate=0.2")
"""Two cells; the one with the absurd learning rate fails."""
LONG = (*TINY, "trainer.epochs=4000", "--only", "components=none")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    """Status, lines and errors of a command in this process, which trains nothing."""
    status = launch.main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


def results(runs: Path) -> list[Path]:
    return sorted(runs.glob("*/result.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "tabel5"), "tabel5: there is no such grid; choose one of quick, components"),
        (("run", "quick", "noise.rate=0.3"), "the grid quick varies noise.rate"),
        (("run", "quick", "--only", "noise.rate=0.3"), "noise.rate is one of 0.2, 0.5, 0.8, 0.9"),
        (("run", "quick", "tau.valeu=0.2"), "Did you mean tau.value?"),
        (("run", "quick", "tau.value=2"), "tau.value=2: must be a number in [0, 1] (in the cell"),
        (("run", "quick", "launch=cloud"), "launch=cloud: choose one of local, parallel, slurm"),
        (("run", "quick", "launch.slots=2"), "launch.slots: "),
        (("run", "quick", "launch=parallel", "launch.slots=0"), "launch.slots=0: must be a number in [1, 1024]"),
        (
            ("run", "quick", "launch=parallel", "launch.slots=999999999999"),
            "launch.slots=999999999999: must be a number",
        ),
        (("run", "quick", "launch=parallel", "launch.threads=1025"), "launch.threads=1025: must be a number"),
        (("run", "quick", "launch=parallel", "launch.slots=x"), "launch.slots: "),
        (("run", "quick", "--max-cells", "0"), "--max-cells 0: must be at least 1"),
        (("begin", "quick"), "invalid choice: 'begin'"),
        (("run", "components", "data.root=/nowhere/at/all"), "data.root"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = said(capsys, *arguments, f"runs_dir={tmp_path / 'runs'}")
    assert status == REFUSED
    assert not out
    assert len(err) == 1
    assert message in err[0]
    assert not (tmp_path / "runs").exists()


def test_status_and_show_of_nothing_and_a_dry_run_train_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = (*TINY, f"runs_dir={tmp_path / 'runs'}")
    status, out, _ = said(capsys, "status", "quick", *where)
    assert status == MISSING
    assert out[0].startswith("grid     quick: ")
    assert "16 cells" in out[0]
    assert out[1:] == ["missing      16", "left         no estimate before one cell is done"]
    assert not (tmp_path / "runs").exists(), "a look makes no folder"

    status, out, _ = said(capsys, "show", "quick", *where, "--only", "noise.rate=0.5", "--only", "components=full")
    assert len(out) == 2
    state, name, *overrides = out[1].split()
    assert (state, overrides[-3:]) == ("missing", ["components=full", "noise.rate=0.5", "seed=1"])
    assert name.startswith("ce-full-symmetric0.5-digits-seed1-")

    status, out, _ = said(capsys, "run", "quick", *where, "--dry-run", "--max-cells", "3")
    assert status == 0
    assert [line.split()[:2] for line in out] == [["would", "run"]] * 3
    assert not list((tmp_path / "runs").glob("*-*"))


def test_a_look_at_a_grid_of_the_paper_needs_its_data_and_no_network(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data_batch_1").write_text("whatever the data set is")

    def fetched(config: object) -> None:
        raise InputError("the frozen network was asked for")

    monkeypatch.setattr(cells, "check_mask_weights", fetched)
    part = ("--only", "base_method=dividemix", "--only", "noise.rate=0.2", "--only", "mask_source=pretrained")
    where = (f"data.root={tmp_path}", "seed=1", f"runs_dir={tmp_path / 'runs'}")
    for looking in (("show",), ("status",), ("run", "--dry-run")):
        status, out, err = said(capsys, *looking, "mask_source", *where, *part)
        assert not err
        assert status == (0 if "run" in looking else MISSING)
        assert len(out) == 1 if "run" in looking else out[0].endswith(f"1 cells in {tmp_path / 'runs'}")
    status, _, err = said(capsys, "run", "mask_source", *where, *part)
    assert status == REFUSED
    assert "the frozen network was asked for (in the cell" in err[0]


def test_a_disk_that_is_full_or_can_only_be_read(capsys: pytest.CaptureFixture[str], small_disk: Path) -> None:
    cells = (*ONE_FAILS[:-4], "trainer.lr=0.02", "model.widths=[24,48]", *ONE_FAILS[-4:])
    status, out, err = launched("run", small_disk, *cells)
    assert status == MISSING
    assert out.splitlines()[-1] == "interrupted 1 runs"
    (line,) = err.splitlines()
    assert "no space left to write" in line

    remount(small_disk, "ro")
    status, _, err_lines = said(capsys, "run", "quick", f"runs_dir={small_disk}", *cells)
    assert status == REFUSED
    assert err_lines == [f"error    runs_dir={small_disk} cannot be written (Read-only file system)"]
    assert said(capsys, "status", "quick", f"runs_dir={small_disk}", *cells)[1][1] == "interrupted  1", "to be read"

    remount(small_disk, "rw,size=20m")
    status, out, err = launched("run", small_disk, *cells)
    assert status == 0, out + err


def test_a_grid_with_a_failing_cell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = launched("run", tmp_path, *ONE_FAILS, "--max-cells", "1")
    assert status == MISSING
    assert len(results(tmp_path)) == 1
    assert out.splitlines()[-1] == "missing  1 runs"

    status, out, err = launched("run", tmp_path, *ONE_FAILS)
    assert status == FAILED, err
    assert "grid     1 of 2 runs done" in out
    assert out.count("the loss is not finite at epoch 1, step") == 2, "at once, and at the end"

    status, lines, _ = said(capsys, "status", "quick", f"runs_dir={tmp_path}", *ONE_FAILS)
    assert status == FAILED
    assert lines[1:3] == ["done         1", "failed       1"]
    assert ": the loss is not finite" in lines[3]

    status, lines, _ = said(capsys, "run", "quick", f"runs_dir={tmp_path}", *ONE_FAILS)
    assert status == FAILED
    assert lines[0].startswith("grid     1 of 2"), "nothing is started"

    status, out, _ = launched("retry", tmp_path, *ONE_FAILS)
    assert status == FAILED
    assert out.count("run      ") == 1
    assert "skip " not in out


def test_slots_share_a_grid(tmp_path: Path) -> None:
    status, out, err = launched("run", tmp_path, *ONE_FAILS, "launch=parallel", "launch.slots=2", OMP_NUM_THREADS="1")
    assert status == FAILED, err
    assert out.startswith("launch   2 at once on the CPU")
    assert out.count("done     ") == 1
    assert out.count("the loss is not finite at epoch 1, step") == 2
    assert "[1 of 2 done" in out
    logs = [log.read_text() for log in (tmp_path / ".launch").glob("*.log")]
    assert sorted(text.count("run      ") for text in logs) == [1, 1]


def test_runs_are_those_of_a_plain_multirun(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, within: Command
) -> None:
    assert within("-m", "preset=demo", *TINY, "components=none", "noise.rate=0.2,0.5").returncode == 0
    status, out, _ = said(
        capsys, "status", "quick", *TINY, f"runs_dir={tmp_path / 'runs'}", "--only", "components=none",
        "--only", "noise.rate=0.2,0.5",
    )  # fmt: skip
    assert (status, out[1]) == (0, "done         2")


@pytest.mark.slow
def test_a_worker_that_is_killed_takes_no_other_cell_with_it(tmp_path: Path) -> None:
    few = (*TINY, "trainer.epochs=30", "device=cpu", "--only", "components=none")
    process = start("run", tmp_path, *few, "launch=parallel", "launch.slots=2")
    while not list(tmp_path.glob("*/checkpoint.pt")):
        time.sleep(0.02)
        assert process.poll() is None
    os.kill(children(process.pid)[0], signal.SIGKILL)
    status, out, err = ended(process)
    assert status == 0, out + err
    assert out.count("crashed  ") == 1
    assert "was killed by SIGKILL; tried once more" in out
    assert len(results(tmp_path)) == 4
    assert not list(tmp_path.glob("*/failure.txt")), "a crash is nothing that is known of the run"


def test_a_cell_that_always_crashes_is_tried_twice_and_named(tmp_path: Path) -> None:
    process = start("run", tmp_path, *LONG, "--only", "noise.rate=0.2")
    for _ in range(2):
        workers: list[int] = []
        before = [path.stat().st_mtime_ns for path in tmp_path.glob("*/checkpoint.pt")]
        while not workers or [path.stat().st_mtime_ns for path in tmp_path.glob("*/checkpoint.pt")] == before:
            time.sleep(0.02)
            workers = children(process.pid)
        os.kill(workers[0], signal.SIGKILL)
    status, out, _ = ended(process)
    assert status == MISSING
    assert out.count("crashed  ") == 2
    assert "tried no more: the same command goes on with it" in out
    assert out.splitlines()[-1] == "interrupted 1 runs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_asked_to_stop_saves_first(tmp_path: Path, number: int) -> None:
    process = start("run", tmp_path, *LONG, "--only", "noise.rate=0.2")
    read_until(process, "epoch 3/")
    os.killpg(process.pid, number)
    status, out, err = ended(process)
    assert status == REQUEUE
    assert "stopped  " in out
    assert number == signal.SIGTERM or "the same command goes on from here" in err
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    assert not RunDirectory(tmp_path, checkpoint.parent.name).claimed()


def test_workers_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    process = start("run", tmp_path, *LONG, "--only", "noise.rate=0.2")
    read_until(process, "epoch 3/")
    (worker,) = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    out = ended(process)[1]  # its output is open until the worker has ended
    assert "stopped  " in out
    while parent(worker) is not None:
        time.sleep(0.05)
