"""Which trial is next, how it ends, what is taken up again: with runs that are a formula."""

from __future__ import annotations

import os
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from analysis.figures import build
from analysis.records import Records
from sanm.errors import InputError, Interrupted
from sweeps.studies import study_report, study_trials
from sweeps.studies.study import Study
from sweeps.studies.study_folder import StudyFolder
from sweeps.studies.study_storage import OutOfReachError, address, create, find, shown
from sweeps.studies.study_trials import (
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
from sweeps.tune import main
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


class WorkerDied(BaseException):
    """What ends a process without a word: no stop that was asked for, which counts as no attempt."""


def interrupting(after: int) -> Callable[..., Score]:
    """Runs that are cut off when so many are done."""
    done: list[str] = []

    def run(study: Study, overrides: list[str], watch: Watch) -> Score:
        if len(done) == after:
            raise WorkerDied
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
    with pytest.raises(WorkerDied):
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
        with pytest.raises(WorkerDied):
            optimized(study, interrupting(after=0))
    store = optimized(study)
    assert states(store) == ["FAIL"]
    assert store.trials[0].user_attrs[REASON] == f"its worker died {MOST_ATTEMPTS} times"


def test_a_trial_that_gets_on_is_not_given_up_however_often_its_worker_dies(make_study: MakeStudy) -> None:
    def killed_after_an_epoch(study: Study, overrides: list[str], watch: Watch) -> Score:
        watch([{"epoch": 1, "validation_accuracy": 10.0}], 10)
        raise WorkerDied

    study = make_study("study=tau", "study.n_trials=1")
    for _ in range(MOST_ATTEMPTS + 2):
        with pytest.raises(WorkerDied):
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
    with pytest.raises(InputError, match="runs_dir"):
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
    with pytest.raises(InputError, match=r"study\.sampler or study\.pruner") as raised:
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
    ("nonsense://me:secret@host/x", "study.storage=nonsense://host/x cannot be used"),
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


def garbled(journal: Path, old: str, new: str) -> None:
    journal.write_text(journal.read_text().replace(old, new))


def executed(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as open_one:
        open_one.execute(statement)
        open_one.commit()


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("journal:{}", lambda file: garbled(file, "study_name", "name")),
        ("journal:{}", lambda file: garbled(file, '"op_code":0', '"op_code":99')),
        ("journal:{}", lambda file: garbled(file, "study_id", "study\x00id")),
        ("journal:{}", lambda file: file.write_text("[1]\n" * 3)),
        ("journal:{}", lambda file: file.unlink() or file.mkdir()),
        ("sqlite:///{}", lambda file: file.write_bytes(b"garbage" * 1000)),
        ("sqlite:///{}", lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])),
        ("sqlite:///{}", lambda file: executed(file, "DROP TABLE studies")),
        ("sqlite:///{}", lambda file: executed(file, "UPDATE study_user_attributes SET value_json = '{'")),
        ("sqlite:///{}", lambda file: file.unlink() or file.mkdir()),
    ],
)
def test_a_storage_that_is_none_is_one_line_that_promises_nothing(
    make_study: MakeStudy, tmp_path: Path, kind: str, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / "a storage"
    study = make_study("study=tau", f"study.storage='{kind.format(file)}'")
    create(study, StudyFolder(study.folder))
    damage(file)
    with pytest.raises(InputError) as refused:
        create(study, StudyFolder(study.folder))
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "later" not in str(refused.value), "it will be no other then"
    assert not isinstance(refused.value, OutOfReachError)


def test_a_study_killed_while_it_was_made_is_made_again(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study, set_attribute = make_study("study=tau"), optuna.Study.set_user_attr
    for last in ("overrides", "folder", "definition"):

        def killed(self: optuna.Study, key: str, value: object, last: str = last) -> None:
            if key == last:
                raise KeyboardInterrupt
            set_attribute(self, key, value)

        with monkeypatch.context() as patched:
            patched.setattr(optuna.Study, "set_user_attr", killed)
            with pytest.raises(KeyboardInterrupt):
                create(study, StudyFolder(study.folder))
    create(study, StudyFolder(study.folder))
    assert find(study).user_attrs.keys() == {"definition", "folder", "overrides"}


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
    with pytest.raises(InputError, match=r"validation_accuracy: .*study\.selection"):
        study_trials.accuracy({"epoch": 1, "validation_accuracy": missing}, "validation_accuracy")
    assert study_trials.accuracy({"validation_accuracy": "41.5"}, "validation_accuracy") == 41.5


MINE = {
    "labels.json": b"[0, 1, 2]",
    "lines.json": b'{"a": 1}\n{"b": 2}\n',
    "brace": b"{",
    "photo.png": b"\x89PNG\r\n\x1a\n\x00\x00" * 100,
    "cut.log": b'{"op_code":0,"worker_id":"x"}\nmine\n{"op_code":0,"worker_id":"x"}\n',
    "list.log": b'{"op_code":0,"worker_id":"x"}\n[]\n',
    "half.db": b"SQLite format 3\0" + b"mine" * 200,
}


@pytest.mark.parametrize("role", [[], ["report"]])
@pytest.mark.parametrize("scheme", ["journal:", "sqlite:///", "sqlite+pysqlite:///"])
@pytest.mark.parametrize("name", MINE)
def test_a_file_of_the_user_is_no_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], role: list[str], scheme: str, name: str
) -> None:
    (tmp_path / name).write_bytes(MINE[name])
    (tmp_path / "link").symlink_to(name)
    for place in (tmp_path / name, tmp_path / "link"):
        line = refused(capsys, *role, f"study.storage={scheme}{place}", f"runs_dir={tmp_path / 'runs'}")
        assert f"{scheme}{place} is " in line
        assert (tmp_path / name).read_bytes() == MINE[name]
    assert {path.name for path in tmp_path.iterdir()} == {name, "link"}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    role = [word for word in words if word == "report"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["tune", *role, "study=tau", *(word for word in words if word not in role)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("scheme", ["journal:", "sqlite:///"])
def test_a_storage_is_a_regular_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        line = refused(capsys, f"study.storage={scheme}{place}", f"runs_dir={tmp_path / 'runs'}")
        assert f"{scheme}{place} is no regular file" in line


def test_a_database_of_another_program_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "places.db")) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
        database.commit()
    before = (tmp_path / "places.db").read_bytes()
    line = refused(capsys, f"study.storage=sqlite:///{tmp_path / 'places.db'}", f"runs_dir={tmp_path / 'runs'}")
    assert "bookmarks" in line
    assert (tmp_path / "places.db").read_bytes() == before


@pytest.mark.parametrize("scheme", ["journal:", "sqlite:///"])
def test_an_empty_file_becomes_a_storage(make_study: MakeStudy, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "new").touch()
    storage = f"study.storage={scheme}{tmp_path / 'new'}"
    with pytest.raises(InputError, match="is not in"):  # whoever only reads makes nothing of it
        find(make_study("study=tau", storage))
    assert (tmp_path / "new").read_bytes() == b""
    assert states(optimized(make_study("study=tau", storage, "study.n_trials=1"))) == ["COMPLETE"]
    assert states(find(make_study("study=tau", storage))) == ["COMPLETE"]


@pytest.mark.parametrize("name", ["report.md", "trials.csv", "sensitivity.png", "study.yaml"])
def test_a_report_of_the_user_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    mine = tmp_path / "runs/studies/tau" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert f"{mine} is there already" in refused(capsys, f"runs_dir={tmp_path / 'runs'}")
    assert mine.read_text() == "mine"
    assert [path.name for path in mine.parent.iterdir()] == [name]
