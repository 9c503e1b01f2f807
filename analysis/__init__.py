"""Tables and figures from run directories alone: no torch, no GPU, nothing but the record's files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.compare.render import tidy
from analysis.records.load import load, load_epochs
from analysis.tables import build

__all__ = ["build", "load", "load_epochs", "table"]


def table(name: str, runs: str | Path | pd.DataFrame, statistics: Sequence[str] | None = None) -> pd.DataFrame:
    """The cells of a table in long form, a row a (block, statistic, row, column), for notebooks.

    `runs` is a folder of runs or a frame of them as `load` gives it, which may have been cut to some of them.
    `build` gives the same as a `Table`, for the renderers of `analysis.compare.render`. Raises `InputError` when
    these runs do not support the table.
    """
    return tidy(build(name, runs if isinstance(runs, pd.DataFrame) else load(runs), statistics))
