"""The tables. A table is a module here, found by its name, with `table(runs, statistics) -> Table`."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

import pandas as pd

from analysis.compare.blocks import Table
from sanm.errors import InputError


def names() -> list[str]:
    """The known tables."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def require(name: str) -> None:
    """Refuses the name of a table that does not exist."""
    if name not in names():
        raise InputError(f"unknown table {name!r}; known tables: {', '.join(names())}")


def described(name: str) -> str:
    """What the table of that name is, in one line."""
    require(name)
    return (import_module(f"{__name__}.{name}").__doc__ or "").partition("\n")[0]


def build(name: str, runs: pd.DataFrame, statistics: Sequence[str] | None = None) -> Table:
    """The table of that name from a frame of runs, as `analysis.load` gives it.

    `statistics` are those of the table's numbers to print; each table has its own, and its own choice of them.
    """
    require(name)
    table: Table = import_module(f"{__name__}.{name}").table(runs, statistics)
    return table
