"""A run from config to record, in this process."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.load import load
from analysis.tables.components import table
from sanm import experiment
from sanm.data import Data, prepare
from sanm.experiment import accuracies, check_enough_images
from sanm.identity import identity, run_name
from sanm.store import RunDirectory
from tests.conftest import SMALL, config_of


def run_in(folder: Path, *overrides: str) -> RunDirectory:
    config = config_of(*SMALL, f"runs_dir={folder}", *overrides)
    record = identity(config)
    directory = RunDirectory(folder, run_name(record))
    with directory.claim():
        experiment.run(config, record, directory, list(overrides))
    return directory


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


def test_a_batch_must_be_filled() -> None:
    config = config_of("data.subset=40")
    data = prepare(config["data"], config["noise"], Path())
    check_enough_images(data, config)
    with pytest.raises(experiment.InputError, match="36 training images, fewer than one batch"):
        check_enough_images(data, config_of("data.subset=40", "trainer.batch_size=37"))
