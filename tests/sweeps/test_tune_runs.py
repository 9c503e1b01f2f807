"""Trials of real runs: what they share with grids, what they score, what pruning and divergence leave."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]

from sanm.errors import InputError, StoppedError
from sanm.machine import gpu
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.run import train_or_skip
from sweeps.studies import study_report
from sweeps.studies.study import Study, run_config
from sweeps.studies.study_folder import StudyFolder
from sweeps.studies.study_runs import run_cell
from sweeps.studies.study_storage import OutOfReachError, address, create, reachable
from sweeps.studies.study_trials import CELLS, REASON, RUNS, Row, RunCell, Score, Watch, work
from tests.conftest import SMALL
from tests.sweeps.conftest import MakeStudy

QUICK = (*SMALL, "base_method=ce", "study.noise_rates=[0.5]", "study.seeds=[1,2]", "study/pruner=none")
ONE_POINT = ("study=tau", "study.space.tau.value.low=0.2", "study.space.tau.value.high=0.21")


def column(directory: Path, name: str) -> list[float]:
    with open(directory / "metrics.csv", newline="") as handle:
        return [float(row[name]) for row in csv.DictReader(handle)]


def optimized(study: Study, run: RunCell = run_cell) -> study_report.Stored:
    folder = StudyFolder(study.folder)
    store = create(study, folder)
    with reachable(address(study)):
        work(study, store, folder, run)
    study_report.write(store, study.folder)
    return study_report.stored(store, study.folder)


def test_a_point_of_a_grid_costs_nothing(make_study: MakeStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(*ONE_POINT, *QUICK, "study.n_trials=2", "study/pruner=median")
    for value in (0.2, 0.21):
        for cell in study.cells:  # in another order, as a grid may have it
            overrides = [f"tau.value={value}", *cell.overrides(), *study.overrides]
            assert train_or_skip(run_config(overrides), overrides) == 0
    capsys.readouterr()
    (trial, *_) = optimized(study).trials
    out = capsys.readouterr().out
    assert "epoch" not in out
    assert out.count("skip ") == 4
    assert len(trial.user_attrs[RUNS]) == 2
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4, 5, 6], "other trials are compared with it"


@pytest.mark.parametrize("selection", ["validation", "test_oracle"])
def test_both_selection_rules(make_study: MakeStudy, tmp_path: Path, selection: str) -> None:
    study = make_study(*ONE_POINT, *QUICK, "study.n_trials=2", f"study.selection={selection}")
    stored = optimized(study)
    name = "validation_accuracy" if selection == "validation" else "test_accuracy"
    for trial in stored.trials:
        for cell, run in trial.user_attrs[RUNS].items():
            assert trial.user_attrs[CELLS][cell] == max(column(tmp_path / "runs" / run, name))
        assert trial.value == pytest.approx(statistics.fmean(trial.user_attrs[CELLS].values()))
    says = "TEST ORACLE" if selection == "test_oracle" else "held-out noisy labels"
    assert says in (study.folder / "report.md").read_text()
    assert any(says in line for line in study_report.summary(stored))
    for file in ("trials.csv", "sensitivity.csv"):
        assert set(pd.read_csv(study.folder / file)["selection"]) == {selection}
    tested = "Test accuracy of trial" in (study.folder / "report.md").read_text()
    assert tested == (selection == "validation"), "a test figure that the test set has not chosen"


def test_a_stopped_run_keeps_its_checkpoint_and_ends_as_if_it_had_not_been(make_study: MakeStudy) -> None:
    overrides = ["tau.value=0.2", "noise.rate=0.5", "seed=1", *make_study(*ONE_POINT, *QUICK).overrides]
    whole = [*overrides[:-1], overrides[-1] + "/whole"]
    config = run_config(overrides)
    directory = RunDirectory(Path(config["runs_dir"]), run_name(identity(config)))

    def stop(rows: list[dict[str, object]]) -> None:
        if len(rows) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_or_skip(config, overrides, watch=stop)
    assert directory.status() == "interrupted"
    assert directory.checkpoint.exists()
    seen: list[int] = []
    assert train_or_skip(config, overrides, watch=lambda rows: seen.append(len(rows))) == 0
    assert seen == [3], "two epochs were there"
    assert train_or_skip(run_config(whole), whole) == 0
    same = RunDirectory(Path(config["runs_dir"]) / "whole", directory.name)
    for name in ("best_accuracy", "last_accuracy", "selected_accuracy", "clean_auroc"):
        assert directory.result()[name] == same.result()[name]
    assert column(directory.path, "loss") == column(same.path, "loss")


def test_a_run_that_diverges_fails_its_trial_with_the_reason(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(*ONE_POINT, *QUICK, "study.n_trials=1", "trainer.lr=1e30")
    (trial,) = optimized(study).trials
    assert trial.state.name == "FAIL"
    assert "the loss is not finite at epoch 1" in trial.user_attrs[REASON]
    assert trial.user_attrs[REASON].startswith("ce-full-symmetric0.5-digits-seed")
    assert "No trial is complete yet" in (study.folder / "report.md").read_text()
    table = pd.read_csv(study.folder / "trials.csv")
    assert "not finite" in table["reason"][0]
    assert not list((tmp_path / "runs").glob("*/result.json"))


def test_a_run_that_takes_the_gpu_from_its_process_fails_its_own_trial_alone(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(*ONE_POINT, *QUICK, "study.n_trials=1", "trainer.lr=1e30")
    with monkeypatch.context() as patched:
        patched.setattr(gpu, "lost", lambda: True)
        with pytest.raises(InputError, match=r"took the GPU"):
            optimized(study)
    (trial,) = optimized(study).trials
    assert trial.state.name == "FAIL"
    assert "the loss is not finite at epoch 1" in trial.user_attrs[REASON]


def test_the_report_has_the_numbers_of_the_records(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study("study=tau_aspect", *QUICK, "study.noise_rates=[0.2,0.5]", "study.n_trials=3")
    stored = optimized(study)
    table = pd.read_csv(study.folder / "trials.csv")
    assert list(table["trial"]) == [0, 1, 2]
    assert set(table["state"]) == {"complete"}
    results = {file.parent.name: json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/result.json")}
    assert len(results) == 12
    for row, trial in zip(table.to_dict("records"), stored.trials, strict=True):
        found = [max(column(tmp_path / "runs" / run, "validation_accuracy")) for run in trial.user_attrs[RUNS].values()]
        assert row["mean"] == pytest.approx(statistics.fmean(found), rel=1e-5)
        by_seed = [(row[f"noise0.2/seed{seed}"] + row[f"noise0.5/seed{seed}"]) / 2 for seed in (1, 2)]
        assert row["sd_over_seeds"] == pytest.approx(statistics.stdev(by_seed), abs=1e-3)
    best = max(table.to_dict("records"), key=lambda row: row["mean"])
    report = (study.folder / "report.md").read_text()
    line = f"tau.value={best['tau.value']} mask_strategy.aspect={best['mask_strategy.aspect']}"
    assert f"    {line}\n" in report
    assert f"{line} noise.rate=0.2,0.5 seed=1,2\n" in report
    parts = pd.read_csv(study.folder / "sensitivity.csv")
    for _, part in parts.groupby("parameter"):
        assert part["trials"].sum() == 3
        assert (part["mean"] * part["trials"]).sum() / 3 == pytest.approx(table["mean"].mean(), rel=1e-4)
        assert part["best"].max() == pytest.approx(best["mean"], rel=1e-5)
    assert (study.folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    described = yaml.safe_load((study.folder / "study.yaml").read_text())
    assert described["space"]["tau.value"] == {"low": 0.05, "high": 0.6, "log": False, "step": 0.01}
    assert described["noise_rates"] == [0.2, 0.5]
    assert described["rule"] in report


def test_a_pruned_trial_leaves_a_run_to_be_gone_on_with(make_study: MakeStudy, tmp_path: Path) -> None:
    threshold = ("study.pruner._target_=optuna.pruners.ThresholdPruner", "study.pruner.report=epoch",
                 "+study.pruner.lower=101", "+study.pruner.n_warmup_steps=2")  # fmt: skip
    study = make_study(*ONE_POINT, *QUICK, *threshold, "study.n_trials=1")
    (trial,) = optimized(study).trials
    assert trial.state.name == "PRUNED"
    assert sorted(trial.intermediate_values) == [1, 2], "no accuracy is 101 %, but the first epoch is not judged"
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    directory = RunDirectory(tmp_path / "runs", checkpoint.parent.name)
    assert directory.status() == "interrupted"
    assert column(directory.path, "epoch") == [1, 2]
    overrides = study.run_overrides({"tau.value": trial.params["tau.value"]}, study.cells[0])
    assert train_or_skip(run_config(overrides), overrides) == 0
    assert directory.status() == "done"


def test_a_storage_that_goes_away_in_the_middle_of_a_run_is_no_failure_of_the_run(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(*ONE_POINT, *QUICK, "study/pruner=median", "study.n_trials=1", "study.storage=null")
    store, hidden = study.folder / "study.db", tmp_path / "hidden.db"

    def hiding(study: Study, overrides: list[str], watch: Watch) -> Score:
        def hide_then_watch(rows: Sequence[Row], epochs: int) -> None:
            if len(rows) == 2:
                store.rename(hidden)
            watch(rows, epochs)

        return run_cell(study, overrides, hide_then_watch)

    with pytest.raises(OutOfReachError, match=r"study\.storage=sqlite:"):
        optimized(study, hiding)
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    directory = RunDirectory(tmp_path / "runs", checkpoint.parent.name)
    assert directory.status() == "interrupted"
    hidden.rename(store)
    (trial,) = optimized(study).trials
    assert trial.state.name == "COMPLETE"
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4, 5, 6], "the epoch that nobody was told of as well"
    assert directory.status() == "done"
