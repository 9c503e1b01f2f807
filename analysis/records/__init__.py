"""A directory of runs, read once for all who ask."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.records.load import load, load_epochs, unreadable


@dataclass(frozen=True)
class Records:
    """What tables and figures are made from; each part is read when it is first asked for."""

    directory: Path

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run (`analysis.load`). Warns of those that cannot be read."""
        runs = load(self.directory)
        for line in unreadable(runs):
            warnings.warn(line, stacklevel=2)
        return runs

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch (`analysis.load_epochs`)."""
        return load_epochs(self.directory)
