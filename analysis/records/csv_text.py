"""A frame as the text of a CSV file, for programs and for spreadsheets."""

import csv
from typing import Literal

import pandas as pd
from pandas.api.types import is_numeric_dtype

from sanm.formats.spreadsheet import guarded


def csv_text(frame: pd.DataFrame, index: bool = False) -> str:
    """The frame with six digits a number, and no cell that a spreadsheet would compute (`sanm.formats.spreadsheet`)."""
    texts = [name for name in frame.columns if not is_numeric_dtype(frame[name])]
    written = frame.assign(**{name: frame[name].map(guarded) for name in texts})
    written.columns = pd.Index(map(guarded, frame.columns))
    if index:
        written.index = pd.Index(map(guarded, frame.index), name=frame.index.name)
    broken = any(written[guarded(name)].map(lambda cell: "\r" in str(cell)).any() for name in texts)
    # The writer by itself quotes a line feed alone.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if broken else csv.QUOTE_MINIMAL
    return written.to_csv(index=index, float_format="%.6g", lineterminator="\n", quoting=quoting)
