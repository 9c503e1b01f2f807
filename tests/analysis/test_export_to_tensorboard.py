"""`python -m analysis.export --to tensorboard`, its files read back as TensorBoard reads them."""

import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.analysis.conftest import refusal, within
from tests.analysis.tracked import REASON, runs_of_each_state, train_on
from tests.conftest import ROOT

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
hparams = pytest.importorskip("tensorboard.plugins.hparams.metadata")
statuses = pytest.importorskip("tensorboard.plugins.hparams.api_pb2")

export = partial(within, "analysis.export")
refused = partial(refusal, "analysis.export")
TO = ("--to", "tensorboard")


@pytest.fixture
def runs(runs_dir: Path, settings: Any) -> Path:
    return runs_of_each_state(runs_dir, settings)


def read(folder: Path, run: str) -> Any:
    found = accumulators.EventAccumulator(str(folder / run), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    return found.Reload()


def texts(found: Any, tag: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in found.Tensors(tag)]


def curve(found: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, round(event.value, 5)) for event in found.Scalars(tag)]


def test_a_run_with_all_that_it_has(runs: Path) -> None:
    answer = export(runs, *TO)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("3 runs (1 done, 1 failed, 1 unfinished): 3 new, 6 epochs added\n")
    found = read(runs.parent / "runs-tensorboard", "run-0000")
    assert curve(found, "loss") == [(1, 2.1), (2, 1.9)]
    assert curve(found, "result/best_accuracy") == [(2, 80.0)]
    assert "validation_accuracy" not in found.Tags()["scalars"]
    assert "| trainer.epochs " in texts(found, "settings")[0]
    assert texts(found, "table/least_trusted_labels")[0].index("a.png") < 400
    (image,) = found.Images("masks")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    start = hparams.parse_session_start_info_plugin_data(
        found.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    )
    assert start.hparams["noise.rate"].number_value == 0.5
    assert start.group_name == "run-0000"


def test_a_failed_run_says_why_and_a_stopped_one_is_unfinished(runs: Path, tmp_path: Path) -> None:
    export(runs, *TO, "--out", tmp_path / "board")
    failed, stopped = read(tmp_path / "board", "run-0001"), read(tmp_path / "board", "run-0002")
    assert texts(failed, "state") == [f"failed: {REASON}"]
    end = hparams.parse_session_end_info_plugin_data(
        failed.SummaryMetadata(hparams.SESSION_END_INFO_TAG).plugin_data.content
    )
    assert end.status == statuses.STATUS_FAILURE
    assert texts(stopped, "state") == ["unfinished"]
    assert hparams.SESSION_END_INFO_TAG not in stopped.Tags()["tensors"]


def test_again_adds_only_what_is_new(runs: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    export(runs, *TO, "--out", board)
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    assert "0 new, 0 epochs added" in export(runs, *TO, "--out", board).stdout
    assert {path: path.read_bytes() for path in board.rglob("*") if path.is_file()} == before
    train_on(runs / "run-0002")
    with FileLock(runs / "run-0002/.lock"):
        assert "1 running): 0 new, 1 epochs added" in export(runs, *TO, "--out", board).stdout
    found = read(board, "run-0002")
    assert curve(found, "test_accuracy") == [(1, 40.0), (2, 50.0), (3, 60.0)]
    assert math.isnan(found.Scalars("loss")[-1].value)
    assert texts(found, "state") == ["unfinished", "running"]
    assert len(texts(found, "settings")) == 1


def test_what_a_killed_export_left_is_ended(runs: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    export(runs, *TO, "--out", board)
    (file,) = (board / "run-0000").iterdir()
    os.truncate(file, file.stat().st_size - 10)  # within the last event
    assert "0 new, 0 epochs added" in export(runs, *TO, "--out", board).stdout
    found = read(board, "run-0000")
    assert texts(found, "state") == ["done"]
    assert curve(found, "result/best_accuracy") == [(2, 80.0)]
    assert curve(found, "loss") == [(1, 2.1), (2, 1.9)]


def test_other_numbers_and_another_run_of_the_name_are_said(runs: Path, settings: Any, tmp_path: Path) -> None:
    board = tmp_path / "board"
    export(runs, *TO, "--out", board)
    metrics = runs / "run-0001/metrics.csv"
    metrics.write_text(metrics.read_text().replace("2,1.9", "2,1.8"))
    config = runs / "run-0002/config.yaml"
    config.write_text(config.read_text().replace("seed: 1", "seed: 2"))
    answer = export(runs, *TO, "--out", board)
    assert answer.returncode == 0
    one, other = answer.stderr.splitlines()
    assert "epoch 2, loss 1.9 there, 1.8 in the record" in one
    assert "another run of this name" in other
    assert curve(read(board, "run-0001"), "loss") == [(1, 2.1), (2, 1.9)]


def test_an_unreadable_run_is_said_and_the_others_go(runs: Path) -> None:
    (runs / "run-0001/config.yaml").write_text("[")
    answer = export(runs, *TO)
    assert answer.returncode == 0
    assert "2 new, 4 epochs added" in answer.stdout
    assert "run-0001" in answer.stderr


def test_a_foreign_folder_is_left_alone(runs: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "text.md").write_text("mine")
    assert "not of this command" in refused(runs, *TO, "--out", foreign)
    assert "not of this command" in refused(runs, *TO, "--out", runs)
    assert "is no folder" in refused(runs, *TO, "--out", foreign / "text.md")
    assert [path.name for path in foreign.iterdir()] == ["text.md"]


def test_bad_words(runs: Path, tmp_path: Path) -> None:
    assert "no such folder of runs" in refused(tmp_path / "absent", *TO)
    assert "no such folder of runs" in refused(tmp_path / "absent", *TO, "--follow")
    assert "--uri is no option" in refused(runs, *TO, "--uri", "sqlite:///x.db")
    assert "--every" in refused(runs, *TO, "--every", "0")
    assert "--to" in refused(runs)


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"])
def test_a_tracker_that_is_not_installed(tracker: str, runs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, f"analysis.export.to_{tracker}", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == tracker]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, tracker, None)
    where = ("--uri", f"sqlite:///{tmp_path}/m.db") if tracker == "mlflow" else ()
    assert f"pip install 'sanm[{tracker}]'" in refused(runs, "--to", tracker, *where)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_goes_on_until_a_signal(number: int, runs: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "analysis.export", str(runs), *TO, "--out", str(tmp_path / "board"), "--follow"]
    process = subprocess.Popen(
        [*words, "--every", "0.1"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("Ctrl-C ends\n")
    assert "3 new, 6 epochs added" in process.stdout.readline()
    assert "another export" in refused(runs, *TO, "--out", tmp_path / "board")
    train_on(runs / "run-0002")
    assert "3 new, 7 epochs added" in process.stdout.readline()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 75
    assert len(error.splitlines()) == 1
    assert "the same command goes on" in error
    assert [step for step, _ in curve(read(tmp_path / "board", "run-0002"), "learning_rate")] == [1, 2, 3]


def test_following_waits_for_the_first_run(runs_dir: Path, settings: Any, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "analysis.export", str(runs_dir), *TO, "--follow", "--every", "0.1"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    runs_of_each_state(runs_dir, settings)
    assert "3 runs" in process.stdout.readline() or "3 runs" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 75
