"""Cells of a table that a spreadsheet would compute: written as text, as spreadsheets mark it, and read back.

A class called ``=1+1`` is a formula to a spreadsheet unless an apostrophe stands before it. Light, since the analysis
writes and reads the same tables.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

COMPUTED = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]", re.DOTALL)
NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(cell: Any) -> Any:
    """The cell as it is written: with an apostrophe before text that would be computed, or that begins with
    apostrophes and such text, so that ``unguarded`` gives every text back. Numbers stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and _is_computed(cell) else cell


def unguarded(text: str) -> str:
    """What a cell that is read stands for."""
    return text[1:] if text.startswith("'") and _is_computed(text) else text


def is_unguarded(text: str) -> bool:
    """Whether a cell that is read cannot have been ``guarded``."""
    return not text.startswith("'") and _is_computed(text)


def table_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as the lines of a CSV file, guarded; a cell with a line break of any kind is quoted."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\r\n")  # all of whose characters are then quoted
    found = []
    for row in rows:
        writer.writerow([guarded(cell) for cell in row])
        found.append(lines.getvalue().removesuffix("\r\n") + "\n")
        lines.seek(0)
        lines.truncate()
    return "".join(found)


def _is_computed(text: str) -> bool:
    return COMPUTED.match(text) is not None and NUMBER.fullmatch(text) is None
