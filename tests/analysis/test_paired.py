"""Differences by equal seeds and their test, against scipy's own and by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from analysis.compare.paired import differences, explained, paired_t_test

ACCURACY = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 2))


def runs_of(rows: dict[str, list[float | None]]) -> pd.DataFrame:
    """One column of cells: each row's accuracies by seed; None is a run that did not finish."""
    records = [
        {"row": row, "column": 0.5, "seed": seed, "number": number, "status": "failed" if number is None else "done"}
        for row, numbers in rows.items()
        for seed, number in enumerate(numbers)
    ]
    return pd.DataFrame(records).astype({"number": float})


def found(rows: dict[str, list[float | None]]) -> pd.Series:
    pairs = {"b − a": ("b", "a")}
    (difference,) = differences(runs_of(rows), "row", "column", pairs, {"best": "number"}).to_dict("records")
    return pd.Series(difference)


@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=3, max_size=8))
def test_a_difference_is_that_of_equal_seeds(pairs: list[tuple[float, float]]) -> None:
    plain, lifted = [list(side) for side in zip(*pairs, strict=True)]
    result = found({"a": plain, "b": lifted})
    apart = np.subtract(lifted, plain)
    assert result["mean"] == pytest.approx(apart.mean(), abs=1e-9)
    assert result["std"] == pytest.approx(apart.std(ddof=1), abs=1e-9)
    if np.ptp(apart) > 1e-6:
        assert result["p_value"] == pytest.approx(ttest_rel(lifted, plain).pvalue, rel=1e-6, abs=1e-12)


def test_only_finished_pairs_count_and_others_are_seen() -> None:
    result = found({"a": [70.0, 71.0, 72.0, 60.0], "b": [71.0, 73.0, 75.0, None]})
    assert (result["n"], result["runs"], result["mean"]) == (3, 4, 2)


@pytest.mark.parametrize("apart", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]])
def test_no_p_without_three_pairs_or_any_spread(apart: list[float]) -> None:
    assert math.isnan(paired_t_test(pd.Series(apart, dtype=float)))


def test_a_missing_row_has_no_differences() -> None:
    assert differences(runs_of({"a": [1.0]}), "row", "column", {"b − a": ("b", "a")}, {"best": "number"}).empty


def test_the_test_is_named_with_how_many_there_are() -> None:
    assert "paired t-test" in explained([0.1, float("nan"), 0.2])[1]
    assert "not corrected for the 2 tests" in explained([0.1, float("nan"), 0.2])[1]
    assert len(explained([float("nan")])) == 1
