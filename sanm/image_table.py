"""A table of images, as people keep them: a CSV file with a column of files and a column of labels.

Light, since a run is named by the files that its table names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sanm.errors import InputError

DELIMITERS = (",", "\t", ";")
OPTIONAL = ("split", "true_label")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Row:
    """A line of the table that names a file; text is stripped, and empty where there is none."""

    line: int
    file: str
    label: str
    split: str  # train, validation, test, or whatever else is written there; train without such a column
    true_label: str


@dataclass(frozen=True)
class Table:
    """The rows of a table and the folder that their files are relative to."""

    path: Path
    root: Path
    rows: tuple[Row, ...]
    incomplete: tuple[int, ...]  # lines that have too few fields, or no file


def read_table(path: str, root: str | None, columns: Mapping[str, str | None]) -> Table:
    """Read a table with a header, fields separated by comma, tab or semicolon.

    ``columns`` says how ``file``, ``label``, ``split`` and ``true_label`` are called; the last two, where that is None,
    are the columns of these names, if there are any. ``root`` None is the table's own folder. Empty lines are passed
    over. Raises InputError when the file is not there, is no such table or lacks a column.
    """
    place = Path(path).expanduser()
    folder = Path(root).expanduser() if root else place.parent
    if not folder.is_dir():
        raise InputError(f"data.root={root} is not a folder: give the one that the files of {place} are relative to")
    text = _text(place)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(place, text, str(columns["file"])))
    try:
        header = [field.strip() for field in next(reader)]
        at = _positions(header, columns, place)
        rows: list[Row] = []
        incomplete: list[int] = []
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) <= max(at.values()) or not fields[at["file"]].strip():
                incomplete.append(reader.line_num)
                continue
            found = {key: fields[position].strip() for key, position in at.items()}
            split = _split(found["split"]) if "split" in at else "train"
            rows.append(Row(reader.line_num, found["file"], found["label"], split, found.get("true_label", "")))
    except csv.Error as error:
        raise InputError(f"data.path={place} is no intact table (line {reader.line_num}: {error})") from error
    return Table(place, folder, tuple(rows), tuple(incomplete))


def _text(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8-sig")  # with or without the mark that spreadsheets put in front
    except OSError as error:
        raise InputError(f"data.path={place} cannot be read ({error.strerror}): give a CSV file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"data.path={place} is not UTF-8 text (byte {error.start}): save it as such") from error


def _delimiter(place: Path, text: str, file_column: str) -> str:
    header = text.partition("\n")[0]
    for delimiter in DELIMITERS:
        fields = next(csv.reader([header], delimiter=delimiter), [])
        if file_column in (field.strip() for field in fields) and len(fields) > 1:
            return delimiter
    raise InputError(
        f"data.path={place}: its first line has no column {file_column!r} beside others ({header.strip()[:80]!r}): "
        "name the column of files with data.columns.file=NAME"
    )


def _positions(header: list[str], names: Mapping[str, str | None], place: Path) -> dict[str, int]:
    at: dict[str, int] = {}
    for key, given in names.items():
        name = given or key
        if name in header:
            at[key] = header.index(name)
        elif given or key not in OPTIONAL:
            raise InputError(
                f"data.path={place} has no column {name!r} (only {', '.join(header)}): set data.columns.{key}=NAME"
            )
    return at


def _split(text: str) -> str:
    return next((split for split, words in SPLITS.items() if text.lower() in words), text)
