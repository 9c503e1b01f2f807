"""The runs themselves: a row each for everybody, and compact data from which the page draws what is opened."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.compare.blocks import shown
from analysis.compare.summary import STATISTICS
from analysis.records.load import STATUSES, setting_columns
from analysis.report.overview import NOISE, duration, minute, noise_names

COLUMNS = {
    "status": "Status",
    "method": "Method",
    "components": "Components",
    "data": "Data",
    "noise": "Noise",
    "seed": "Seed",
    "best": "Best",
    "last": "Last",
    "selected": "Selected",
    "validation": "Validation",
    "differs": "Differs from its like in",
    "epochs": "Epochs",
    "time": "Time",
    "finished": "Finished",
}
# The numbers behind the columns that hold numbers.
NUMBERS = {
    "seed": "seed",
    "best": "best_accuracy",
    "last": "last_accuracy",
    "selected": "selected_accuracy",
    "validation": "validation_accuracy",
    "epochs": "epochs",
    "time": "seconds",
}
FACETS = ("status", "method", "components", "data", "noise")
# Where the cell of a column is found among the columns of `analysis.load`.
FOUND_IN = {"method": "base_method.name", "components": "components.name", "data": "data.name"}
# Runs that are equal in these are like each other.
LIKE = ("method", "components", "data", "noise")
POINTS = 60
RUN_ID = re.compile(r"-([0-9a-f]{10})$")


@dataclass(frozen=True)
class Row:
    """A run as the page lists it: `cells` are its texts by column, `sort` the numbers behind those that are numbers."""

    number: int
    name: str
    short_name: str
    status: str
    reason: str
    cells: dict[str, str]
    sort: dict[str, float]


@dataclass(frozen=True)
class RunList:
    """The listed runs and their columns by name, the choices of each filter with their counts, data for the script."""

    columns: dict[str, str]
    rows: list[Row]
    left_out: int
    facets: dict[str, dict[str, int]]
    data: dict[str, Any]

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each listed run by its name."""
        return {row.name: row.number for row in self.rows}


def run_list(runs: pd.DataFrame, epochs: pd.DataFrame, most: int) -> RunList:
    """At most that many runs: those that did not end well first, then the newest."""
    newest = runs.sort_values(["finished", "run"], ascending=[False, True])
    listed = newest.sort_values("status", key=lambda status: status == "done", kind="stable").head(most)
    listed = listed.reset_index(drop=True)
    listed = listed.assign(epochs=listed["epochs"].fillna(listed["run"].map(_epochs_done(epochs))))
    cells = _cells(listed)
    rows = [_row(run, texts) for run, texts in zip(listed.to_dict("records"), cells.to_dict("records"), strict=True)]
    told = [name for name in COLUMNS if (cells[name] != "").any() or (name == "differs" and runs["reason"].any())]
    return RunList(
        columns={name: COLUMNS[name] for name in told},
        rows=[Row(number, **row) for number, row in enumerate(rows)],
        left_out=len(runs) - len(listed),
        facets={name: _choices(name, cells[name]) for name in FACETS},
        data={
            "runs": [
                {"path": str(run["path"]), "command": command(run["overrides"]), "curve": curve}
                for run, curve in zip(listed.to_dict("records"), _curves(listed["run"], epochs), strict=True)
            ],
            "settings": _settings(listed),
        },
    )


def command(overrides: object) -> str:
    """The command line that made a run; empty where its record does not say."""
    words = list(overrides) if isinstance(overrides, tuple) else None
    return "" if words is None else shlex.join(["python", "-m", "sanm.run", *map(str, words)])


def _cells(runs: pd.DataFrame) -> pd.DataFrame:
    columns = {name: runs[key].map(shown, "ignore") for name, key in FOUND_IN.items() if key in runs}
    cells = pd.DataFrame(
        {
            "status": runs["status"],
            **columns,
            "noise": noise_names(runs),
            "seed": runs["seed"].map(shown, "ignore") if "seed" in runs else "",
            **{name: _accuracies(runs, column).map("{:.1f}".format, "ignore") for name, column in STATISTICS.items()},
            "epochs": [_progress(run) for run in runs.to_dict("records")],
            "time": runs["seconds"].map(duration),
            "finished": runs["finished"].map(minute, "ignore"),
        },
        index=runs.index,
    )
    cells = cells.reindex(columns=[name for name in COLUMNS if name != "differs"]).astype(object).fillna("")
    return cells.assign(differs=_differences(runs, cells))


def _accuracies(runs: pd.DataFrame, column: str) -> pd.Series:
    """A statistic of each run; one of validation stands in for tests where there are none."""
    return runs[column].where(runs["best_accuracy"].isna()) if column == "validation_accuracy" else runs[column]


def _epochs_done(epochs: pd.DataFrame) -> pd.Series:
    return epochs.groupby("run")["epoch"].max()


def _progress(run: dict[Any, Any]) -> str:
    """How many epochs a run has, and of how many where it is not done."""
    done, planned = run["epochs"], run.get("trainer.epochs")
    if _missing(done):
        return ""
    return shown(done) if run["status"] == "done" or _missing(planned) else f"{shown(done)} of {shown(planned)}"


def _differences(runs: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """The settings, beyond the listed ones and the seed, in which a run differs from others like it."""
    listed = {"seed", "noise.seed", *NOISE, *FOUND_IN.values()}
    keys = [key for key in setting_columns(runs) if key not in listed]
    texts = [[f"{key} {shown(value)}" for value in pd.unique(runs[key].dropna())] for key in keys]
    codes = np.array([pd.factorize(runs[key])[0] for key in keys]).reshape(len(keys), len(runs))
    told = [""] * len(runs)
    for members in cells.groupby(list(LIKE), sort=False).indices.values():
        own = codes[:, members]
        differing = np.flatnonzero((own != own[:, :1]).any(axis=1))
        for position in members:
            told[position] = " · ".join(texts[k][codes[k, position]] for k in differing if codes[k, position] >= 0)
    return told


def _row(run: dict[Any, Any], texts: dict[Any, str]) -> dict[str, Any]:
    name = str(run["run"])
    found = RUN_ID.search(name)
    sort = {column: run.get(key) for column, key in NUMBERS.items()}
    return {
        "name": name,
        "short_name": found[1] if found else name,
        "status": str(run["status"]),
        "reason": "" if _missing(run["reason"]) else str(run["reason"]),
        "cells": texts,
        "sort": {name: value for name, value in sort.items() if texts[name] and isinstance(value, int | float)},
    }


def _choices(name: str, values: pd.Series) -> dict[str, int]:
    counts = values[values != ""].value_counts()
    order = [status for status in STATUSES if status in counts] if name == "status" else sorted(counts.index)
    return {value: int(counts[value]) for value in order}


def _settings(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Every setting once: its distinct values, and for each run which of them it has (-1: none of them)."""
    result = []
    for key in setting_columns(runs):
        codes, values = pd.factorize(runs[key].map(shown, "ignore"))
        if len(values):
            same = [int(codes[0])] if len(set(codes)) == 1 else codes.tolist()
            result.append({"key": key, "values": [str(value) for value in values], "runs": same})
    return result


def _curves(names: Iterable[str], epochs: pd.DataFrame) -> list[dict[str, Any] | None]:
    """Test accuracy over epochs, thinned to what a small drawing can show."""
    known = epochs.reindex(columns=["run", "epoch", "test_accuracy"]).dropna()
    curves = {name: _thinned(own) for name, own in known.groupby("run")}
    return [curves.get(name) for name in names]


def _thinned(own: pd.DataFrame) -> dict[str, Any]:
    kept = np.unique(np.linspace(0, len(own) - 1, min(len(own), POINTS)).round().astype(int))
    points = own.iloc[kept]
    return {"epochs": points["epoch"].astype(int).tolist(), "accuracies": points["test_accuracy"].round(2).tolist()}


def _missing(value: object) -> bool:
    return value is None or value != value
