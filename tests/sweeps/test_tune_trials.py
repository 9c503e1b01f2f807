"""Which trial is next, how it ends, what is taken up again: with runs that are a formula."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from analysis.figures import build
from analysis.records import Records
from sanm.errors import InputError, Interrupted
from sweeps import study_report, study_trials
from sweeps.study import Study
from sweeps.study_folder import StudyFolder
from sweeps.study_storage import address, create, find, shown
from sweeps.study_trials import (
    ATTEMPTS,
    CELLS,
    MOST_ATTEMPTS,
    REASON,
    RUNS,
    Score,
    TrialFailedError,
    Watch,
    check_search,
    counted,
    ended,
    enqueue_failed,
    take,
    work,
)
from tests.sweeps.conftest import MakeStudy
from tests.test_architecture import offenders


def values(overrides: list[str]) -> dict[str, str]:
    return {word.partition("=")[0]: word.partition("=")[2] for word in overrides}


def formula(overrides: list[str]) -> float:
    """A best tau of 0.3, an easier and a harder rate, seeds a little apart."""
    found = values(overrides)
    rate = 20.0 if found["noise.rate"] == "0.5" else 0.0
    return 60 - 100 * abs(float(found["tau.value"]) - 0.3) + rate + 0.1 * int(found["seed"])


def by_formula(study: Study, overrides: list[str], watch: Watch) -> Score:
    return Score(f"run-of-{'-'.join(overrides[-3:])}", formula(overrides))


def optimized(study: Study, run: Callable[..., Score] = by_formula) -> optuna.Study:
    folder = StudyFolder(study.folder)
    store = create(study, folder)
    work(study, store, folder, run)
    return store


def states(store: optuna.Study) -> list[str]:
    return [trial.state.name for trial in store.trials]


def interrupting(after: int) -> Callable[..., Score]:
    """Runs that are cut off when so many are done."""
    done: list[str] = []

    def run(study: Study, overrides: list[str], watch: Watch) -> Score:
        if len(done) == after:
            raise SystemExit
        done.append(overrides[-1])
        return by_formula(study, overrides, watch)

    return run


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_n_trials_is_the_total_of_all_commands(make_study: MakeStudy, tmp_path: Path, kind: str) -> None:
    storage = "null" if kind == "sqlite" else f"journal:{tmp_path / 'study.log'}"
    words = ("study=tau", "study/pruner=none", f"study.storage={storage}")
    store = optimized(make_study(*words, "study.n_trials=3"))
    assert states(store) == ["COMPLETE"] * 3
    store = optimized(make_study(*words, "study.n_trials=3"))
    assert len(store.trials) == 3
    store = optimized(make_study(*words, "study.n_trials=5"))
    assert states(store) == ["COMPLETE"] * 5
    trial = store.trials[4]
    assert len(trial.user_attrs[CELLS]) == 6
    assert trial.value == pytest.approx(statistics.fmean(trial.user_attrs[CELLS].values()))
    assert set(trial.user_attrs[RUNS]) == set(trial.user_attrs[CELLS])
    assert (tmp_path / "study.log").exists() == (kind == "journal")


def test_commands_and_workers_draw_what_one_would_have_drawn(make_study: MakeStudy) -> None:
    words = ("study=tau", "study/pruner=none", "study/sampler=random")
    whole = optimized(make_study(*words, "study.n_trials=6", "study.name=whole"))
    for n in (1, 2, 4, 6):
        parts = optimized(make_study(*words, f"study.n_trials={n}", "study.name=parts"))
    assert [trial.params for trial in whole.trials] == [trial.params for trial in parts.trials]
    assert len({trial.params["tau.value"] for trial in whole.trials}) > 3


def test_the_search_finds_where_it_is_good(make_study: MakeStudy) -> None:
    store = optimized(make_study("study=tau", "study/pruner=none", "study.n_trials=25", "study.seeds=[1]"))
    assert store.best_params["tau.value"] == pytest.approx(0.3, abs=0.05)
    late = [abs(trial.params["tau.value"] - 0.3) for trial in store.trials[15:]]
    early = [abs(trial.params["tau.value"] - 0.3) for trial in store.trials[:8]]
    assert statistics.fmean(late) < statistics.fmean(early)


def test_a_trial_whose_worker_died_is_taken_up_with_its_parameters(make_study: MakeStudy) -> None:
    study = make_study("study=tau", "study.n_trials=2", "study/pruner=none")
    with pytest.raises(SystemExit):
        optimized(study, interrupting(after=9))
    store = find(study)
    assert states(store) == ["COMPLETE", "RUNNING"]
    params = store.trials[1].params
    assert len(store.trials[1].user_attrs[CELLS]) == 3
    store = optimized(study)
    assert states(store) == ["COMPLETE", "COMPLETE"]
    assert store.trials[1].params == params
    assert len(store.trials[1].user_attrs[CELLS]) == 6


def test_a_trial_that_a_living_worker_has_is_left_to_it(make_study: MakeStudy) -> None:
    study = make_study("study=tau", "study.n_trials=2", "study/pruner=none")
    folder = StudyFolder(study.folder)
    mine = create(study, folder)
    taken = take(study, mine, folder)
    assert taken is not None
    store = optimized(study)
    assert states(store) == ["RUNNING", "COMPLETE"]
    assert (counted(store.trials), ended(store.trials)) == (2, 1)
    taken[1].release()
    assert states(optimized(study)) == ["COMPLETE", "COMPLETE"]


def test_a_trial_that_kills_every_worker_is_given_up(make_study: MakeStudy) -> None:
    study = make_study("study=tau", "study.n_trials=1")
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(SystemExit):
            optimized(study, interrupting(after=0))
    store = optimized(study)
    assert states(store) == ["FAIL"]
    assert store.trials[0].user_attrs[REASON] == f"its worker died {MOST_ATTEMPTS} times"


def test_a_trial_that_gets_on_is_not_given_up_however_often_its_worker_dies(make_study: MakeStudy) -> None:
    def killed_after_an_epoch(study: Study, overrides: list[str], watch: Watch) -> Score:
        watch([{"epoch": 1, "validation_accuracy": 10.0}], 10)
        raise SystemExit

    study = make_study("study=tau", "study.n_trials=1")
    for _ in range(MOST_ATTEMPTS + 2):
        with pytest.raises(SystemExit):
            optimized(study, killed_after_an_epoch)
    assert states(optimized(study)) == ["COMPLETE"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, Interrupted, InputError])
def test_what_comes_from_outside_is_no_fault_of_the_trial(make_study: MakeStudy, reason: type[BaseException]) -> None:
    study = make_study("study=tau", "study.n_trials=1")

    def interrupted(*_: object) -> Score:
        raise reason

    for _ in range(MOST_ATTEMPTS + 2):
        with pytest.raises(reason):
            optimized(study, interrupted)
    assert find(study).trials[0].user_attrs[ATTEMPTS] == 0
    assert states(optimized(study)) == ["COMPLETE"]


def test_a_failed_run_fails_its_trial_and_the_study_goes_on(make_study: MakeStudy) -> None:
    def failing(study: Study, overrides: list[str], watch: Watch) -> Score:
        if float(values(overrides)["tau.value"]) > 0.3:
            raise TrialFailedError("some-run: the loss is not finite at epoch 1, step 1 of network 1")
        return by_formula(study, overrides, watch)

    study = make_study("study=tau", "study.n_trials=6", "study/pruner=none", "study/sampler=random")
    store = optimized(study, failing)
    assert set(states(store)) == {"COMPLETE", "FAIL"}
    assert len(store.trials) == 6
    failed = [trial for trial in store.trials if trial.state == TrialState.FAIL]
    assert all(trial.user_attrs[REASON].startswith("some-run: the loss") for trial in failed)
    assert len(optimized(study, failing).trials) == 6, "not retried by itself"

    assert enqueue_failed(store) == len(failed)
    assert enqueue_failed(store) == 0, "they are queued already"
    store = optimized(study)
    assert (counted(store.trials), ended(store.trials)) == (6, 6)
    again = store.trials[6:]
    assert [trial.params for trial in again] == [trial.params for trial in failed]
    assert {trial.state for trial in again} == {TrialState.COMPLETE}


def test_the_pruner_stops_trials_that_are_worse_run_by_run(make_study: MakeStudy) -> None:
    store = optimized(make_study("study=tau", "study.n_trials=12"))
    pruned = [trial for trial in store.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(len(trial.user_attrs[CELLS]) in (4, 5) for trial in pruned), "p = 0.06 with four, and not at the end"
    assert all(trial.value is None or trial.number != store.best_trial.number for trial in pruned)
    first = {next(iter(trial.user_attrs[CELLS])) for trial in store.trials}
    assert len(first) > 1, "the order is not always the same"


def test_the_pruner_stops_a_run_by_its_epochs(make_study: MakeStudy) -> None:
    def learning(study: Study, overrides: list[str], watch: Watch) -> Score:
        end = formula(overrides)
        rows = [{"epoch": k, "validation_accuracy": end * k / 10, "test_accuracy": 0.0} for k in range(1, 11)]
        for epoch in range(1, 11):
            seen.append((values(overrides)["tau.value"], epoch))
            watch(rows[:epoch], 10)
        return Score("run", end)

    seen: list[tuple[str, int]] = []
    words = ("study=tau", "study/pruner=median", "study.pruner.n_startup_trials=2", "study.n_trials=8")
    store = optimized(make_study(*words), learning)
    pruned = [trial for trial in store.trials if trial.state == TrialState.PRUNED]
    complete = [trial for trial in store.trials if trial.state == TrialState.COMPLETE]
    assert pruned
    assert len(seen) < 8 * 60
    assert all(len(trial.intermediate_values) == 60 for trial in complete), "a step an epoch of each run"
    assert all(len(trial.intermediate_values) % 10 for trial in pruned), "never at a run's last epoch"


CHANGES = [
    ("study.space.tau.value.high=0.5", "space.tau.value.high was 0.6, is 0.5"),
    ("study.seeds=[1,2]", "seeds was [1, 2, 3], is [1, 2]"),
    ("study.selection=test_oracle", "selection was validation, is test_oracle"),
    ("trainer.epochs=30", "trainer.epochs was 24, is 30"),
    ("study/pruner=median", "report was run, is epoch"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_study_that_changed_is_refused(make_study: MakeStudy, change: str, message: str) -> None:
    optimized(make_study("study=tau", "study.n_trials=1"))
    other = make_study("study=tau", "study.n_trials=1", change)
    with pytest.raises(InputError) as raised:
        create(other, StudyFolder(other.folder))
    assert str(raised.value) == (
        f"study tau was begun otherwise: {message}. Take that back to go on, or give study.name=NEW to begin another"
    )


def test_a_study_belongs_to_one_folder_of_runs(make_study: MakeStudy, tmp_path: Path) -> None:
    storage = f"study.storage=journal:{tmp_path / 'study.log'}"
    optimized(make_study("study=tau", "study.n_trials=1", storage))
    moved = tmp_path / "elsewhere"
    (tmp_path / "runs").rename(moved)
    other = make_study("study=tau", "study.n_trials=1", storage)
    with pytest.raises(InputError, match="was begun with another runs_dir"):
        create(other, StudyFolder(other.folder))
    create(other, StudyFolder(moved / "studies" / "tau"))


def test_a_foreign_study_of_that_name_is_left_alone(make_study: MakeStudy, tmp_path: Path) -> None:
    file = tmp_path / "foreign.db"
    foreign = optuna.create_study(study_name="tau", storage=f"sqlite:///{file}")
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    study = make_study("study=tau", f"study.storage=sqlite:///{file}")
    with pytest.raises(InputError, match="is not one of ours"):
        create(study, StudyFolder(study.folder))
    with pytest.raises(InputError, match="is not in sqlite"):
        find(study)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("study.sampler._target_=optuna.samplers.Nope",), "optuna.samplers.Nope"),
        (("study.sampler.n_startup_trials=many",), "not supported between instances of 'int' and 'str'"),
        (("+study.sampler.speed=2",), "unexpected keyword argument 'speed'"),
        (("study.pruner.p_threshold=2",), "p_threshold must be between 0 and 1"),
    ],
)
def test_a_sampler_or_pruner_that_cannot_work_is_refused_at_once(
    make_study: MakeStudy, words: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(InputError, match=r"study\.sampler or study\.pruner cannot be used") as raised:
        check_search(make_study("study=tau", *words))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    for choice in ("hyperband", "median", "none", "wilcoxon"):
        check_search(make_study("study=tau_aspect", f"study/pruner={choice}"))
    check_search(make_study("study=elr", "study/sampler=random"))


STORAGES = [
    (
        "postgresql+psycopg://me:secret@127.0.0.1:1/studies",
        "postgresql+psycopg://127.0.0.1:1/studies cannot be reached",
    ),
    ("postgresql://me:secret@127.0.0.1:1/studies?application_name=x", "://127.0.0.1:1/studies cannot be reached"),
    ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
    ("nonsense://me:secret@host/x", "study.storage=nonsense://host/x cannot be reached"),
    ("me:secret@host", "give sqlite:///FILE, journal:FILE or postgresql://"),
]


@pytest.mark.parametrize(("storage", "message"), STORAGES, ids=lambda text: text[:20])
def test_a_storage_that_cannot_be_had_is_one_line_without_its_password(
    make_study: MakeStudy, storage: str, message: str
) -> None:
    study = make_study("study=tau", f"study.storage={storage}")
    with pytest.raises(InputError) as raised:
        create(study, StudyFolder(study.folder))
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_half_a_line_in_a_journal_spoils_nothing(make_study: MakeStudy, tmp_path: Path) -> None:
    words = ("study=tau", "study/pruner=none")
    optimized(make_study(*words, "study.n_trials=1"))
    with open(tmp_path / "study.log", "a") as journal:
        journal.write('{"op_code":8,"worker_id":"38af')  # what a kill, or a full disk, leaves
    assert states(optimized(make_study(*words, "study.n_trials=3"))) == ["COMPLETE"] * 3
    assert states(find(make_study(*words))) == ["COMPLETE"] * 3, "whoever reads it from the start"


def test_a_storage_may_come_from_the_environment(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES", "postgresql://me:secret@host/studies")
    study = make_study("study=tau", "study.storage=${oc.env:STUDIES}")
    assert address(study) == "postgresql+psycopg://me:secret@host/studies"
    assert shown(address(study)) == "postgresql+psycopg://host/studies"
    assert "secret" not in str(study.definition) + str(study.overrides)


def test_the_report_of_a_longer_study(make_study: MakeStudy) -> None:
    words = ("study=tau_aspect", "study/pruner=none", "study/sampler=random", "study.n_trials=30", "study.seeds=[1]")
    study = make_study(*words, "+study.space.trainer.lr={low: 0.001, high: 0.1, log: true}",
                       "+study.space.mask_strategy.name={choices: [adaptive, fixed]}")  # fmt: skip
    store = optimized(study)
    study_report.write(store, study.folder)
    importances = pd.read_csv(study.folder / "importances.csv").set_index("parameter")["importance"]
    assert importances.idxmax() == "tau.value", "the formula knows nothing else"
    assert importances.sum() == pytest.approx(1, abs=1e-3)
    table = pd.read_csv(study.folder / "trials.csv")
    for key, parts in pd.read_csv(study.folder / "sensitivity.csv").groupby("parameter"):
        assert parts["trials"].sum() == 30
        for part in parts.to_dict("records"):
            if key == "mask_strategy.name":
                inside = table[table[key] == part["from"]]
            else:
                low, high = float(part["from"]), float(part["to"])
                last = high == study.space[str(key)].high
                inside = table[(table[key] >= low) & ((table[key] <= high) if last else (table[key] < high))]
            assert len(inside) == part["trials"]
            assert inside["mean"].mean() == pytest.approx(part["mean"], rel=1e-4)
    assert study_report.stored(store, study.folder).complete[0].number == table["mean"].idxmax()
    drawn = {chart.about.split(" · ")[1]: chart for chart in build("study", Records(study.folder.parent.parent))}
    assert list(drawn) == ["history", "slices", "contour", "importances"]
    assert drawn["history"].numbers["best_so_far"].max() == pytest.approx(table["mean"].max())
    panels = {axes.get_xlabel(): axes for axes in drawn["slices"].drawing.axes}
    assert set(panels) == set(study.space)
    assert [tick.get_text() for tick in panels["mask_strategy.name"].get_xticklabels()] == ["adaptive", "fixed"]
    assert panels["trainer.lr"].get_xscale() == "log"


def test_the_library_does_not_know_the_sweeps() -> None:
    assert not offenders("sanm/**/*.py", "sweeps")
    assert not offenders("analysis/**/*.py", "sweeps")


@pytest.mark.parametrize("missing", [None, ""])
def test_runs_without_the_accuracy_that_selects_say_what_to_choose(missing: str | None) -> None:
    with pytest.raises(InputError, match=r"no validation_accuracy: choose another study\.selection"):
        study_trials.accuracy({"epoch": 1, "validation_accuracy": missing}, "validation_accuracy")
    assert study_trials.accuracy({"validation_accuracy": "41.5"}, "validation_accuracy") == 41.5
