"""Mean, spread and count of every cell, and of what is not in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Measure:
    """A number of a run: its column of the runs, what it is, how it is printed, and which end of it is good."""

    column: str
    rule: str = ""
    digits: int = 1
    lowest_is_best: bool = False


ACCURACIES = {
    "best": Measure("best_accuracy"),
    "last": Measure("last_accuracy"),
    "selected": Measure("selected_accuracy"),
    "validation": Measure("validation_accuracy"),
}
STATISTICS = {name: measure.column for name, measure in ACCURACIES.items()}
UNFINISHED = ("failed", "interrupted", "unreadable")
COUNTS = ("n", "runs", *UNFINISHED, "missing")
SEEDS = ("seed", "noise.seed")


def summarise(
    runs: pd.DataFrame,
    rows: str,
    columns: str,
    row_order: Sequence[str],
    statistics: Sequence[str],
    found_in: Mapping[str, str] = STATISTICS,
) -> pd.DataFrame:
    """Long form: a row for every (statistic, row, column), empty cells included.

    `found_in` says which column of the runs holds a statistic.

    Columns of the result: mean, std (sample, over seeds), n (finished runs with a number), runs (all runs of the cell),
    failed, interrupted, unreadable, missing (seeds of this block that the cell has no run for),
    realised_noise_rate (of the column).
    """
    grid = pd.MultiIndex.from_product([row_order, in_order(runs[columns])], names=[rows, columns])
    counts = _counts(runs, rows, columns).reindex(grid, fill_value=0)
    counts["missing"] = _distinct_seeds(runs) - counts.pop("seeds")
    realised = runs.groupby(columns)["realised_noise_rate"].mean()
    done = runs[runs["status"] == "done"].groupby([rows, columns])
    frames = []
    for statistic in statistics:
        numbers = done[found_in[statistic]].agg(["mean", "std", "count"]).rename(columns={"count": "n"})
        cells = numbers.reindex(grid).join(counts).reset_index()
        cells["n"] = cells["n"].fillna(0).astype(int)
        cells.insert(0, "statistic", statistic)
        frames.append(cells)
    result = pd.concat(frames, ignore_index=True)
    result["realised_noise_rate"] = result[columns].map(realised)
    return result


def in_order(values: pd.Series) -> list[Any]:
    """The distinct values: numbers by size, words as they come."""
    distinct: list[Any] = values.drop_duplicates().tolist()
    return sorted(distinct) if pd.api.types.is_numeric_dtype(values) else distinct


def selection_rules(runs: pd.DataFrame, statistics: Sequence[str]) -> str:
    """One sentence: which epoch of a run each statistic looks at."""
    windows = sorted({int(window) for window in runs["last_window"].dropna()})
    final = f"mean test accuracy of the final {' or '.join(map(str, windows))} epochs"
    if windows == [1]:
        final = "test accuracy of the final epoch"
    rules = {
        "best": "best = highest test accuracy of any epoch (chosen on the test set)",
        "last": f"last = {final}",
        "selected": f"selected = test accuracy at the epoch that {_labels(runs)} validation labels chose",
        "validation": f"validation = highest accuracy of any epoch on {_labels(runs)} validation labels, NO TEST",
    }
    return f"Selection: {'; '.join(rules[statistic] for statistic in statistics)}. Accuracies in percent."


def _labels(runs: pd.DataFrame) -> str:
    kinds = sorted(runs["validation_labels"].dropna().unique()) if "validation_labels" in runs else []
    return " and ".join(kinds) or "held-out"


def _counts(runs: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    cells = runs.assign(one=1).groupby([rows, columns])
    counts = pd.DataFrame({"runs": cells["one"].sum()})
    for status in UNFINISHED:
        counts[status] = (runs["status"] == status).groupby([runs[rows], runs[columns]]).sum()
    # "seeds" is what `missing` is counted from.
    seeds = [column for column in SEEDS if column in runs.columns]
    counts["seeds"] = runs[[rows, columns, *seeds]].drop_duplicates().groupby([rows, columns]).size()
    return counts


def _distinct_seeds(runs: pd.DataFrame) -> int:
    return len(runs[[column for column in SEEDS if column in runs.columns]].drop_duplicates())
