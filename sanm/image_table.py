"""A table of images, as people keep them: a CSV file with a column of files and a column of labels.

Light, since a run is named by the files that its table names.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
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

    def place_of(self, row: Row) -> str:
        """Where the row's file lies, in one spelling for all the ways to write it."""
        return os.path.normpath(os.path.join(self.root, row.file))


def read_table(path: str, root: str | None, columns: Mapping[str, str | None]) -> Table:
    """Read a table with a header, fields separated by comma, tab or semicolon.

    ``columns`` says how ``file``, ``label``, ``split`` and ``true_label`` are called; the last two, where that is None,
    are the columns of these names, if there are any. ``root`` None is the table's own folder. Empty lines are passed
    over. Where all labels are whole numbers, ``3.0`` is read as ``3``, in labels and true labels. Raises InputError
    when the file is not there, is no such table or lacks a column.
    """
    place = Path(path).expanduser()
    folder = Path(root).expanduser() if root else place.parent
    if not folder.is_dir():
        raise InputError(f"data.root={root} is not a folder: give the one that the files of {place} are relative to")
    text = table_text(place, f"data.path={place}")
    lines = filled_lines(text, _delimiter(place, text, str(columns["file"])), f"data.path={place}")
    at = _positions(next(lines)[1], columns, place)
    rows: list[Row] = []
    incomplete: list[int] = []
    for line, fields in lines:
        if len(fields) <= max(at.values()) or not is_file_name(fields[at["file"]]):
            incomplete.append(line)
            continue
        found = {key: fields[position] for key, position in at.items()}
        split = _split(found["split"]) if "split" in at else "train"
        rows.append(Row(line, found["file"], found["label"], split, found.get("true_label", "")))
    return Table(place, folder, tuple(_with_whole_numbers(rows)), tuple(incomplete))


def table_text(place: Path, called: str) -> str:
    """The text of a table. Raises InputError, which says what it is ``called``, when it cannot be read as UTF-8."""
    try:
        return place.read_text(encoding="utf-8-sig")  # with or without the mark that spreadsheets put in front
    except OSError as error:
        raise InputError(f"{called} cannot be read ({error.strerror}): give a CSV file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{called} is not UTF-8 text (byte {error.start}): save it as such") from error


def delimiter_of(text: str, column: str, fewest: int) -> str | None:
    """What separates the fields of a table: under which its first line has that column, and as many as the ``fewest``.

    None where there is no such delimiter.
    """
    for delimiter in DELIMITERS:
        fields = header_fields(text, delimiter)
        if column in fields and len(fields) >= fewest:
            return delimiter
    return None


def filled_lines(text: str, delimiter: str, called: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table that are not empty, by number, with the fields stripped.

    Raises InputError, which says what the table is ``called`` and where a line begins that cannot be parsed: one whose
    quote is never closed, say.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        began = reader.line_num + 1
        try:
            fields = [field.strip() for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{called} is no intact table (line {began}: {error}): mend its quotes") from error
        if any(fields):
            yield reader.line_num, fields


def header_fields(text: str, delimiter: str) -> list[str]:
    """What the first line of a table holds, if that is its delimiter; nothing where it cannot be parsed so."""
    try:
        fields = next(csv.reader([text.partition("\n")[0]], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [field.strip() for field in fields]


def is_file_name(text: str) -> bool:
    """Whether a field may name a file: a NUL, which no name holds, is of a damaged table."""
    return bool(text) and "\0" not in text


def named_again(line: int) -> str:
    """Why a row is left out whose file a row before it has named already, and that row is not."""
    return f"names the file of line {line} again"


def is_named_again(reason: str) -> bool:
    return re.fullmatch(named_again(0).replace("0", r"\d+"), reason) is not None


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels, sorted as numbers where all are whole numbers, else as text."""
    distinct = set(labels)
    if all(re.fullmatch(r"-?\d+", label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def _with_whole_numbers(rows: list[Row]) -> list[Row]:
    """The rows without the ``.0`` that a column of whole numbers with gaps is written with, if all labels are such."""
    if not all(re.fullmatch(r"-?\d+(\.0+)?", row.label) for row in rows if row.split == "train" and row.label):
        return rows
    return [replace(row, label=_whole(row.label), true_label=_whole(row.true_label)) for row in rows]


def _whole(text: str) -> str:
    return text.partition(".")[0] if re.fullmatch(r"-?\d+\.0+", text) else text


def _delimiter(place: Path, text: str, file_column: str) -> str:
    if delimiter := delimiter_of(text, file_column, fewest=2):
        return delimiter
    header = text.partition("\n")[0]
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
