"""A run from config to record, in this process."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from analysis.records.load import load
from analysis.tables.components import table
from sanm.data import UNKNOWN, Data, check_enough_images, prepare
from sanm.machine.device import choose_device
from sanm.methods import method_class
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity
from sanm.step import Predictions
from sanm.training import experiment
from sanm.training.experiment import accuracies, warn_of_warm_up
from sanm.training.scoring import Scorer
from sanm.training.trainer import Trainer
from tests.conftest import SMALL, config_of
from tests.data.pictures import paint
from tests.methods.conftest import a_task
from tests.trained import run_in


def column(directory: RunDirectory, name: str) -> list[str]:
    with open(directory.path / "metrics.csv", newline="") as handle:
        return [row[name] for row in csv.DictReader(handle)]


def test_true_labels_change_scores_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other true labels, and other test labels, the same network comes out."""
    honest = run_in(tmp_path / "honest", "components=full", "keep_checkpoint=true")

    def lying(*arguments: Any) -> Data:
        data = prepare(*arguments)
        assert data.true_labels is not None
        test = dataclasses.replace(data.test, labels=data.test.labels.flip(0))
        return dataclasses.replace(data, true_labels=(data.true_labels + 3) % 10, test=test)

    monkeypatch.setattr(experiment, "prepare", lying)
    lied = run_in(tmp_path / "lied", "components=full", "keep_checkpoint=true")
    assert column(honest, "test_accuracy") != column(lied, "test_accuracy")
    assert column(honest, "clean_auroc") != column(lied, "clean_auroc")
    for name in ("loss", "labeled_fraction", "validation_accuracy"):
        assert column(honest, name) == column(lied, name)
    assert (honest.path / "label_quality.csv").read_text() == (lied.path / "label_quality.csv").read_text()
    assert honest.result()["label_errors"] != lied.result()["label_errors"]
    samples = [dict(np.load(directory.path / "samples.npz")) for directory in (honest, lied)]
    differing = {name for name, array in samples[0].items() if not np.array_equal(array, samples[1][name])}
    assert differing == {"true", "is_wrong"}
    weights = [torch.load(d.checkpoint, weights_only=True)["trainer"]["modules"] for d in (honest, lied)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_the_record_tells_every_two_clean_probabilities_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = experiment.Trainer.measure_and_predict

    def doubtful(trainer: Trainer) -> Predictions:
        predicted = measured(trainer)
        trainer.quality.probability.copy_(torch.logspace(-30, -1, trainer.quality.probability.shape[1]))
        return predicted

    monkeypatch.setattr(experiment.Trainer, "measure_and_predict", doubtful)
    directory = run_in(tmp_path, "base_method=ce", "components=none")
    with open(directory.path / "label_quality.csv", newline="") as handle:
        recorded = torch.tensor([float(row["clean_probability"]) for row in csv.DictReader(handle)])
    assert torch.equal(recorded, torch.logspace(-30, -1, len(recorded)))


def test_instance_noise_from_config_to_record(tmp_path: Path) -> None:
    overrides = ("noise=instance", "noise.scale=normalised", "noise.rate=0.3", "base_method=ce", "components=none")
    directory = run_in(tmp_path, *overrides)
    config = config_of(*SMALL, *overrides)
    data = prepare(config["data"], config["noise"], tmp_path)
    result = json.loads((directory.path / "result.json").read_text())
    assert (result["nominal_noise_rate"], result["realised_noise_rate"]) == (0.3, data.realised_noise_rate)
    assert result["per_class_noise"] == data.per_class_noise
    assert len(result["per_class_noise"]) == 10
    assert 0.1 < result["realised_noise_rate"] < 0.5
    assert identity(config)["noise"] == {"name": "instance", "rate": 0.3, "seed": 1, "scale": "normalised"}
    runs = load(tmp_path)
    assert runs.iloc[0]["noise.scale"] == "normalised"
    assert runs.iloc[0]["result.per_class_noise"] == tuple(result["per_class_noise"])
    (block, *_) = table(runs).blocks
    assert "noise.scale normalised" in block.notes[0]


def test_the_three_figures_and_their_rules() -> None:
    rows = [
        {"epoch": epoch + 1, "test_accuracy": test, "validation_accuracy": noisy}
        for epoch, (test, noisy) in enumerate([(10.0, 5.0), (50.0, 20.0), (40.0, 30.0), (44.0, 30.0)])
    ]
    found = accuracies(rows, last_window=2)
    assert (found["best_accuracy"], found["best_epoch"]) == (50.0, 2)
    assert found["last_accuracy"] == 42.0
    assert (found["selected_accuracy"], found["selected_epoch"]) == (40.0, 3), "the first of equals"
    without = [{**row, "validation_accuracy": None} for row in rows]
    assert accuracies(without, 1)["selected_accuracy"] is None


def test_without_a_test_set_the_figures_of_one_are_null() -> None:
    rows = [{"epoch": e + 1, "test_accuracy": None, "validation_accuracy": v} for e, v in enumerate((5.0, 30.0, 20.0))]
    assert accuracies(rows, 2) == {
        "best_accuracy": None,
        "best_epoch": None,
        "last_accuracy": None,
        "last_window": 2,
        "selected_accuracy": None,
        "selected_epoch": 2,
        "validation_accuracy": 30.0,
    }
    nothing = accuracies([{**row, "validation_accuracy": None} for row in rows], 1)
    assert {value for key, value in nothing.items() if key != "last_window"} == {None}


def table_of(folder: Path, test_rows: int = 0) -> Path:
    """A table of 60 small images in three colors, a sixth of the labels wrong, half of the truth known."""
    lines = ["file,label,true_label,split"]
    for position in range(60 + test_rows):
        true = position % 3
        given = (true + 1) % 3 if position % 6 == 0 else true
        paint(folder / f"{position}.png", tuple(150 * (channel == true) + position for channel in range(3)), (8, 8))
        known, split = true if position % 2 == 0 else "", "train" if position < 60 else "test"
        lines.append(f"{position}.png,{given},{known},{split}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


REAL = ("data=csv", "data.image_size=8", "base_method=ce", "trainer.batch_size=16", "trainer.epochs=2",
        "trainer.milestones=[]", "data.subset=null", "data.test_subset=null", "base_method.warm_up=1")  # fmt: skip


def test_a_run_without_a_test_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    with pytest.warns(UserWarning, match=r"data=csv .*\b6\b"):
        directory = run_in(runs, *REAL, f"data.path={table_of(tmp_path / 'photos')}", "components=amg")
    result = directory.result()
    assert (result["best_accuracy"], result["last_accuracy"], result["selected_accuracy"]) == (None, None, None)
    assert result["validation_labels"] == "noisy"
    validation = [float(value) for value in column(directory, "validation_accuracy")]
    assert result["validation_accuracy"] == max(validation)
    assert column(directory, "test_accuracy") == ["", ""]
    assert 20 <= result["true_labels_known"] <= 30
    assert 0.2 < result["realised_noise_rate"] < 0.5, "a third of the even positions, whose truth is known"
    assert result["clean_auroc"] is not None
    shown = f"validation (noisy labels) {validation[0]:.1f} %"
    assert shown in capsys.readouterr().out
    expected = f"no test set; validation (noisy labels) {max(validation):.2f} % at epoch {result['selected_epoch']}"
    assert directory.accuracies() == expected
    found = load(runs).iloc[0]
    assert (found["status"], found["validation_accuracy"]) == ("done", max(validation))
    assert found[["best_accuracy", "last_accuracy", "selected_accuracy"]].isna().all()


def test_a_table_shows_the_gap_and_the_figure_that_there_is(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    noise = ("noise=symmetric", "noise.rate=0.2", f"data.path={table_of(tmp_path / 'photos')}", "components=none")
    with pytest.warns(UserWarning, match="no test part"):
        directory = run_in(runs, *REAL, *noise)
    found = table(load(runs), ("best", "validation"))
    block, *_ = found.blocks
    cell = block.cells[block.cells["components.name"] == "none"].set_index("statistic")
    assert cell.loc["best", "n"] == 0
    assert cell.loc["validation", "mean"] == directory.result()["validation_accuracy"]
    assert "No test set: 1 finished run; see --statistic validation." in block.notes
    assert "highest accuracy of any epoch on noisy validation labels, NO TEST" in found.notes[0]


def test_what_is_left_out_is_recorded(tmp_path: Path) -> None:
    path = table_of(tmp_path / "photos", test_rows=6)
    (tmp_path / "photos" / "4.png").write_bytes(b"no image")
    (tmp_path / "photos" / "63.png").unlink()
    command = (*REAL, f"data.path={path}", "components=none")
    with pytest.raises(experiment.InputError, match=r"4\.png .*data\.skip_bad=true"):
        run_in(tmp_path / "runs", *command)
    with pytest.warns(UserWarning, match=r"data\.skip_bad: 2 .*4\.png"):
        directory = run_in(tmp_path / "runs", *command, "data.skip_bad=true")
    assert directory.result()["left_out"] == 2
    with open(directory.path / "left_out.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["key"] for row in rows] == ["4.png", "63.png"]
    with open(directory.path / "label_quality.csv", newline="") as handle:
        assert "4.png" not in {row["key"] for row in csv.DictReader(handle)}
    assert directory.result()["best_accuracy"] is not None
    assert "left_out.csv" not in {path.name for path in run_in(tmp_path / "runs", "components=none").path.iterdir()}


def test_unknown_true_labels_do_not_count(tmp_path: Path) -> None:
    """What nobody knows changes no score, and a label that is known to be wrong counts without the right one."""
    config = config_of(*SMALL)
    data = prepare(config["data"], config["noise"], tmp_path)
    assert data.true_labels is not None
    probability = torch.rand(1, len(data.true_labels), generator=torch.Generator().manual_seed(0))
    known = torch.arange(len(data.true_labels)) % 3 > 0
    right = data.true_labels == data.train.given_labels
    partly = torch.where(known, torch.where(right, data.true_labels, 10), UNKNOWN)
    found = Scorer(dataclasses.replace(data, true_labels=partly)).clean_auroc(probability)
    assert found == pytest.approx(roc_auc_score(right[known], probability[0, known]))
    among = torch.arange(0, len(known), 2)
    counted = known & (torch.arange(len(known)) % 2 == 0)
    found = Scorer(dataclasses.replace(data, true_labels=partly)).clean_auroc(probability, among)
    assert found == pytest.approx(roc_auc_score(right[counted], probability[0, counted]))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("base_method=dividemix", "components=full"), "dividemix divides .* and SANM sets in"),
        (("base_method=dividemix", "components=none"), r"dividemix divides samples \(base_method.warm_up=3\): train"),
        (("base_method=ce", "components=amg"), r"is over before SANM sets in \(components.start=3\): train longer"),
        (("base_method=ce", "components=none"), None),
        (("base_method=elr_plus", "components=none"), None),
        (("base_method=dividemix", "components=full", "base_method.warm_up=2"), None),
        (("base_method=ce", "components=full", "components.start=9"), "lower components.start$"),
        (("base_method=c2d", "components=none", "pretrain=none"), r"c2d divides samples .* lower base_method.warm_up$"),
        (("base_method=coteaching", "components=none", "base_method.forget_rate=estimated"), None),
    ],
)
def test_a_run_that_ends_in_its_warm_up_says_so(
    overrides: tuple[str, ...], told: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    config = config_of(*SMALL, "base_method.warm_up=3", *overrides)
    settings = config["base_method"]
    warn_of_warm_up(config, method_class(settings["name"])(settings, a_task(192, 32)))
    said = [str(warning.message) for warning in recwarn]
    assert len(said) == (told is not None)
    assert told is None or re.search(told, said[0])


def test_a_batch_must_be_filled() -> None:
    config = config_of("data.subset=40")
    data = prepare(config["data"], config["noise"], Path())
    check_enough_images(data, config, "trainer")
    with pytest.raises(experiment.InputError, match=r"36 .*batch"):
        check_enough_images(data, config_of("data.subset=40", "trainer.batch_size=37"), "trainer")


def test_the_probabilities_of_all_training_samples_are_recorded(tmp_path: Path) -> None:
    directory = run_in(tmp_path, "base_method=dividemix", "components=none")
    with np.load(directory.path / "probabilities.npz") as file:
        names, found = file["class_names"], file["probabilities"]
    with open(directory.path / "label_quality.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert found.shape == (len(rows), 10)
    assert found.dtype == np.float16
    assert found.astype(float).sum(1) == pytest.approx(1, abs=5e-3)
    assert found.max(1).astype(float) == pytest.approx([float(row["confidence"]) for row in rows], abs=1e-3)
    chosen = [int(np.flatnonzero(names == row["predicted_label"])[0]) for row in rows]
    assert (found[np.arange(len(rows)), chosen] == found.max(1)).all()


def test_too_many_probabilities_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "MOST_PROBABILITIES", 100)
    directory = run_in(tmp_path, "base_method=ce", "components=none")
    assert not (directory.path / "probabilities.npz").exists()
    assert "confidence" in (directory.path / "label_quality.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(("wanted", "current"), [("cuda:1", [torch.device("cuda:1")]), ("cuda", []), ("cpu", [])])
def test_the_gpu_that_is_named_is_the_current_one_of_all_threads(
    wanted: str, current: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[torch.device] = []
    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty", lambda *_, **__: None)  # as if the device were there
        patched.setattr(torch.cuda, "set_device", chosen.append)
        assert choose_device(wanted) == torch.device(wanted)
    assert chosen == current
