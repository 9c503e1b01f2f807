"""`python -m analysis.export --to mlflow` into SQLite, read back with MLflow's client."""

import math
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.conftest import refusal, within
from tests.analysis.tracked import REASON, runs_of_each_state, train_on

tracking = pytest.importorskip("mlflow.tracking")
pytest.importorskip("sqlalchemy")

export = partial(within, "analysis.export")
refused = partial(refusal, "analysis.export")


@pytest.fixture
def runs(runs_dir: Path, settings: Any) -> Path:
    return runs_of_each_state(runs_dir, settings)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for all tests, since MLflow takes seconds to make one; each has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"


def read(uri: str, experiment: str) -> tuple[Any, dict[str, Any]]:
    client = tracking.MlflowClient(uri)
    own = client.get_experiment_by_name(experiment).experiment_id
    found = client.search_runs([own])
    assert len({run.info.run_name for run in found}) == len(found)
    return client, {run.info.run_name: run for run in found}


def curve(client: Any, run: Any, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]


def test_runs_are_there_once_and_whole(runs: Path, uri: str) -> None:
    words = (runs, "--to", "mlflow", "--uri", uri, "--project", "whole")
    answer = export(*words)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("3 runs (1 done, 1 failed, 1 unfinished): 3 new, 6 epochs added\n")
    client, found = read(uri, "whole")
    done, failed, stopped = (found[f"run-000{number}"] for number in range(3))
    assert [run.info.status for run in (done, failed, stopped)] == ["FINISHED", "FAILED", "KILLED"]
    assert failed.data.tags["mlflow.note.content"] == f"failed: {REASON}"
    assert stopped.data.tags["sanm.state"] == "unfinished"
    assert curve(client, done, "loss") == [(1, 2.1), (2, 1.9)]
    assert curve(client, done, "result.best_accuracy") == [(2, 80.0)]
    assert done.data.params["noise.rate"] == "0.5"
    files = {f"{folder}/{file.path.rpartition('/')[2]}" for folder in ("record", "tables")
             for file in client.list_artifacts(done.info.run_id, folder)}  # fmt: skip
    assert {"record/config.yaml", "record/result.json", "tables/epochs.csv", "tables/least_trusted_labels.csv"} <= files
    assert "masks.png" in [file.path for file in client.list_artifacts(done.info.run_id)]

    train_on(runs / "run-0002")
    assert "0 new, 1 epochs added" in export(*words).stdout
    assert "0 new, 0 epochs added" in export(*words).stdout
    client, again = read(uri, "whole")
    assert {name: run.info.run_id for name, run in again.items()} == {name: r.info.run_id for name, r in found.items()}
    assert curve(client, again["run-0002"], "test_accuracy") == [(1, 40.0), (2, 50.0), (3, 60.0)]
    assert math.isnan(curve(client, again["run-0002"], "loss")[-1][1])
    assert curve(client, again["run-0000"], "result.best_accuracy") == [(2, 80.0)]


def test_what_a_killed_export_left_is_ended(runs: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (runs, "--to", "mlflow", "--uri", uri, "--project", "killed")
    for other in ("run-0001", "run-0002"):
        shutil.rmtree(runs / other)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("analysis.export.to_mlflow.MLflow._files", killed)
        with pytest.raises(AssertionError, match="KeyboardInterrupt"):
            export(*words)
    assert "0 new, 0 epochs added" in export(*words).stdout
    client, found = read(uri, "killed")
    assert found["run-0000"].info.status == "FINISHED"
    assert curve(client, found["run-0000"], "loss") == [(1, 2.1), (2, 1.9)]
    assert curve(client, found["run-0000"], "result.best_accuracy") == [(2, 80.0)]


def test_places_that_are_not_mlflows(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "--uri" in refused(runs, "--to", "mlflow")
    assert "no folder" in refused(runs, "--to", "mlflow", "--uri", f"sqlite:///{tmp_path}/absent/m.db")
    text = tmp_path / "text.db"
    text.write_text("no database " * 100)
    assert "no SQLite database" in refused(runs, "--to", "mlflow", "--uri", f"sqlite:///{text}")
    other = tmp_path / "study.db"
    with sqlite3.connect(other) as database:
        database.execute("create table trials (number integer)")
    before = other.read_bytes()
    assert "something else" in refused(runs, "--to", "mlflow", "--uri", f"sqlite:///{other}")
    assert other.read_bytes() == before


def test_a_server_that_does_not_answer(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "http://127.0.0.1:9" in refused(runs, "--to", "mlflow", "--uri", "http://127.0.0.1:9")
