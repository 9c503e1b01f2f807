"""Mean, spread and count of every cell, and of what is not in it."""

from collections.abc import Sequence

import pandas as pd

STATISTICS = {
    "best": "best_accuracy",
    "last": "last_accuracy",
    "selected": "selected_accuracy",
    "validation": "validation_accuracy",
}
UNFINISHED = ("failed", "interrupted", "unreadable")
COUNTS = ("n", "runs", *UNFINISHED, "missing")
SEEDS = ("seed", "noise.seed")


def summarise(
    runs: pd.DataFrame, rows: str, columns: str, row_order: Sequence[str], statistics: Sequence[str]
) -> pd.DataFrame:
    """Long form: a row for every (statistic, row, column), empty cells included.

    Its columns: mean, std (sample, over seeds), n (finished runs with a number), runs (all runs of the cell),
    failed, interrupted, unreadable, missing (seeds of this block that the cell has no run for),
    realised_noise_rate (of the column).
    """
    grid = pd.MultiIndex.from_product([row_order, sorted(runs[columns].unique())], names=[rows, columns])
    counts = _counts(runs, rows, columns).reindex(grid, fill_value=0)
    counts["missing"] = _distinct_seeds(runs) - counts.pop("seeds")
    realised = runs.groupby(columns)["realised_noise_rate"].mean()
    done = runs[runs["status"] == "done"].groupby([rows, columns])
    frames = []
    for statistic in statistics:
        numbers = done[STATISTICS[statistic]].agg(["mean", "std", "count"]).rename(columns={"count": "n"})
        cells = numbers.reindex(grid).join(counts).reset_index()
        cells["n"] = cells["n"].fillna(0).astype(int)
        cells.insert(0, "statistic", statistic)
        frames.append(cells)
    result = pd.concat(frames, ignore_index=True)
    result["realised_noise_rate"] = result[columns].map(realised)
    return result


def selection_rules(runs: pd.DataFrame, statistics: Sequence[str]) -> str:
    """One sentence: which epoch of a run each statistic looks at."""
    windows = sorted({int(window) for window in runs["last_window"].dropna()})
    final = f"mean test accuracy of the final {' or '.join(map(str, windows))} epochs"
    if windows == [1]:
        final = "test accuracy of the final epoch"
    rules = {
        "best": "best = highest test accuracy of any epoch (chosen on the test set)",
        "last": f"last = {final}",
        "selected": "selected = test accuracy at the epoch that a noisy validation split chose",
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
    counts["seeds"] = pd.Series({cell: _distinct_seeds(members) for cell, members in cells})
    return counts


def _distinct_seeds(runs: pd.DataFrame) -> int:
    return len(runs[[column for column in SEEDS if column in runs.columns]].drop_duplicates())
