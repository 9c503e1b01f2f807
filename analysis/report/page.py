"""The page of a folder of runs, in one file."""

from pathlib import Path

from markupsafe import Markup

from analysis.one_file import filled
from analysis.records import Records
from analysis.report.overview import overview
from analysis.report.parts import parts
from analysis.report.run_list import COLUMNS, NUMBERS, run_list

MOST_RUNS = 2000
MARK = '<meta name="generator" content="python -m analysis.report">'
"""What a page says of itself, and is known again by."""


def page(records: Records, most_runs: int = MOST_RUNS) -> str:
    """The whole page; equal records give equal pages. Raises `InputError` when the folder holds no runs."""
    listed = run_list(records.runs, records.epochs, most_runs)
    return filled(
        Path(__file__).parent,
        mark=Markup(MARK),
        directory=str(records.directory),
        overview=overview(records.runs),
        parts=parts(records, listed.numbers),
        listed=listed,
        total=len(records.runs),
        columns=COLUMNS,
        numbers=NUMBERS,
    )
