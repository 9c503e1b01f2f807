"""One run of a trial: trained, skipped or waited for, and scored from its record."""

import time
from functools import partial
from pathlib import Path

from sanm.config.explain import one_line
from sanm.errors import InputError, Interrupted
from sanm.machine import gpu
from sanm.machine.stopping import REQUEUE, Stop
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.record.reading import METRICS, RecordError, read_metrics
from sanm.run import FAILED, MISSING, train_or_skip
from sweeps.studies.study import COLUMNS, Plain, Study, run_config
from sweeps.studies.study_trials import Row, Score, TrialFailedError, Watch, accuracy

SECONDS_BETWEEN_LOOKS = 2.0


def run_cell(study: Study, overrides: list[str], watch: Watch, stop: Stop = lambda: False) -> Score:
    """Train what is left of the run, if anything. What it raises is said at ``RunCell``; ``stop()`` is as a signal."""
    try:
        config = run_config(overrides)
    except Exception as error:  # values that do not go together are this trial's own affair
        explained = one_line(error)
        if explained is None:
            raise
        raise TrialFailedError(explained) from error
    try:
        return _score(study, config, overrides, watch, stop)
    except RecordError as error:
        if error.path.parent.parent != Path(config["runs_dir"]).expanduser():  # an encoder's, which others need too
            raise
        raise TrialFailedError(str(error)) from error


def _score(study: Study, config: Plain, overrides: list[str], watch: Watch, stop: Stop) -> Score:
    looking = partial(watch, epochs=config["trainer"]["epochs"])
    status = train_or_skip(config, overrides, stop, looking)
    directory = RunDirectory(Path(config["runs_dir"]).expanduser(), run_name(identity(config)))
    while status == MISSING:  # another process is at the run
        _wait(directory)
        status = train_or_skip(config, overrides, stop, looking)
    if status == REQUEUE:
        raise Interrupted(f"{directory.name} was stopped")
    if status == FAILED:
        if gpu.lost():  # later trials would fail for it
            raise InputError(f"{directory.name} failed and took the GPU from this process: the same command goes on")
        raise TrialFailedError(f"{directory.name}: {directory.failure_reason()}")
    rows, best = epochs_of(directory, COLUMNS[study.selection])
    looking(rows)  # what a run that was there already has to tell; it is not stopped by it
    return Score(directory.name, best)


def epochs_of(directory: RunDirectory, column: str) -> tuple[list[Row], float]:
    """The epochs of a finished run, and the best of their accuracies in this column.

    Raises RecordError when the record does not hold them.
    """
    file = directory.path / METRICS
    header, lines = read_metrics(file)
    names = header.split(",")
    rows: list[Row] = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    if not rows or column not in names or len(rows) != directory.result().get("epochs", len(rows)):
        raise RecordError(file, "does not hold the run's epochs")
    return rows, max(accuracy(row, column) for row in rows)


def _wait(directory: RunDirectory) -> None:
    while True:
        with directory.claim() as mine:
            if mine:
                return
        time.sleep(SECONDS_BETWEEN_LOOKS)
