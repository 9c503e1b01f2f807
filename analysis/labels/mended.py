"""The data's labels with the suspected ones mended: what to train on next.

Everything that the run did not look at (test and validation rows, samples held out or beyond `data.subset`) stays as it
is. What is mended is written as a table for `data=csv`, or, for data without files, as labels for `noise=file`.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from analysis.labels.pictures import WITHOUT_FILES
from analysis.labels.places import Places
from analysis.labels.record import Record
from analysis.labels.retraining import command
from sanm.errors import InputError
from sanm.formats.image_table import as_read, class_names, is_named_again, read_table
from sanm.formats.image_tree import images_below
from sanm.formats.spreadsheet import table_text, unguarded
from sanm.given_files import is_folder

Fix = Literal["relabel", "remove"]
TABLE = "cleaned_labels.csv"
LABELS = "cleaned_labels.json"
COLUMNS = ("file", "label", "split", "true_label", "given_label")
LINE_OF_A_TABLE = re.compile(r"line \d+(?: \((.*)\))?", re.DOTALL)
"""How `left_out.csv` names a row of a table, and the file in it."""


@dataclass(frozen=True)
class Mended:
    """A file, what was done to its rows, and how to train on it."""

    name: str
    content: bytes
    relabelled: int
    removed: int
    kept: int  # suspected, but the prediction is not confident enough, or the review left them out
    unseen: int  # rows that the run did not train on; they are as they were
    corrected: int  # rows whose label is another by now than the run was given: it stays
    command: Callable[[Path], str]  # given the path of the file


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    split: str
    true_label: str = ""


@dataclass
class _Table:
    """The rows of the mended table, and what was done to them."""

    rows: list[tuple[str, ...]] = field(default_factory=list)  # as `COLUMNS`
    mended: int = 0
    mended_from: set[str] = field(default_factory=set)  # classes that lost samples
    unseen: int = 0
    corrected: int = 0
    there: set[str] = field(default_factory=set)  # which of the run's samples were found

    def add(self, row: _Row, label: str, given: str) -> None:
        self.rows.append((row.file, label, row.split, row.true_label, given))


def mended(
    record: Record,
    rows: pd.DataFrame,
    places: Places,
    fix: Fix,
    confidence: float,
    reviewed: pd.DataFrame | None = None,
) -> Mended:
    """The mended labels of a run, given its `verdicts`.

    `remove` leaves out all suspected samples; `relabel` gives those the predicted label whose confidence is at least
    `confidence`. Of `reviewed` rows all, and no others, are mended. Raises `InputError` when that cannot be done, with
    what can.
    """
    suspected = rows[rows["is_label_issue"]]
    chosen = _chosen(record, suspected, fix, confidence) if reviewed is None else reviewed
    if fix == "relabel":
        chosen = chosen[chosen["predicted_class"] != chosen["given_class"]]  # a review may confirm the given label
    kept = len(suspected.index.difference(chosen.index))
    if record.data.get("name") in WITHOUT_FILES:
        return _as_labels(record, chosen, kept, fix)
    return _as_table(record, chosen, kept, places, fix)


def _chosen(record: Record, suspected: pd.DataFrame, fix: Fix, confidence: float) -> pd.DataFrame:
    if fix == "remove":
        return suspected
    if confidence > 0 and suspected["confidence"].isna().any():
        raise InputError(
            f"--fix relabel: {record.path} is older than the record of confidence: give --confidence 0, which relabels "
            "all suspected samples"
        )
    return suspected[~(suspected["confidence"] < confidence)]


def _as_labels(record: Record, chosen: pd.DataFrame, kept: int, fix: Fix) -> Mended:
    name = record.data["name"]
    if fix == "remove":
        raise InputError(f"--fix remove: data={name} has no files for a table to leave out; only --fix relabel goes")
    if record.data.get("validation"):
        raise InputError(
            f"--fix relabel: data={name} takes labels for all its samples, and this run held "
            f"{100 * record.data['validation']:g} % out: make it with data.validation=0"
        )
    labels = record.given.copy()
    labels[chosen.index] = chosen["predicted_class"]

    def how(path: Path) -> str:
        return command(record, {"noise": "file", "noise.path": str(path)})

    content = json.dumps(labels.tolist()).encode()
    return Mended(LABELS, content, len(chosen), 0, kept, 0, 0, how)


def _as_table(record: Record, chosen: pd.DataFrame, kept: int, places: Places, fix: Fix) -> Mended:
    suggested = dict(zip(chosen["key"], chosen["predicted_label"], strict=True))
    table = _table(record, _rows(record, places), suggested, fix)
    if missing := len(suggested.keys() - table.there):
        raise InputError(
            f"--fix {fix}: {missing} of the samples to mend are not in the data any more: give --root FOLDER (and "
            "--table FILE for data=csv) where the data of this run are"
        )
    _check_names(table)
    _check_classes(table, fix)
    relabelled, removed = (table.mended, 0) if fix == "relabel" else (0, table.mended)
    assert places.root is not None  # or there was no table
    root = str(places.root.resolve())

    def how(path: Path) -> str:
        return command(record, {"data": "csv", "data.path": str(path), "data.root": root})

    return Mended(TABLE, _csv(table), relabelled, removed, kept, table.unseen, table.corrected, how)


def _table(record: Record, rows: list[_Row], suggested: Mapping[str, str], fix: Fix) -> _Table:
    given = dict(zip(record.keys, (record.class_names[label] for label in record.given.tolist()), strict=True))
    unusable, others = _left_out(record), _labels_are_others(record)
    table = _Table()
    for row in rows:
        if row.split != "train" or row.file not in given:
            if row.file not in unusable and (row.split != "train" or not others):
                table.add(row, row.label, row.label)
                table.unseen += 1
            continue
        table.there.add(row.file)
        was = given[row.file]
        if row.label not in (was, "") and not others:
            table.add(row, row.label, row.label)
            table.corrected += 1
        elif row.file not in suggested:
            table.add(row, was, was)
        else:
            table.mended += 1
            table.mended_from.add(was)
            if fix == "relabel":
                table.add(row, suggested[row.file], was)
    return table


def _check_classes(table: _Table, fix: Fix) -> None:
    """Raises `InputError` where a class that lost samples has none any more."""
    if gone := sorted(table.mended_from - {label for _, label, split, *_ in table.rows if split == "train"}):
        instead = "raise --confidence" if fix == "relabel" else "use --fix relabel"
        raise InputError(
            f"--fix {fix} would leave no training sample of {gone[0]!r}: {instead}, or mend fewer with --reviewed"
        )


def _check_names(table: _Table) -> None:
    """Raises `InputError` for classes of a folder that are one, or none, in a table: it keeps no space around names."""
    read: dict[str, str] = {}
    for label, name in as_read({label for _, label, split, *_ in table.rows if split == "train"}).items():
        other = read.setdefault(name, label)
        if other != label or not name:
            raise InputError(
                f"--fix: the classes {min(other, label)!r} and {max(other, label)!r} are one in a table, {name!r}: "
                "rename their folders, and make the run again"
            )


def _csv(table: _Table) -> bytes:
    truth = any(row[COLUMNS.index("true_label")] for row in table.rows)
    keep = [position for position, name in enumerate(COLUMNS) if truth or name != "true_label"]
    return table_text([row[position] for position in keep] for row in (COLUMNS, *table.rows)).encode()


def _labels_are_others(record: Record) -> bool:
    """Whether the run trained on other labels than the data has: those of samples that it did not see are then lost."""
    return (record.config.get("noise") or {}).get("name", "none") != "none"


def _rows(record: Record, places: Places) -> list[_Row]:
    """All of the data set, where its files can be found; else the run's own training samples."""
    name = record.data.get("name")
    if name == "csv":
        return _rows_of_table(record, places)
    if places.root is None or not is_folder(places.root):
        where = "the record does not say where the images are" if places.root is None else f"{places.root} is not there"
        raise InputError(f"--fix: {where}: give --root FOLDER, their data.root")
    if name == "image_folder":
        return _rows_of_folder(places.root)
    if not (places.root / record.keys[0]).is_file():
        raise InputError(
            f"--fix: {places.root} has no file {record.keys[0]}: data=csv needs files, and data={name} has none there"
        )
    names = record.class_names
    return [_Row(key, names[label], "train") for key, label in zip(record.keys, record.given.tolist(), strict=True)]


def _rows_of_table(record: Record, places: Places) -> list[_Row]:
    if places.table is None or not places.table.is_file():
        where = f"{places.table} is not there" if places.table else "the record does not say where the table is"
        raise InputError(f"--fix: {where}: give --table FILE, the data.path of the run")
    own = record.data.get("columns") or {}
    columns = {key: own.get(key) for key in ("file", "label", "split", "true_label")}
    table = read_table(str(places.table), str(places.root), columns)
    first = {table.place_of(row): row for row in reversed(table.rows)}  # the others were left out of the run
    distinct = (row for row in table.rows if first[table.place_of(row)] is row)
    return [_Row(row.file, row.label, row.split, row.true_label) for row in distinct]


def _rows_of_folder(root: Path) -> list[_Row]:
    """In the order of the data set: by class, then by path, so that a list of labels is of the table too."""
    found = []
    for split in ("train", "test"):
        keys = [path.relative_to(root).as_posix() for path in images_below(root / split)]
        rows = [_Row(key, key.split("/")[1], split) for key in keys if key.count("/") > 1]
        number = {name: label for label, name in enumerate(class_names(row.label for row in rows))}
        found += sorted(rows, key=lambda row: (number[row.label], row.file))
    return found


def _left_out(record: Record) -> set[str]:
    """Files that could not be used, by the run's `left_out.csv`; a table's are named there as `line 3 (FILE)`."""
    try:
        text = (record.path / "left_out.csv").read_text(encoding="utf-8")
    except FileNotFoundError:
        return set()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    return {_file(unguarded(row["key"])) for row in rows if not is_named_again(row["reason"])}


def _file(key: str) -> str:
    line = LINE_OF_A_TABLE.fullmatch(key)
    return (line[1] or "") if line else key
