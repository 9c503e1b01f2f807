"""Run directories: claims, atomic files, states."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from sanm.errors import InputError
from sanm.files import write_atomically
from sanm.record.directory import RunDirectory


def test_states(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs", "a")
    assert run.status() == "missing"
    with run.claim() as mine:
        assert mine
        run.begin({"seed": 1})
        assert run.status() == "interrupted"
        run.fail("it broke\nbadly".partition("\n")[0], "details")
        assert (run.status(), run.failure_reason()) == ("failed", "it broke")
        run.begin({"seed": 1})
        assert run.status() == "interrupted", "a new start forgets the failure"
        run.checkpoint.write_bytes(b"x")
        run.finish({"best_accuracy": 1.0}, keep_checkpoint=False)
    assert run.status() == "done"
    assert not run.checkpoint.exists()
    assert run.result() == {"status": "done", "best_accuracy": 1.0, "keeps_checkpoint": False}


def hold(path: Path, ready: multiprocessing.synchronize.Event) -> None:
    with RunDirectory(path, "a").claim() as mine:
        assert mine
        ready.set()
        time.sleep(60)


def test_a_claim_excludes_others_and_dies_with_its_owner(tmp_path: Path) -> None:
    ready = multiprocessing.Event()
    owner = multiprocessing.Process(target=hold, args=(tmp_path, ready))
    owner.start()
    assert ready.wait(30)
    with RunDirectory(tmp_path, "a").claim() as mine:
        assert not mine
    assert owner.pid
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with RunDirectory(tmp_path, "a").claim() as mine:
        assert mine


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"runs_dir="), RunDirectory(tmp_path / "file", "a").claim():
        pass


def test_no_space_left_keeps_the_old_file_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "checkpoint.pt"
    write_atomically(target, lambda handle: handle.write(b"old"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"no space .*checkpoint\.pt"):
        write_atomically(target, lambda handle: handle.write(b"new"))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target], "no half file is left"


def test_metrics_begin_again_with_the_checkpoints_rows(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "a")
    run.path.mkdir()
    run.rewrite_metrics(("epoch", "loss"), [])
    run.append_metrics(("epoch", "loss"), {"epoch": 1, "loss": 0.1})
    run.append_metrics(("epoch", "loss"), {"epoch": 2, "loss": None})
    assert (run.path / "metrics.csv").read_text().split() == ["epoch,loss", "1,0.1", "2,"]
    run.rewrite_metrics(("epoch", "loss"), [{"epoch": 1, "loss": 0.1}])
    assert (run.path / "metrics.csv").read_text().split() == ["epoch,loss", "1,0.1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_no_space_left_for_an_epochs_row(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "a")
    run.path.mkdir()
    (run.path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"no space .*metrics\.csv"):
        run.append_metrics(("epoch",), {"epoch": 1})
    with pytest.raises(InputError, match=r"no space .*metrics\.csv"):
        run.rewrite_metrics(("epoch",), [])


def test_a_claim_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "a")
    run.path.mkdir()
    (run.path / ".checkpoint.pt.123.part").write_bytes(b"half")
    with run.claim():
        assert [file.name for file in run.path.iterdir()] == [".lock"]


def test_tables_quote_what_needs_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "a")
    run.path.mkdir()
    run.write_table("labels.csv", ("key", "label"), [("images/2/26/1,2.jpg", 'a "b"')])
    assert (run.path / "labels.csv").read_text() == 'key,label\n"images/2/26/1,2.jpg","a ""b"""\n'


def test_result_is_json_a_person_can_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "a")
    run.path.mkdir()
    run.finish({"best_accuracy": 12.5}, keep_checkpoint=True)
    assert json.loads((run.path / "result.json").read_text()) == {
        "status": "done",
        "best_accuracy": 12.5,
        "keeps_checkpoint": True,
    }
