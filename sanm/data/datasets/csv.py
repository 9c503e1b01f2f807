"""Images of your own with their labels in a table: file, label, and perhaps split, true label.

Classes are the labels of the training rows, by name, or by number where all are whole numbers. True labels are for
scoring alone; a row may lack one.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sanm.data.datasets._class_names import check_classes, warn_of_absent
from sanm.data.datasets._image_files import Entries, FileParts
from sanm.data.types import UNKNOWN, LeftOut, Part, Source
from sanm.errors import InputError
from sanm.formats.image_table import SPLITS, Row, Table, class_names, named_again, read_table


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]`` of the table ``data.path``, in its order.

    A test row's label is its true label where it has one. Raises InputError for a table or root that is not there, for
    fewer than two classes, for nearly as many classes as images, and, unless ``data.skip_bad``, for rows that cannot be
    used, with the line of the first; warns about splits that are not said, about classes that a part lacks, and about
    labels that look wrong.
    """
    if not settings.get("path"):
        raise InputError("data.path is not set: set data.path=FILE, a CSV file with the columns file and label")
    table = read_table(str(settings["path"]), settings.get("root"), settings["columns"])
    _warn_of_splits(table)
    parts = FileParts(settings, table.root, cache_dir)
    whole = _usable(table, parts)
    labels = [row.label for row in whole if row.split == "train"]
    names = class_names(labels)
    if len(names) < 2:
        raise InputError(f"{table.path} has {len(names)} classes among its training rows: two or more are needed")
    column = table.columns["label"]
    check_classes(str(table.path), labels, f"is {column!r} the right column? Set data.columns.label=NAME if it is not")
    number = {name: label for label, name in enumerate(names)}
    foreign = [row for row in whole if _label(row) not in number]
    parts.leave_out(
        [_bad(row, f"has the label {_label(row)!r}, which no training row has") for row in foreign], table.path
    )
    good = [row for row in whole if _label(row) in number]

    def part(split: str) -> Part | None:
        rows = [row for row in good if row.split == split]
        if rows and split != "train":
            warn_of_absent(f"{table.path}: its {split} part", names, {_label(row) for row in rows})
        entries = Entries([row.file for row in rows], [number[_label(row)] for row in rows])
        return parts.part(split, entries, table.path)

    train = part("train")
    assert train is not None  # as there are classes
    truth = [_true_number(row.true_label, number) for row in good if row.split == "train"]
    _warn_of_foreign_truth(good, truth, len(names), table)
    return Source(
        train=train,
        test=part("test"),
        validation=part("validation"),
        class_names=names,
        true_labels=np.array(truth, dtype=np.int64),
        left_out=tuple(parts.left_out),
    )


def _warn_of_splits(table: Table) -> None:
    if table.unread_splits:
        first = table.unread_splits[0]
        warnings.warn(
            f"{table.path}: all rows are trained on, though its column {first!r} looks like their split: set "
            f"data.columns.split={first} if it is",
            stacklevel=3,
        )
    if table.blank_splits:
        count = len(table.blank_splits)
        warnings.warn(
            f"{table.path}: {count} {'row has' if count == 1 else 'rows have'} no {table.columns['split']} (the first: "
            f"line {table.blank_splits[0]}), which counts as train",
            stacklevel=3,
        )


def _label(row: Row) -> str:
    return row.true_label or row.label if row.split == "test" else row.label


def _true_number(text: str, number: Mapping[str, int]) -> int:
    """A class that no training row gives is another thing: the number of classes."""
    return number.get(text, len(number)) if text else UNKNOWN


def _warn_of_foreign_truth(rows: list[Row], truth: list[int], classes: int, table: Table) -> None:
    known = [label for label in truth if label != UNKNOWN]
    if known and min(known) == classes:
        first = next(row for row in rows if row.split == "train" and row.true_label)
        warnings.warn(
            f"{table.path}: none of its {len(known)} true labels is one of the classes (line {first.line}: "
            f"{first.true_label!r}), so all labels count as wrong: write both columns alike",
            stacklevel=3,
        )


def _usable(table: Table, parts: FileParts) -> list[Row]:
    """The rows that have a split, a label, and a file of their own; the others are left out, or refused."""
    seen = dict[str, int]()
    good: list[Row] = []
    bad = [LeftOut(f"line {line}", "has too few fields, or no file") for line in table.incomplete]
    for row in table.rows:
        place = table.place_of(row)
        reason = _reason(row, seen.get(place))
        seen.setdefault(place, row.line)
        if reason:
            bad.append(_bad(row, reason))
        else:
            good.append(row)
    parts.leave_out(sorted(bad, key=lambda each: int(each.key.split()[1])), table.path)
    return good


def _bad(row: Row, reason: str) -> LeftOut:
    return LeftOut(f"line {row.line} ({row.file})", reason)


def _reason(row: Row, named_before: int | None) -> str:
    """What is wrong with a row, whose file the line ``named_before`` has too; empty where nothing is."""
    if row.split not in SPLITS:
        return f"has the split {row.split!r}, which is none of {', '.join(SPLITS)}"
    if not row.label:
        return "has no label"
    return "" if named_before is None else named_again(named_before)
