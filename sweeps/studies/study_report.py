"""What a study came to, as CSV, Markdown and a picture, from its storage and its runs' records."""

import math
import shlex
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.trial import FrozenTrial, TrialState

from analysis.figures.files import picture
from analysis.figures.study import read, slices
from analysis.figures.style import look
from sanm.files import write_bytes
from sanm.record.directory import RunDirectory
from sweeps.studies.space import Dimension, Value
from sweeps.studies.study import SELECTIONS, Cell, assignments, cells_of
from sweeps.studies.study_folder import DESCRIPTION, PICTURE, REPORT, TABLES
from sweeps.studies.study_storage import DEFINITION, OVERRIDES
from sweeps.studies.study_trials import CELLS, REASON, RUNS, counted

SHOWN, BINS, FEWEST_FOR_IMPORTANCE = 5, 8, 8
NOTHING = "—"

Plain = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """A study as its storage knows it."""

    name: str
    folder: Path
    definition: Plain
    overrides: tuple[str, ...]
    trials: tuple[FrozenTrial, ...]

    @property
    def space(self) -> dict[str, Dimension]:
        found = {key: dict(record) for key, record in self.definition["space"].items()}
        for record in found.values():
            record["choices"] = tuple(record.get("choices", ()))
            record["when"] = next(iter(record.get("when", {}).items()), None)
        return {key: Dimension(**record) for key, record in found.items()}

    @property
    def cells(self) -> tuple[Cell, ...]:
        return cells_of(self.definition.get("across", ()), self.definition["noise_rates"], self.definition["seeds"])

    @property
    def complete(self) -> list[FrozenTrial]:
        """Trials all of whose runs are scored, the best first; of equals the first."""
        found = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(found, key=lambda trial: (-_value(trial), trial.number))

    def params(self, trial: FrozenTrial) -> dict[str, Value]:
        """A trial's parameters as its runs have them."""
        return {
            key: dimension.settle(trial.params[key]) for key, dimension in self.space.items() if key in trial.params
        }


def write(store: optuna.Study, folder: Path) -> list[str]:
    """Write the study's definition, its tables as CSV, ``sensitivity.png`` and ``report.md``.

    Returns the lines to print. Raises InputError when the folder cannot be written.
    """
    study = stored(store, folder)
    trials, sensitivity, importances = trial_table(study), sensitivity_table(study), importance_table(study, store)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / DESCRIPTION, yaml.safe_dump(description(study), sort_keys=False).encode())
    for name, table in zip(TABLES, (trials, sensitivity, importances), strict=True):
        write_bytes(folder / name, _csv(table).encode())
    if study.complete:
        with look():
            drawing = slices(read(folder)).drawing
        write_bytes(folder / PICTURE, picture(drawing, "png"))
    write_bytes(folder / REPORT, markdown(study, sensitivity, importances).encode())
    return summary(study)


def stored(store: optuna.Study, folder: Path) -> Stored:
    """What there is of the study at this moment."""
    known = store.user_attrs
    return Stored(store.study_name, folder, known[DEFINITION], tuple(known[OVERRIDES]), tuple(store.get_trials()))


def description(study: Stored) -> Plain:
    """What was searched for, and how; what a reader of the tables needs beside them."""
    definition = study.definition
    return {
        "name": study.name,
        "selection": definition["selection"],
        "rule": SELECTIONS[definition["selection"]],
        "space": definition["space"],
        "noise_rates": definition["noise_rates"],
        "seeds": definition["seeds"],
        "overrides": list(study.overrides),
    }


def summary(study: Stored) -> list[str]:
    """What a person wants to know at once."""
    lines = [f"study    {study.name}: {_counts(study)}"]
    if study.complete:
        best = study.complete[0]
        lines.append(
            f"best     {_value(best):.2f} % by trial {best.number}: {' '.join(assignments(study.params(best)))}"
        )
        lines.append(f"         {SELECTIONS[study.definition['selection']]}")
        lines += [f"use      {line}" for line in use_lines(study, best)]
    return [*lines, f"report   {study.folder / 'report.md'}"]


def use_lines(study: Stored, trial: FrozenTrial) -> list[str]:
    """The commands whose runs are those of the trial: they find them done, and are where other rates or seeds go in."""
    rates = ",".join(f"{rate:g}" for rate in study.definition["noise_rates"])
    seeds = ",".join(map(str, study.definition["seeds"]))
    lasting = [word for word in study.overrides if not word.startswith("retry=")]
    words = [*lasting, *assignments(study.params(trial)), *([f"noise.rate={rates}"] if rates else [])]
    across: Sequence[Sequence[str]] = study.definition.get("across") or [[]]
    return [shlex.join(["python", "-m", "sanm.run", "-m", *words, *own, f"seed={seeds}"]) for own in across]


# ---- tables


def trial_table(study: Stored) -> pd.DataFrame:
    """A row a trial: state, parameters, mean of its finished runs, its spread over seeds, and each run."""
    return pd.DataFrame([_trial_row(study, trial) for trial in study.trials])


def _trial_row(study: Stored, trial: FrozenTrial) -> Plain:
    scores: dict[str, float] = trial.user_attrs.get(CELLS, {})
    values = list(scores.values())
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "selection": study.definition["selection"],
        **study.params(trial),
        "mean": statistics.fmean(values) if values else None,
        "sd_over_seeds": _over_seeds(study, scores),
        "runs": len(values),
        **{cell.key: scores.get(cell.key) for cell in study.cells},
        "reason": trial.user_attrs.get(REASON),
    }


def sensitivity_table(study: Stored) -> pd.DataFrame:
    """Each parameter's range in parts: how many complete trials lie in a part, their mean, spread and best.

    A part is one value where there are few, else an equal share of the range (of its logarithm, if so searched).
    """
    rows: list[Plain] = []
    for key, dimension in study.space.items():
        for low, high, trials in _parts(study, key, dimension):
            values = [_value(trial) for trial in trials]
            spread = statistics.stdev(values) if len(values) > 1 else None
            rows.append(
                {
                    "parameter": key,
                    "from": low,
                    "to": high,
                    "trials": len(values),
                    "mean": statistics.fmean(values),
                    "sd": spread,
                    "best": max(values),
                    "selection": study.definition["selection"],
                }
            )
    columns = ["parameter", "from", "to", "trials", "mean", "sd", "best", "selection"]
    return pd.DataFrame(rows, columns=columns)


def _parts(study: Stored, key: str, dimension: Dimension) -> list[tuple[Value, Value, list[FrozenTrial]]]:
    having = [trial for trial in study.complete if key in study.params(trial)]  # with a condition, not all
    value_of = {trial.number: study.params(trial)[key] for trial in having}
    distinct = list(dict.fromkeys(value_of.values()))
    if dimension.choices or len(distinct) <= BINS:
        order = list(dimension.choices) if dimension.choices else sorted(distinct, key=float)
        parts = [(v, v, [t for t in having if value_of[t.number] == v]) for v in order]
        return [part for part in parts if part[2]]
    scale = np.geomspace if dimension.log else np.linspace
    edges = [float(f"{edge:.4g}") for edge in scale(dimension.low, dimension.high, BINS + 1)]
    place = {number: min(int(np.searchsorted(edges, float(v), "right")), BINS) - 1 for number, v in value_of.items()}
    ranges = [(edges[k], edges[k + 1], [t for t in having if place[t.number] == k]) for k in range(BINS)]
    return [part for part in ranges if part[2]]


def importance_table(study: Stored, store: optuna.Study) -> pd.DataFrame:
    """Each parameter's share in what makes trials good (PED-ANOVA, Watanabe et al., IJCAI 2023); empty if unknown."""
    columns = ["parameter", "importance"]
    if len(study.complete) < FEWEST_FOR_IMPORTANCE or len({_value(trial) for trial in study.complete}) < 2:
        return pd.DataFrame(columns=columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(store, params=list(study.space))
    return pd.DataFrame(list(found.items()), columns=columns)


# ---- the report


def markdown(study: Stored, sensitivity: pd.DataFrame, importances: pd.DataFrame) -> str:
    """The report for people."""
    definition = study.definition
    notes = [
        f"Selection: {SELECTIONS[definition['selection']]}. Accuracies in percent.",
        f"{_counts(study)}. A trial is {len(study.cells)} runs: {', '.join(cell.key for cell in study.cells)}.",
        f"Runs: {shlex.join(study.overrides) or 'as configured'}",
    ]
    parts = [f"# Study {study.name}", "\n".join(f"- {note}" for note in notes)]
    if not study.complete:
        return "\n\n".join([*parts, "No trial is complete yet."]) + "\n"
    best = study.complete[0]
    parts += [
        "## Best trials",
        _best_table(study).to_markdown(index=False, disable_numparse=True),
        "Cells: mean ± sample standard deviation over seeds. The best of many trials is the best partly by luck: "
        "run it with other seeds before you believe its value.",
        *_test_accuracy(study, best),
        "## Use it",
        f"    {' '.join(assignments(study.params(best)))}",
        "Its runs, found done:",
        *[f"    {line}" for line in use_lines(study, best)],
        "## Importance",
        _importance_text(importances),
        "## Sensitivity",
        "Complete trials by the value of one parameter, whatever the other; the search has crowded where it is good.",
        _sensitivity_text(sensitivity),
        "![sensitivity](sensitivity.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _best_table(study: Stored) -> pd.DataFrame:
    rows = []
    for trial in study.complete[:SHOWN]:
        scores = trial.user_attrs[CELLS]
        params = {key: str(value) for key, value in study.params(trial).items()}
        by_kind: dict[str, list[float]] = {}
        for cell in study.cells:
            by_kind.setdefault(cell.kind, []).append(scores[cell.key])
        spreads = {kind: _spread(values) for kind, values in by_kind.items()}
        rows.append({"trial": str(trial.number), **params, "mean": f"{_value(trial):.2f}", **spreads})
    return pd.DataFrame(rows)


def _test_accuracy(study: Stored, trial: FrozenTrial) -> list[str]:
    """What the best trial's runs score on the test set, where that has not chosen them."""
    if study.definition["selection"] == "test_oracle":
        return []
    directories = [RunDirectory(study.folder.parent.parent, name) for name in trial.user_attrs[RUNS].values()]
    found = [directory.result().get("selected_accuracy") for directory in directories if directory.status() == "done"]
    values = [value for value in found if value is not None]
    if not values:
        return []
    return [f"Test accuracy of trial {trial.number}, at the epochs chosen so: {_spread(values)} ({len(values)} runs)."]


def _importance_text(importances: pd.DataFrame) -> str:
    if importances.empty:
        return f"Too few complete trials ({FEWEST_FOR_IMPORTANCE} are needed)."
    shown = importances.assign(importance=[f"{value:.2f}" for value in importances["importance"]])
    return shown.to_markdown(index=False, disable_numparse=True)


def _sensitivity_text(sensitivity: pd.DataFrame) -> str:
    rows = [
        {
            "parameter": row["parameter"],
            "values": str(row["from"]) if row["from"] == row["to"] else f"{row['from']} to {row['to']}",
            "trials": str(row["trials"]),
            "mean": f"{row['mean']:.2f}",
            "sd": NOTHING if row["sd"] is None or math.isnan(row["sd"]) else f"{row['sd']:.2f}",
            "best": f"{row['best']:.2f}",
        }
        for row in sensitivity.to_dict("records")
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


# ---- small things


def _counts(study: Stored) -> str:
    states = [trial.state for trial in study.trials]
    words = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }
    found = ", ".join(f"{states.count(state)} {word}" for state, word in words.items() if state in states)
    return f"{counted(study.trials)} trials" + (f" ({found})" if found else "")


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _over_seeds(study: Stored, scores: Mapping[str, float]) -> float | None:
    """Sample standard deviation over seeds of the mean over noise rates; None when runs are missing or one seed."""
    seeds = dict.fromkeys(cell.seed for cell in study.cells)
    if len(seeds) < 2 or len(scores) < len(study.cells):
        return None
    return statistics.stdev(
        statistics.fmean(scores[cell.key] for cell in study.cells if cell.seed == seed) for seed in seeds
    )


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
