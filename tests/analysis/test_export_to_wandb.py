"""`python -m analysis.export --to wandb --offline`, its files read back."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.conftest import refusal, within
from tests.analysis.tracked import REASON, runs_of_each_state, train_on

pytest.importorskip("wandb")
from analysis.export.to_wandb import _id
from analysis.export.wandb_file import OfflineRun, read_offline

export = partial(within, "analysis.export")
refused = partial(refusal, "analysis.export")
TO = ("--to", "wandb", "--offline")


@pytest.fixture
def runs(runs_dir: Path, settings: Any) -> Path:
    return runs_of_each_state(runs_dir, settings)


def files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"wandb/offline-run-*-{_id(name)}/*.wandb"))


def read(folder: Path, name: str) -> OfflineRun:
    return read_offline(files(folder, name))


def curve(found: OfflineRun, key: str) -> list[tuple[int, float]]:
    return [(row["_step"], row[key]) for row in found.history]


def test_runs_are_there_once_and_whole(runs: Path) -> None:
    answer = export(runs, *TO)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("3 runs (1 done, 1 failed, 1 unfinished): 3 new, 6 epochs added\n")
    folder = runs.parent / "runs-wandb"
    done, failed, stopped = (read(folder, f"run-000{number}") for number in range(3))
    assert curve(done, "loss") == [(1, 2.1), (2, 1.9)]
    assert done.config["noise.rate"] == 0.5
    assert done.summary["result.best_accuracy"] == 80.0
    assert done.summary["table.least_trusted_labels"]["_type"] == "table-file"
    assert done.summary["masks"]["_type"] == "image-file"
    assert list(files(folder, "run-0000")[0].parent.rglob("*.png"))
    assert failed.summary["state"] == f"failed: {REASON}"
    assert stopped.summary["state"] == "unfinished"
    assert [run.exit_codes for run in (done, failed, stopped)] == [[0], [1], [255]]

    train_on(runs / "run-0002")
    assert "0 new, 1 epochs added" in export(runs, *TO).stdout
    assert "0 new, 0 epochs added" in export(runs, *TO).stdout
    assert [len(files(folder, f"run-000{number}")) for number in range(3)] == [1, 1, 2]
    assert curve(read(folder, "run-0002"), "test_accuracy") == [(1, 40.0), (2, 50.0), (3, 60.0)]


def test_what_a_killed_export_left_is_ended(runs: Path, tmp_path: Path) -> None:
    export(runs, *TO, "--out", tmp_path / "out")
    (file,) = files(tmp_path / "out", "run-0000")
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b'"done"')])
    assert "0 new, 0 epochs added" in export(runs, *TO, "--out", tmp_path / "out").stdout
    found = read(tmp_path / "out", "run-0000")
    assert found.summary["state"] == "done"
    assert curve(found, "loss") == [(1, 2.1), (2, 1.9)]


def test_a_server_that_does_not_answer(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("analysis.export.to_wandb.PATIENCE", 1)
    assert "--offline asks no server" in refused(runs, "--to", "wandb", "--out", tmp_path / "out")
