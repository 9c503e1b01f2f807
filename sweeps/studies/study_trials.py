"""The trials of a study: which one is next, what its runs score, how it ends.

A trial is a run for each rate and seed. Runs are ordinary records: what a grid has trained is not trained again, and a
trial whose worker was killed is taken up by another, with its parameters, from its runs' checkpoints.
"""

import hashlib
import itertools
import random
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from filelock import FileLock
from hydra.utils import instantiate
from optuna.trial import FrozenTrial, Trial, TrialState

from sanm.errors import InputError, Interrupted, StoppedError
from sanm.terminal import output
from sweeps.studies.space import Dimension, Value
from sweeps.studies.study import COLUMNS, Study, assignments
from sweeps.studies.study_address import address
from sweeps.studies.study_folder import StudyFolder
from sweeps.studies.study_storage import reachable

CELLS, RUNS, REASON, ATTEMPTS, RETRY_OF = "cells", "runs", "reason", "attempts", "retry_of"
"""User attributes of a trial: accuracy of each finished run, their names, why it failed, how often it was taken since
its last epoch, which failed trial it repeats."""

MOST_ATTEMPTS = 5

Row = Mapping[str, Any]


class Watch(Protocol):
    """Sees the rows of a run's epochs so far and how many there are to be; may raise StoppedError."""

    def __call__(self, rows: Sequence[Row], epochs: int) -> None: ...


class TrialFailedError(Exception):
    """A run of the trial failed; says why in one line."""


@dataclass(frozen=True)
class Score:
    """What a run came to: its name and its accuracy by the study's selection rule, in percent."""

    run: str
    value: float


RunCell = Callable[[Study, list[str], Watch], Score]
"""Trains what is left of a run, given its overrides, and calls ``Watch`` after every epoch. Raises
TrialFailedError when the run failed, InputError when nothing can be trained here, Interrupted after a signal."""


def work(study: Study, store: optuna.Study, folder: StudyFolder, run_cell: RunCell) -> None:
    """Take trials and run them until none is left to be taken."""
    while True:
        with folder.alone():
            taken = take(study, store, folder)
        if taken is None:
            return
        trial, claim = taken
        try:
            run_trial(study, store, trial, run_cell)
        finally:
            claim.release()


def check_search(study: Study) -> None:
    """See that sampler and pruner can be made and used, on a study that is thrown away. Raises InputError."""
    rehearsal = optuna.create_study(direction="maximize")
    try:
        rehearsal.pruner, rehearsal.sampler = _made(study.pruner), _sampler(study, 0)
        for value in (0.0, 1.0):  # the second has one to look back at
            trial = _drawn(study, rehearsal.ask())
            trial.report(value, 0)
            trial.should_prune()
            rehearsal.tell(trial, value)
    except Exception as error:  # whatever classes that the user chose may raise
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise InputError(f"study.sampler or study.pruner cannot be used ({reason}): see conf/study/") from error


# ---- which trial is next


def take(study: Study, store: optuna.Study, folder: StudyFolder) -> tuple[Trial, FileLock] | None:
    """A trial and the claim to it: one whose worker died, or a new one while some are left. The caller is ``alone``."""
    trials = store.get_trials(deepcopy=False)
    store.pruner = _made(study.pruner)
    for found in trials:
        if found.state == TrialState.RUNNING:
            claim = folder.claim(found.number)
            if claim is not None:
                if _taken_too_often(store, found):
                    claim.release()
                    continue
                store.sampler = _sampler(study, found.number)
                trial = Trial(store, found._trial_id)  # what ask() makes, of a trial that is there
                return _drawn(study, trial), claim
    waiting = [found.number for found in trials if found.state == TrialState.WAITING]
    if not waiting and counted(trials) >= study.n_trials:
        return None
    store.sampler = _sampler(study, min(waiting, default=len(trials)))
    trial = store.ask()
    claim = folder.claim(trial.number)
    assert claim is not None
    return _drawn(study, trial), claim


def counted(trials: Sequence[FrozenTrial]) -> int:
    """How many trials there are; one that is being repeated counts once."""
    return len(trials) - len({t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs})


def ended(trials: Sequence[FrozenTrial]) -> int:
    """How many of the counted trials are over."""
    return counted(trials) - sum(not t.state.is_finished() for t in trials)


def enqueue_failed(store: optuna.Study) -> int:
    """Queue every failed trial once more, with its parameters. Returns how many. The caller is ``alone``."""
    trials = store.get_trials(deepcopy=False)
    repeated = {t.user_attrs.get(RETRY_OF) for t in trials}
    failed = [t for t in trials if t.state == TrialState.FAIL and t.number not in repeated and t.params]
    for trial in failed:
        store.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
    return len(failed)


def _taken_too_often(store: optuna.Study, found: FrozenTrial) -> bool:
    attempts = found.user_attrs.get(ATTEMPTS, 1)
    if attempts < MOST_ATTEMPTS:
        return False
    trial = Trial(store, found._trial_id)
    trial.set_user_attr(REASON, f"its worker died {attempts} times")
    store.tell(found.number, state=TrialState.FAIL)
    return True


def _sampler(study: Study, number: int) -> optuna.samplers.BaseSampler:
    """The sampler with a seed of the trial's own, so that neither workers nor repeated commands draw the same."""
    settings = dict(study.sampler)
    if settings.get("seed") is not None:
        text = f"{settings['seed']} {number}".encode()
        settings["seed"] = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
    sampler: optuna.samplers.BaseSampler = _made(settings)
    return sampler


def _made(settings: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():  # that parts of Optuna are experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiate(settings)


def _drawn(study: Study, trial: Trial) -> Trial:
    """The trial with all its parameters in the storage, before anybody else may take it."""
    drawn: dict[str, Value] = {}
    for key, dimension in study.space.items():
        if dimension.applies(drawn):
            drawn[key] = _suggest(trial, key, dimension)
    trial.set_user_attr(ATTEMPTS, trial.user_attrs.get(ATTEMPTS, 0) + 1)
    return trial


def _suggest(trial: Trial, key: str, dimension: Dimension) -> Value:
    if dimension.choices:
        choice: Any = trial.suggest_categorical(key, list(dimension.choices))
        return choice
    if dimension.whole:
        return trial.suggest_int(
            key, int(dimension.low), int(dimension.high), step=int(dimension.step or 1), log=dimension.log
        )
    return trial.suggest_float(key, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


# ---- one trial


def settled(study: Study, params: Mapping[str, Value]) -> dict[str, Value]:
    """A trial's parameters as its runs have them."""
    return {key: study.space[key].settle(params[key]) for key in study.space if key in params}


def run_trial(study: Study, store: optuna.Study, trial: Trial, run_cell: RunCell) -> None:
    """Run the trial's runs, tell the study how it ended, and say so."""
    params = settled(study, trial.params)
    _say(trial, " ".join(assignments(params)))
    try:
        scores = _scores(study, trial, params, run_cell)
    except StoppedError:
        store.tell(trial, state=TrialState.PRUNED)
        _say(trial, f"pruned after {len(trial.user_attrs.get(CELLS, {}))} of {len(study.cells)} runs")
    except TrialFailedError as error:
        trial.set_user_attr(REASON, str(error))
        store.tell(trial, state=TrialState.FAIL)
        _say(trial, f"failed: {error}")
    except (KeyboardInterrupt, SystemExit, Interrupted, InputError):  # no fault of the trial
        trial.set_user_attr(ATTEMPTS, trial.user_attrs[ATTEMPTS] - 1)
        raise
    else:
        value = statistics.fmean(scores)
        store.tell(trial, value)
        _say(trial, f"{value:.2f} %, mean of {len(scores)} runs ({study.selection})")


def _scores(study: Study, trial: Trial, params: Mapping[str, Value], run_cell: RunCell) -> list[float]:
    """Accuracy of every run, in the order of the study's cells. Raises StoppedError where the pruner says so."""
    by_epoch = study.report == "epoch"
    reports = Reports(study, trial)
    scores: dict[str, float] = dict(trial.user_attrs.get(CELLS, {}))  # of a trial that is taken up again
    runs: dict[str, str] = dict(trial.user_attrs.get(RUNS, {}))
    order = list(enumerate(study.cells))
    if not by_epoch:
        random.Random(f"{study.name} {trial.number}").shuffle(order)  # so that no run is always judged first
    for done, (position, cell) in enumerate(order, start=1):
        score = run_cell(study, study.run_overrides(params, cell), _watch(study, reports, position))
        scores[cell.key], runs[cell.key] = score.value, score.run
        _remember(trial, scores, runs)
        if not by_epoch:
            reports.tell(score.value, position)
        if not by_epoch and done < len(order):
            reports.judge()
    return [scores[cell.key] for cell in study.cells]


class Reports:
    """What the pruner is told of a trial; a trial that is taken up again has reported some of it.

    This is in the middle of a run as well, whose failure it would be unless a storage that is gone were InputError.
    """

    def __init__(self, study: Study, trial: Trial) -> None:
        self._trial, self._address = trial, address(study)
        self._steps = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self._attempts = int(trial.user_attrs[ATTEMPTS])

    def advanced(self) -> None:
        """A run has come an epoch further, so the trial does not kill its workers."""
        if self._attempts > 1:
            with reachable(self._address):
                self._trial.set_user_attr(ATTEMPTS, 1)
            self._attempts = 1

    def tell(self, value: float, step: int) -> None:
        """Report a value, unless it was reported before."""
        if step not in self._steps:
            with reachable(self._address):
                self._trial.report(value, step)
            self._steps.add(step)

    def judge(self) -> None:
        """Raise StoppedError when the pruner wants no more of the trial."""
        with reachable(self._address):
            if self._trial.should_prune():
                raise StoppedError


def accuracy(row: Row, column: str) -> float:
    """An epoch's accuracy, in percent. Raises InputError where the run's data has none to give in this column."""
    if row[column] in (None, ""):
        raise InputError(f"runs of this study have no {column}: choose another study.selection, or other data")
    return float(row[column])


def _watch(study: Study, reports: Reports, position: int) -> Watch:
    """For a pruner that judges epochs, reports a run's best accuracy so far at every one.

    Also at those that a worker saved and could not tell of any more.
    """
    column = COLUMNS[study.selection]

    def watch(rows: Sequence[Row], epochs: int) -> None:
        reports.advanced()
        best = itertools.accumulate([accuracy(row, column) for row in rows], max)
        if study.report != "epoch":
            return
        for row, value in zip(rows, best, strict=True):
            reports.tell(value, position * epochs + int(row["epoch"]))
        if len(rows) < epochs:  # at the end there is nothing to save
            reports.judge()

    return watch


def _remember(trial: Trial, scores: Mapping[str, float], runs: Mapping[str, str]) -> None:
    trial.set_user_attr(CELLS, dict(scores))
    trial.set_user_attr(RUNS, dict(runs))
    trial.set_user_attr(ATTEMPTS, 1)


def _say(trial: Trial, what: str) -> None:
    output.say(f"trial    {trial.number}: {what}")
