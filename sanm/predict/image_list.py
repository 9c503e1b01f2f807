"""Which images a command line names: files, folders, and tables of files."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sanm.data.datasets.image_folder import check_names
from sanm.errors import InputError
from sanm.formats.image_table import (
    columns_named,
    delimiter_of,
    filled_lines,
    header_fields,
    header_line,
    is_file_name,
    table_text,
)
from sanm.formats.image_tree import EXTENSIONS, Tree, not_read, tree_below
from sanm.formats.spreadsheet import unguarded
from sanm.given_files import is_folder

TABLES = (".csv", ".tsv")
COLUMN = "file"


class Line(NamedTuple):
    """Where a table names an image."""

    table: Path
    number: int
    root: Path  # what the names are relative to

    def __str__(self) -> str:
        return f"{self.table}, line {self.number}"


class ImageFile(NamedTuple):
    """An image as it is called, which is as its table has it, and where it lies."""

    name: str
    path: Path
    line: Line | None = None


def listed(
    given: Sequence[str], root: str | None = None, column: str | None = None, skip_bad: bool = False
) -> list[ImageFile]:
    """The images of files, folders (by path) and tables (in their order), as often as they are named.

    Names in tables, which stand in ``column`` (None: ``file``), are relative to ``root`` (None: the table's folder).
    Raises InputError for what is not there, for a folder without images or, unless bad ones are to be skipped, with one
    below it that cannot be listed, for a table without files, and for a root or column without a table; warns about
    what lies in folders and is left out.
    """
    places = [Path(each).expanduser() for each in given]
    _check_for_tables(places, root, column)
    found = [image for place in places for image in _of_one(place, root, column or COLUMN, skip_bad)]
    check_names([image.name for image in found], Path.cwd())
    return found


def _check_for_tables(places: Sequence[Path], root: str | None, column: str | None) -> None:
    for option, value in (("--root", root), ("--column", column)):
        if value is not None and not any(_is_table(place) for place in places):
            raise InputError(f"{option} {value}: is for tables ({' '.join(TABLES)}), and IMAGES has none: leave it out")
    if root is not None and not is_folder(Path(root).expanduser()):
        raise InputError(f"--root {root} is not a folder: give the one that the names in tables are relative to")


def _is_table(place: Path) -> bool:
    return place.suffix.lower() in TABLES and not is_folder(place)


def _of_one(place: Path, root: str | None, column: str, skip_bad: bool) -> list[ImageFile]:
    if is_folder(place):
        below = tree_below(place)
        _refuse_or_name_closed(below, skip_bad)
        paths = sorted(below.images())
        if not paths:
            raise InputError(f"{place} has no images ({' '.join(EXTENSIONS)}): give another folder, or the files")
        for said in not_read(below, str(place)):
            warnings.warn(said, stacklevel=4)
        return [ImageFile(str(path), path) for path in paths]
    if not place.exists():
        raise InputError(f"{place} is not there: give images, folders of them, or CSV files with a column {column}")
    if _is_table(place):
        return _in_table(place, Path(root).expanduser() if root else place.parent, column)
    return [ImageFile(str(place), place)]


def _refuse_or_name_closed(below: Tree, skip_bad: bool) -> None:
    for folder in below.unreadable:
        if not skip_bad:
            raise InputError(f"{folder.path} {folder.reason}: open it, or give --skip_bad to leave such out")
        print(f"left out {folder.path} {folder.reason}", file=sys.stderr, flush=True)


def _in_table(table: Path, root: Path, column: str) -> list[ImageFile]:
    text = table_text(table, str(table))
    delimiter = delimiter_of(text, column, fewest=1)
    if delimiter is None:
        header = header_line(text).strip()[:80]
        raise InputError(
            f"{table}: its first line has no column {column!r} ({header!r}): name the column of files with --column"
        )
    position, *others = columns_named(header_fields(text, delimiter), column)
    if others:
        raise InputError(
            f"{table} has {len(others) + 1} columns {column!r}: name another with --column, or rename them"
        )
    lines = filled_lines(text, delimiter, str(table))
    next(lines)  # the header
    found: list[ImageFile] = []
    for number, fields in lines:
        if len(fields) <= position or not is_file_name(fields[position]):
            raise InputError(f"{table}, line {number}: names no file; mend it, or remove it")
        name = unguarded(fields[position])
        found.append(ImageFile(name, root / name, Line(table, number, root)))
    if not found:
        raise InputError(f"{table} names no files: it has a header alone")
    return found
