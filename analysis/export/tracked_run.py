"""What of a run goes into a tracker, read from its directory."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from analysis.figures.files import picture
from analysis.figures.masks import chart_of
from analysis.records.load import RECORD_FIELDS, RESULT_FIELDS, record_row
from analysis.records.samples import FILE as SAMPLES
from sanm.errors import InputError
from sanm.record.claimed import claimed
from sanm.record.identity import digest
from sanm.record.reading import CONFIG, FAILURE, METRICS, RESULT, read_metrics, read_settings

State = Literal["done", "failed", "running", "unfinished"]

RECORD = (CONFIG, METRICS, RESULT, FAILURE)
"""Files whose change means that there may be something new."""
LABELS = "label_quality.csv"
LEAST_TRUSTED = 100
"""Labels that the table of the least trusted ones has."""


@dataclass(frozen=True)
class Epoch:
    """A row of `metrics.csv`: the numbers that are there, and about when it ended (seconds since 1970)."""

    number: int
    values: dict[str, float]
    time: float


@dataclass(frozen=True)
class TrackedRun:
    """A run as its directory says it is now. Its name is what tells it from others in a tracker."""

    path: Path
    identity: str  # ten digits of what it is: another run of the same name has others
    state: State
    reason: str  # why it failed; else empty
    settings: dict[str, object]  # by dotted name
    results: dict[str, object]  # of `result.json`, by dotted name
    epochs: tuple[Epoch, ...]
    row: dict[str, object]  # of `analysis.load`

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def ended(self) -> bool:
        """Whether there will be no more epochs, unless somebody takes it again."""
        return self.state in ("done", "failed")

    @property
    def state_in_words(self) -> str:
        return f"failed: {self.reason}" if self.state == "failed" else self.state

    @property
    def numbers(self) -> dict[str, float]:
        """The results that are numbers."""
        plain = {key: value for key, value in self.results.items() if not isinstance(value, bool)}
        return {key: float(value) for key, value in plain.items() if isinstance(value, int | float)}

    @property
    def began(self) -> float:
        """About when it began, by the file that it wrote first."""
        return _changed(self.path / CONFIG)

    @property
    def time(self) -> float:
        """About when the last of its epochs ended, or it began."""
        return self.epochs[-1].time if self.epochs else self.began

    def tables(self) -> dict[str, pd.DataFrame]:
        """The epochs, the results, and the labels that are trusted least, as far as the record has them."""
        found = {}
        if self.epochs:
            found["epochs"] = pd.DataFrame([{"epoch": epoch.number, **epoch.values} for epoch in self.epochs])
        if self.results:
            rows = [(key, _text(value)) for key, value in self.results.items()]
            found["results"] = pd.DataFrame(rows, columns=["result", "value"])
        if (self.path / LABELS).is_file():
            labels = _labels(self.path / LABELS)
            if labels is not None:
                found["least_trusted_labels"] = labels
        return found

    @cached_property
    def masks(self) -> bytes | None:
        """A PNG of masked views; None where the record has none. Raises InputError where it is damaged."""
        if self.state != "done" or not (self.path / SAMPLES).is_file():
            return None
        chart = chart_of(self.row)
        return None if chart is None else picture(chart.drawing, "png", chart.caption)


def read_run(path: Path) -> TrackedRun:
    """The run of a directory. Raises InputError that names the file which cannot be read."""
    row = record_row(path)
    if row["status"] == "unreadable":
        raise InputError(f"{path}: {row['reason']}: restore it, or move the folder away")
    own = {key: value for key, value in row.items() if key not in RECORD_FIELDS}
    results = {key: value for key, value in own.items() if key in RESULT_FIELDS or key.startswith("result.")}
    state: State = "unfinished"
    if row["status"] in ("done", "failed"):
        state = "done" if row["status"] == "done" else "failed"
    elif claimed(path):
        state = "running"
    return TrackedRun(
        path=path,
        identity=digest(read_settings(path / CONFIG)),
        state=state,
        reason=str(row.get("reason", "")),
        settings={key: value for key, value in own.items() if key not in results},
        results={key.removeprefix("result."): value for key, value in results.items()} if state == "done" else {},
        epochs=tuple(_epochs(path)),
        row=row,
    )


def _epochs(path: Path) -> list[Epoch]:
    header, lines = read_metrics(path / METRICS)
    time = _changed(path / CONFIG)
    epochs = []
    for cells in csv.DictReader(io.StringIO("\n".join([header, *lines]))):
        values = {key: float(cell) for key, cell in cells.items() if cell and key != "epoch"}
        time += values.get("seconds", 0.0)
        epochs.append(Epoch(int(float(cells["epoch"])), values, time))
    return epochs


def _labels(path: Path) -> pd.DataFrame | None:
    try:
        labels = pd.read_csv(path, keep_default_na=False)
        return labels.sort_values("clean_probability", kind="stable").head(LEAST_TRUSTED)
    except (OSError, ValueError, KeyError):  # damaged, or of another time: `analysis.labels` says it in full
        return None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
