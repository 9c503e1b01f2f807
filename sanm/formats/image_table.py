"""A table of images, as people keep them: a CSV file with a column of files and a column of labels.

Light, since a run is named by the files that its table names.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sanm import given_files
from sanm.errors import InputError
from sanm.formats.spreadsheet import unguarded

DELIMITERS = (",", "\t", ";")
DELIMITERS_IN_WORDS = "comma, tab or semicolon"
DECLARATION = re.compile(r'\A"?sep=(\t|[^"\w\s])"?\r?\n', re.IGNORECASE)
"""A line before the header that tells Excel what the delimiter is."""
WHOLE = re.compile(r"-?\d{1,1000}(\.0+)?")
"""A whole number, perhaps with the ``.0`` of a column with gaps; of more digits Python reads none."""
OPTIONAL = ("split", "true_label")
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val"), "test": ("test", "testing")}
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


@dataclass(frozen=True)
class Row:
    """A line of the table that names a file; text is stripped, and empty where there is none."""

    line: int
    file: str
    label: str
    split: str  # train, validation, test, or whatever else is written there; train where nothing is
    true_label: str


@dataclass(frozen=True)
class Table:
    """The rows of a table and the folder that their files are relative to."""

    path: Path
    root: Path
    rows: tuple[Row, ...]
    incomplete: tuple[int, ...]  # lines that have too few fields, or no file
    columns: Mapping[str, str] = field(default_factory=dict)  # what of a row is in which column, as the header has it
    blank_splits: tuple[int, ...] = ()  # lines whose split is empty, though there is a column of them
    unread_splits: tuple[str, ...] = ()  # columns that look like splits, where none is read
    guarded: bool = False  # whether a cell is text to spreadsheets by an apostrophe, which is none of it

    def place_of(self, row: Row) -> str:
        """Where the row's file lies, in one spelling for all the ways to write it."""
        return os.path.normpath(os.path.join(self.root, row.file))


def read_table(path: str, root: str | None, columns: Mapping[str, str | None]) -> Table:
    """Read a table with a header, fields separated by comma, tab or semicolon, or as a first line ``sep=`` says.

    ``columns`` says how ``file``, ``label``, ``split`` and ``true_label`` are called; the last two, where that is None,
    are the columns of these names, if there are any. A column whose name differs in the case of letters alone is taken
    where none is called so exactly. ``root`` None is the table's own folder. Empty lines are passed over. Where all
    labels are whole numbers, ``3.0`` is read as ``3``, in labels and true labels. Raises InputError when the file is
    not there, is no such table, lacks a column, or has two that may be meant.
    """
    place = Path(path).expanduser()
    folder = Path(root).expanduser() if root else place.parent
    if not given_files.is_folder(folder):
        raise InputError(f"data.root={root} is not a folder: give the one that the files of {place} are relative to")
    text = table_text(place, f"data.path={place}")
    lines = filled_lines(text, _delimiter(place, text, str(columns["file"])), f"data.path={place}")
    header = next(lines)[1]
    at = _positions(header, columns, place)
    unread = _UnreadSplits({} if "split" in at else _others(header, at.values()))
    rows: list[Row] = []
    incomplete: list[int] = []
    blank_splits: list[int] = []
    guarded = False
    for line, fields in lines:
        if len(fields) <= max(at.values()) or not is_file_name(fields[at["file"]]):
            incomplete.append(line)
            continue
        found = {key: unguarded(fields[position]) for key, position in at.items()}
        guarded = guarded or any(found[key] != fields[position] for key, position in at.items())
        split = found.get("split", "")
        if "split" in at and not split:
            blank_splits.append(line)
        unread.see(fields)
        split = SPLIT_OF.get(split.lower(), split) or "train"
        rows.append(Row(line, found["file"], found["label"], split, found.get("true_label", "")))
    return Table(
        place,
        folder,
        tuple(_with_whole_numbers(rows)),
        tuple(incomplete),
        {key: header[position] for key, position in at.items()},
        tuple(blank_splits),
        unread.names(),
        guarded,
    )


def table_text(place: Path, called: str) -> str:
    """The text of a table. Raises InputError, which says what it is ``called``, when it cannot be read as UTF-8."""
    try:
        return given_files.read_text(place)
    except OSError as error:
        raise InputError(f"{called} cannot be read ({error.strerror}): give a CSV file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{called} is not UTF-8 text (byte {error.start}): save it as such") from error


def delimiter_of(text: str, column: str, fewest: int) -> str | None:
    """What separates the fields of a table: under which its header has that column, and as many as the ``fewest``.

    None where neither a delimiter that the table declares nor one of ``DELIMITERS`` does.
    """
    declared = DECLARATION.match(text)
    for delimiter in (*(declared[1] if declared else ""), *DELIMITERS):
        fields = header_fields(text, delimiter)
        if columns_named(fields, column) and len(fields) >= fewest:
            return delimiter
    return None


def filled_lines(text: str, delimiter: str, called: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table that are not empty, by number, with the fields stripped; a declaration is as good as empty.

    Raises InputError, which says what the table is ``called`` and where a line begins that cannot be parsed: one whose
    quote is never closed, say.
    """
    table = io.StringIO(DECLARATION.sub("\n", text), newline="")
    reader = csv.reader(table, delimiter=delimiter, skipinitialspace=True, strict=True)
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
    """What the header of a table holds, if that is its delimiter; nothing where it cannot be parsed so."""
    try:
        fields = next(csv.reader([header_line(text)], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [field.strip() for field in fields]


def header_line(text: str) -> str:
    """The first line that is neither empty nor a declaration."""
    return DECLARATION.sub("", text).lstrip("\r\n").partition("\n")[0]


def is_file_name(text: str) -> bool:
    """Whether a field may name a file: a NUL, which no name holds, is of a damaged table."""
    return bool(text) and "\0" not in text


def named_again(line: int) -> str:
    """Why a row is left out whose file a row before it has named already, and that row is not."""
    return f"names the file of line {line} again"


def is_named_again(reason: str) -> bool:
    return re.fullmatch(named_again(0).replace("0", r"\d+"), reason) is not None


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels in the one order of classes: as numbers where all are whole numbers, else as text."""
    distinct = set(labels)
    if all(WHOLE.fullmatch(label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label.partition(".")[0]), label)))
    return tuple(sorted(distinct))


def as_read(labels: Iterable[str]) -> dict[str, str]:
    """What each of the labels of a table's training rows is once the table is read."""
    names = {label: label.strip() for label in labels}
    return {label: _whole(name) for label, name in names.items()} if _are_whole(names.values()) else names


def _are_whole(names: Iterable[str]) -> bool:
    return all(WHOLE.fullmatch(name) for name in names)


def _with_whole_numbers(rows: list[Row]) -> list[Row]:
    """The rows without the ``.0`` that a column of whole numbers with gaps is written with, if all labels are such."""
    if not _are_whole(row.label for row in rows if row.split == "train" and row.label):
        return rows
    return [replace(row, label=_whole(row.label), true_label=_whole(row.true_label)) for row in rows]


def _whole(text: str) -> str:
    return text.partition(".")[0] if WHOLE.fullmatch(text) else text


def _delimiter(place: Path, text: str, file_column: str) -> str:
    if delimiter := delimiter_of(text, file_column, fewest=2):
        return delimiter
    header = header_line(text).strip()
    named = re.search(rf"(?<!\w){re.escape(file_column)}(?!\w)", header, re.IGNORECASE)
    if named and named[0] != header and not any(delimiter in header for delimiter in DELIMITERS):
        raise InputError(
            f"data.path={place}: its first line ({header[:80]!r}) is not separated by {DELIMITERS_IN_WORDS}: save it so"
        )
    raise InputError(
        f"data.path={place}: its first line has no column {file_column!r} beside others ({header[:80]!r}): name the "
        f"column of files with data.columns.file=NAME, if it is separated by {DELIMITERS_IN_WORDS}"
    )


def _positions(header: Sequence[str], names: Mapping[str, str | None], place: Path) -> dict[str, int]:
    at: dict[str, int] = {}
    for key, given in names.items():
        name = given or key
        found = columns_named(header, name)
        if len(found) > 1:
            spelled = " and ".join(repr(header[position]) for position in found)
            remedy = "rename all but one" if name in header else f"say which with data.columns.{key}=NAME"
            raise InputError(f"data.path={place} has the columns {spelled}: {remedy}")
        if found:
            at[key] = found[0]
        elif given or key not in OPTIONAL:
            raise InputError(
                f"data.path={place} has no column {name!r} (only {', '.join(header)}): set data.columns.{key}=NAME"
            )
    _check_distinct(at, header, place)
    return at


def _check_distinct(at: Mapping[str, int], header: Sequence[str], place: Path) -> None:
    """Raises InputError where a column is to be two things; that given labels are the true ones may be meant."""
    keys: dict[int, str] = {}
    for key, position in at.items():
        other = keys.setdefault(position, key)
        if other != key and {other, key} != {"label", "true_label"}:
            raise InputError(
                f"data.path={place}: data.columns.{other} and data.columns.{key} are both its column "
                f"{header[position]!r}: set one of them to another"
            )


def columns_named(header: Sequence[str], name: str) -> list[int]:
    """Where the columns of that name are, or, where there is none, of one that differs in the case of letters."""
    exact = [position for position, each in enumerate(header) if each == name]
    return exact or [position for position, each in enumerate(header) if each.casefold() == name.casefold()]


def _others(header: Sequence[str], read: Iterable[int]) -> dict[int, str]:
    """Columns that have a name and are not read, by position."""
    taken = set(read)
    return {position: name for position, name in enumerate(header) if name and position not in taken}


class _UnreadSplits:
    """Looks for columns that hold splits under another name: nothing but the words for them, train among others."""

    def __init__(self, columns: Mapping[int, str]) -> None:
        """``columns`` are names by position."""
        self._left = dict(columns)
        self._found: dict[int, set[str]] = {position: set() for position in columns}

    def see(self, fields: Sequence[str]) -> None:
        """A row's fields."""
        for position in tuple(self._left):
            word = fields[position].lower() if position < len(fields) else ""
            if word and word not in SPLIT_OF:
                del self._left[position]
            elif word:
                self._found[position].add(SPLIT_OF[word])

    def names(self) -> tuple[str, ...]:
        """The columns that hold splits, as far as has been seen."""
        found = self._found
        return tuple(name for at, name in self._left.items() if "train" in found[at] and len(found[at]) > 1)
