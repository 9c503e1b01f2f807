"""Differences between rows of a table by equal seeds, and how likely chance makes them."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from scipy.special import stdtr

from analysis.compare.summary import SEEDS

LEAST_PAIRS = 3
# Exact rank tests cannot be used here: with 3 pairs the least p they can give is 0.25, and 6 are needed for 0.05.
TEST = "p: two-sided paired t-test of at least {} pairs, which takes the differences to be about normal{}."
DIFFERENCE = "Differences: mean over equal seeds (seed and noise.seed) ± their own sample standard deviation (n pairs)."


def differences(
    runs: pd.DataFrame, rows: str, columns: str, pairs: Mapping[str, tuple[str, str]], measures: Mapping[str, str]
) -> pd.DataFrame:
    """Long form: for each statistic, label of `pairs` (row, reference) and column the differences row - reference.

    A pair is the runs of both rows with equal seed and noise.seed; several runs of a seed count by their mean.
    Columns: statistic, `rows` (the label), `columns`, mean, std, n (finished pairs), runs (pairs, finished or not),
    p_value. `measures` says which column of the runs holds a statistic.
    """
    seeds = [seed for seed in SEEDS if seed in runs]
    frames = []
    for statistic, column in measures.items():
        numbers = runs[column].where(runs["status"] == "done")
        by_seed = numbers.groupby([runs[key] for key in (columns, *seeds, rows)], dropna=False)
        number, count = by_seed.mean().unstack(), by_seed.size().unstack()
        for label, (row, reference) in pairs.items():
            if row not in number or reference not in number:
                continue
            both = count[[row, reference]].notna().all(axis=1)
            by_column = (number[row] - number[reference])[both].groupby(columns)
            found = by_column.agg(["mean", "std", "count", "size"]).assign(p_value=by_column.agg(paired_t_test))
            found = found.rename(columns={"count": "n", "size": "runs"}).reset_index()
            frames.append(found.assign(**{"statistic": statistic, rows: label}))
    wanted = ["statistic", rows, columns, "mean", "std", "n", "runs", "p_value"]
    return pd.concat(frames, ignore_index=True)[wanted] if frames else pd.DataFrame(columns=wanted)


def paired_t_test(of_pairs: pd.Series) -> float:
    """Two-sided p of the differences' mean being zero; NaN below three pairs or where all are the same."""
    known = of_pairs.dropna()
    spread = known.std()
    if len(known) < LEAST_PAIRS or not spread > 1e-9 * known.abs().max():
        return math.nan
    statistic = known.mean() / (spread / math.sqrt(len(known)))
    return float(2 * stdtr(len(known) - 1, -abs(statistic)))


def explained(p_values: Sequence[float]) -> list[str]:
    """What a reader must know of differences with these p-values."""
    tests = sum(not math.isnan(p) for p in p_values)
    uncorrected = f"; not corrected for the {tests} tests made here" if tests > 1 else ""
    return [DIFFERENCE, *([TEST.format(LEAST_PAIRS, uncorrected)] if tests else [])]
