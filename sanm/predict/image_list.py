"""Which images a command line names: files, folders, and tables of files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sanm.data.datasets.image_folder import check_names
from sanm.errors import InputError
from sanm.image_table import (
    columns_named,
    delimiter_of,
    filled_lines,
    header_fields,
    header_line,
    is_file_name,
    table_text,
)
from sanm.image_tree import EXTENSIONS, files_below, is_image, no_images

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


def listed(given: Sequence[str], root: str | None = None, column: str | None = None) -> list[ImageFile]:
    """The images of files, folders (by path) and tables (in their order), as often as they are named.

    Names in tables, which stand in ``column`` (None: ``file``), are relative to ``root`` (None: the table's folder).
    Raises InputError for what is not there, for a folder without images, for a table without files, and for a root or
    column without a table; warns about files in folders that are no images by their names.
    """
    places = [Path(each).expanduser() for each in given]
    _check_for_tables(places, root, column)
    found = [image for place in places for image in _of_one(place, root, column or COLUMN)]
    check_names([image.name for image in found], Path.cwd())
    return found


def _check_for_tables(places: Sequence[Path], root: str | None, column: str | None) -> None:
    for option, value in (("--root", root), ("--column", column)):
        if value is not None and not any(_is_table(place) for place in places):
            raise InputError(f"{option} {value}: is for tables ({' '.join(TABLES)}), and IMAGES has none: leave it out")
    if root is not None and not Path(root).expanduser().is_dir():
        raise InputError(f"--root {root} is not a folder: give the one that the names in tables are relative to")


def _is_table(place: Path) -> bool:
    return place.suffix.lower() in TABLES and not place.is_dir()


def _of_one(place: Path, root: str | None, column: str) -> list[ImageFile]:
    if place.is_dir():
        files = sorted(files_below(place))
        paths = [path for path in files if is_image(path)]
        if not paths:
            raise InputError(f"{place} has no images ({' '.join(EXTENSIONS)}): give another folder, or the files")
        if said := no_images(files, str(place)):
            warnings.warn(said, stacklevel=4)
        return [ImageFile(str(path), path) for path in paths]
    if not place.exists():
        raise InputError(f"{place} is not there: give images, folders of them, or CSV files with a column {column}")
    if _is_table(place):
        return _in_table(place, Path(root).expanduser() if root else place.parent, column)
    return [ImageFile(str(place), place)]


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
        found.append(ImageFile(fields[position], root / fields[position], Line(table, number, root)))
    if not found:
        raise InputError(f"{table} names no files: it has a header alone")
    return found
