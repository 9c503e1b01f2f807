"""Which base methods a table of the paper has, from its data: without pandas, which a launcher need not load."""

from __future__ import annotations

import csv
from pathlib import Path

from sanm.config.limits import options

PAPER = Path(__file__).resolve().parents[2] / "analysis" / "paper"
WITH_SANM = "SANM("


def cells_of(table: str) -> list[tuple[str, ...]]:
    """A row of the table each, in print order, as overrides; without methods that ``conf/base_method`` lacks."""
    named = {row["method"]: row for row in _read("paper_methods.csv")}
    printed = dict.fromkeys(row["method"] for row in _read("paper.csv") if row["table"] == table)
    cells = []
    for name in printed:
        method = named[name.removeprefix(WITH_SANM).removesuffix(")")]
        if method["base_method"] in options("base_method"):
            asked = [f"base_method.{method['asked']}"] if method["asked"] else []
            components = "full" if name.startswith(WITH_SANM) else "none"
            cells.append((f"base_method={method['base_method']}", *asked, f"components={components}"))
    return cells


def _read(file: str) -> list[dict[str, str]]:
    with (PAPER / file).open(newline="") as lines:
        return [*csv.DictReader(lines)]
