"""Finished runs as `analysis.labels` reads them, without running anything."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from sanm.formats.spreadsheet import table_text

NAMES = ("ant", "bee", "cat")
# Given, predicted, clean probability. By the rule 1, 4 and 5 are suspected, 5 the most.
GIVEN = (0, 0, 1, 1, 2, 2)
PREDICTED = (0, 1, 1, 2, 0, 1)
CLEAN = (0.9, 0.2, 0.4, 0.6, 0.3, 0.1)
SUSPECTED = (5, 1, 4)
COLUMNS = ["index", "key", "given_label", "predicted_label", "clean_probability", "confidence"]


def probabilities() -> Any:
    """[6, 3] of which the predicted class has 0.6, but sample 4's 0.4."""
    found = np.full((6, 3), 0.2, dtype=np.float16)
    found[np.arange(6), PREDICTED] = 0.6
    found[4] = (0.4, 0.3, 0.3)
    return found


SCORE = (
    0.9,
    0.8,
    0.1,
    0.7,
    0.6,
    0.3,
)  # by the evidence of features, which predicts the class after the given one of 2, 5


def write_evidence(folder: Path, **instead: Any) -> None:
    """What features say of the six samples: 2 is rather a cat, 5 an ant, and 3 nearly the image of 5."""
    looks = np.full((6, 3), 0.1, dtype=np.float32)
    looks[np.arange(6), [(given + (number in (2, 5))) % 3 for number, given in enumerate(GIVEN)]] = 0.8
    nearest = np.array([[1, 2], [0, 2], [1, 0], [5, 2], [5, 3], [4, 3]], dtype=np.int32)
    similarity = np.array(
        [[0.99, 0.5], [0.99, 0.5], [0.5, 0.4], [0.95, 0.2], [0.9, 0.2], [0.9, 0.89]], dtype=np.float32
    )
    arrays = {"label_score": np.array(SCORE), "linear": looks, "votes": looks, "probabilities": looks}
    np.savez(
        folder / "label_evidence.npz",
        **{"class_names": np.array(NAMES), "nearest": nearest, "similarity": similarity, **arrays, **instead},
    )


def write_labelled_run(
    folder: Path,
    keys: tuple[str, ...] = tuple("012345"),
    names: tuple[str, ...] = NAMES,
    older: bool = False,
    wrong: tuple[bool, ...] | None = None,
    **config: Any,
) -> Path:
    """A run of six samples. `older`: of before confidence, probabilities and samples.npz were recorded."""
    folder.mkdir(parents=True)
    config = {"data": {"name": "digits", "validation": 0}, "noise": {"name": "none"}, **config}
    overrides = config.pop("overrides", [])
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "result.json").write_text(json.dumps({"status": "done", "overrides": overrides}))
    confidence = probabilities().max(1)
    with open(folder / "label_quality.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS[:5] if older else COLUMNS)
        for number, (key, given, predicted, clean) in enumerate(zip(keys, GIVEN, PREDICTED, CLEAN, strict=True)):
            row = (10 * number, key, names[given], names[predicted], clean, confidence[number])
            writer.writerow(row[:5] if older else row)
    if not older:
        np.savez(folder / "probabilities.npz", class_names=np.array(names), probabilities=probabilities())
        if wrong is not None:
            np.savez(folder / "samples.npz", class_names=np.array(names), is_wrong=np.array(wrong))
    return folder


def write_long_run(folder: Path, keys: list[str], names: tuple[str, ...], **config: Any) -> Path:
    """A run that suspects every sample, the first the most, and says of each that it is of the class after its own."""
    folder.mkdir(parents=True)
    overrides = config.pop("overrides", [])
    (folder / "config.yaml").write_text(yaml.safe_dump({"noise": {"name": "none"}, **config}))
    (folder / "result.json").write_text(json.dumps({"status": "done", "overrides": overrides}))
    rows: list[tuple[Any, ...]] = [tuple(COLUMNS)]
    for number, key in enumerate(keys):
        given, suggested = (names[(number + more) % len(names)] for more in (0, 1))
        rows.append((number, key, given, suggested, 0.4 * number / len(keys), 0.6))
    (folder / "label_quality.csv").write_text(table_text(rows), encoding="utf-8")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
