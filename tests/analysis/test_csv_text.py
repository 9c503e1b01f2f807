"""Frames as text that programs read back and spreadsheets do not compute."""

import io

import pandas as pd

from analysis.records.csv_text import csv_text


def test_text_is_guarded_and_numbers_are_not() -> None:
    frame = pd.DataFrame({"=name": ["=1", "-1.5", "a\rb", "x"], "value": [-1.5, 2.0, float("nan"), 1e-9]})
    text = csv_text(frame.set_index(frame["=name"].rename("row")), index=True)
    found = pd.read_csv(io.StringIO(text, newline=""))
    assert found["row"].tolist() == ["'=1", "-1.5", "a\rb", "x"]
    assert found["'=name"].tolist() == ["'=1", "-1.5", "a\rb", "x"]
    assert found["value"].tolist()[:2] == [-1.5, 2.0]
    assert csv_text(frame.iloc[[0, 3]]) == "'=name,value\n'=1,-1.5\nx,1e-09\n"
