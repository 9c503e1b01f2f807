"""The figures. A figure is a module here, found by its name, with `charts(records) -> tuple[Chart, ...]`."""

import pkgutil
from importlib import import_module

from analysis.figures.chart import Chart
from analysis.figures.style import look
from analysis.records import Records
from sanm.errors import InputError

# Modules that figures share.
PARTS = ("chart", "files", "masking", "style")


def names() -> list[str]:
    """The known figures."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in PARTS and not name.startswith("_"))


def require(name: str) -> None:
    """Refuses the name of a figure that does not exist."""
    if name not in names():
        raise InputError(f"unknown figure {name!r}; known figures: {', '.join(names())}, all")


def about(name: str) -> str:
    """What the figure of that name shows: the first line of its module."""
    return (import_module(f"{__name__}.{name}").__doc__ or "").partition("\n")[0]


def build(name: str, records: Records) -> tuple[Chart, ...]:
    """The charts of the figure of that name; raises `InputError` that says what the runs lack for it."""
    require(name)
    with look():
        charts: tuple[Chart, ...] = import_module(f"{__name__}.{name}").charts(records)
    return charts
