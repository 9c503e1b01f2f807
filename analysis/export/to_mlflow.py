"""MLflow: a run of an experiment for each run, known by a tag that holds its name."""

import logging
import math
import os
import re
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from alembic.util import CommandError
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from analysis.export.tracked_run import RECORD, Epoch, TrackedRun
from analysis.export.tracker import Seen
from sanm.errors import InputError

NAME, IDENTITY, STATE = "sanm.run", "sanm.identity", "sanm.state"
NOTE = "mlflow.note.content"
"""What MLflow shows as a run's description."""
RESULT = "result."
STATUS = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING", "unfinished": "KILLED"}
MOST_METRICS, MOST_PARAMS = 1000, 100
"""What MLflow takes in one call."""
LONGEST = 500
"""Characters of a parameter that every version takes."""
SQLITE = "sqlite:///"
PASSWORD = re.compile(r"(://[^:/@]*:)[^@/]*@")
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is not there is said in seconds, unless the user has chosen otherwise."""
TABLES = {"experiments", "runs", "metrics"}

Item = TypeVar("Item")


class MLflow:
    """An experiment of an MLflow store: a server's, or a database's."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Raises InputError where nothing answers there, and for a database of something else."""
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        for key, value in IMPATIENCE.items():
            os.environ.setdefault(key, value)
        self._shown = PASSWORD.sub(r"\1***@", uri)
        self.place = f"mlflow experiment {experiment!r} of {self._shown}"
        artifacts = _check_database(uri)
        with self._answering():
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is not None and found.lifecycle_stage != "active":
                raise InputError(f"--project {experiment}: this experiment is deleted: restore it, or give another")
            self._experiment = (
                found.experiment_id
                if found
                else self._client.create_experiment(experiment, artifact_location=artifacts)
            )
            self._runs = {run.data.tags[NAME]: run for run in self._all_runs()}

    def seen(self, run: TrackedRun) -> Seen:
        there = self._runs.get(run.name)
        if there is None:
            return Seen()
        tags = there.data.tags
        epochs: dict[int, dict[str, float]] = {}
        with self._answering():
            for key in there.data.metrics:
                for metric in () if key.startswith(RESULT) else self._client.get_metric_history(there.info.run_id, key):
                    epochs.setdefault(metric.step, {})[key] = metric.value
        return Seen(tags[IDENTITY], tags.get(STATE), epochs)

    def add(self, run: TrackedRun, seen: Seen, epochs: Sequence[Epoch], masks: bytes | None) -> None:
        with self._answering():
            if not seen.identity:
                self._begin(run)
            own = self._runs[run.name].info.run_id
            if seen.state is None:
                params = [Param(key, str(value)[:LONGEST]) for key, value in run.settings.items()]
                for some_params in _parts(params, MOST_PARAMS):
                    self._client.log_batch(own, params=some_params)
            metrics = [_metric(key, value, epoch) for epoch in epochs for key, value in epoch.values.items()]
            for some_metrics in _parts(metrics, MOST_METRICS):
                self._client.log_batch(own, metrics=some_metrics)
            if run.state_in_words != seen.state:
                self._end(run, own, masks)
            self._runs[run.name] = self._client.get_run(own)

    def close(self) -> None:
        """Every call is answered when all is stored."""

    def _all_runs(self) -> Iterator[MlflowRun]:
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], f"tags.`{NAME}` LIKE '%'", page_token=token or None)
            yield from page
            token = page.token or None

    def _begin(self, run: TrackedRun) -> None:
        self._runs[run.name] = self._client.create_run(
            self._experiment,
            start_time=_milliseconds(run.began),
            tags={NAME: run.name, IDENTITY: run.identity},
            run_name=run.name,
        )

    def _end(self, run: TrackedRun, own: str, masks: bytes | None) -> None:
        """The state last, since it says that all is there."""
        if run.ended:
            last = Epoch(run.epochs[-1].number if run.epochs else 0, run.numbers, run.time)
            metrics = [_metric(f"{RESULT}{key}", value, last) for key, value in last.values.items()]
            self._client.log_batch(own, metrics=metrics)
            self._files(run, own, masks)
        self._client.update_run(own, status=STATUS[run.state])
        texts = {key: value for key, value in run.results.items() if isinstance(value, str) and value}
        tags = [RunTag(f"{RESULT}{key}", str(value)) for key, value in texts.items()]
        self._client.log_batch(own, tags=[*tags, RunTag(NOTE, run.state_in_words)])
        if run.ended:
            self._client.set_terminated(own, STATUS[run.state], _milliseconds(run.time))
        self._client.set_tag(own, STATE, run.state_in_words)

    def _files(self, run: TrackedRun, own: str, masks: bytes | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("record", "tables"):
                Path(folder, kind).mkdir()
            for name in RECORD:
                if (run.path / name).is_file():
                    Path(folder, "record", name).write_bytes((run.path / name).read_bytes())
            for name, table in run.tables().items():
                table.to_csv(Path(folder, "tables", f"{name}.csv"), index=False)
            if masks is not None:
                Path(folder, "masks.png").write_bytes(masks)
            self._client.log_artifacts(own, folder)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of MLflow's own calls to SQLAlchemy
                yield
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"mlflow: {self._shown} does not take this ({reason})") from error


def _check_database(uri: str) -> str | None:
    """Where artifacts of a new experiment of a SQLite file go: beside it. None where the server says it.

    Raises InputError for a file that is something else, which MLflow would add its tables to.
    """
    if not uri.startswith(SQLITE):
        return None
    path = Path(urlsplit(uri).path[1:]).absolute()
    if not path.parent.is_dir():
        raise InputError(f"--uri {uri}: {path.parent} is no folder: give the place of a file in one")
    if path.exists() and (not path.is_file() or path.stat().st_size):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
        except sqlite3.Error as error:
            raise InputError(f"--uri {uri}: {path} is no SQLite database ({error}): give a new file") from error
        if not tables >= TABLES:
            raise InputError(f"--uri {uri}: {path} is a database of something else: give a new file, or MLflow's own")
    return (path.parent / f"{path.stem}-artifacts").as_uri()


def _parts(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


def _metric(key: str, value: float, epoch: Epoch) -> Metric:
    return Metric(key, value, _milliseconds(epoch.time), epoch.number)


def _milliseconds(seconds: float) -> int:
    return math.floor(1000 * seconds)
