"""What a person who has looked at the suspected labels hands back: which to mend, and to what."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.labels.record import Record
from sanm.errors import InputError
from sanm.formats.image_table import columns_named, delimiter_of, filled_lines, table_text
from sanm.formats.spreadsheet import unguarded

READ_AS_MISSING = {"#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
"""Class names that pandas, left to itself, reads as a missing value, which it writes as nothing."""
NAMED = 10
KEY, LABEL, JUDGED = "key", "predicted_label", "given_label_is"
RIGHT, WRONG, UNCLEAR = "right", "wrong", "unclear"
"""What the column `given_label_is` says, which the page of pictures writes."""


def reviewed(path: Path, record: Record, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the `verdicts` that the table names, with the labels that it suggests.

    The table is `label_errors.csv` or `labels.csv` as somebody has edited a copy of it: rows deleted, labels in
    `predicted_label` changed; where that is empty or missing the suggestion is the run's. Or it is what the page of
    pictures has written, with a column `given_label_is`: a row that says `right` is none to mend, one that says
    `unclear` keeps its label and can but be left out. Raises `InputError`, one line, for a table that cannot be read
    or has no `key`, a sample that the run has not judged or that is named twice, a label that is no class, another
    word in `given_label_is`, and an empty label where a class is called NA or the like, which the copy may have lost.
    """
    position = {key: place for place, key in enumerate(record.keys)}
    number = {name: place for place, name in enumerate(record.class_names)}
    chosen: dict[int, int | None] = {}  # None where there is nothing to mend
    for line, key, label, judged in _verdicts(path):
        if key not in position:
            raise InputError(f"--reviewed {path} line {line}: {record.path} has no sample with the key {key!r}")
        if position[key] in chosen:
            raise InputError(f"--reviewed {path} line {line}: {key!r} is named twice")
        if judged not in ("", RIGHT, WRONG, UNCLEAR):
            raise InputError(
                f"--reviewed {path} line {line}: {JUDGED} is {judged!r}; give {RIGHT}, {WRONG}, {UNCLEAR} or nothing"
            )
        if judged in (RIGHT, UNCLEAR):
            chosen[position[key]] = None if judged == RIGHT else int(record.given[position[key]])
            continue
        if label == "" and (lost := sorted(name for name in number if name in READ_AS_MISSING)):
            raise InputError(
                f"--reviewed {path} line {line}: predicted_label is empty, which pandas makes of the class "
                f"{lost[0]!r} too: write the class there"
            )
        if label and label not in number:
            label = label.removesuffix(".0")  # as pandas writes a column with gaps
        if label and label not in number:
            raise InputError(f"--reviewed {path} line {line}: {label!r} is no class; give one of {_some(number)}")
        chosen[position[key]] = number[label] if label else int(record.predicted[position[key]])
    classes = {place: chosen[place] for place in sorted(chosen) if chosen[place] is not None}
    found = rows.loc[[*classes]].copy()
    found["predicted_class"] = [*classes.values()]
    found["predicted_label"] = [record.class_names[label] for label in found["predicted_class"]]
    return found


def _verdicts(path: Path) -> Iterator[tuple[int, str, str | None, str]]:
    """Line, key, label and judgment of each row; no label where there is no column of them."""
    called = f"--reviewed {path}"
    text = table_text(path, called)
    delimiter = delimiter_of(text, KEY, fewest=1)
    if delimiter is None:
        raise InputError(f"{called} has no column {KEY}: give a copy of label_errors.csv")
    lines = filled_lines(text, delimiter, called)
    _, header = next(lines)
    (key, *_), label, judged = (columns_named(header, name) for name in (KEY, LABEL, JUDGED))
    for line, fields in lines:
        words = _field(fields, judged[0]) if judged else ""
        yield line, _field(fields, key), _field(fields, label[0]) if label else None, words


def _field(fields: Sequence[str], position: int) -> str:
    return unguarded(fields[position]) if position < len(fields) else ""


def _some(names: dict[str, int]) -> str:
    return ", ".join([*list(names)[:NAMED], *(["..."] if len(names) > NAMED else [])])
