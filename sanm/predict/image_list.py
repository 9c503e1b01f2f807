"""Which images a command line names: files, folders, and tables of files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sanm.data.datasets.image_folder import check_names
from sanm.errors import InputError
from sanm.image_table import DELIMITERS, filled_lines, header_fields, is_file_name
from sanm.image_tree import EXTENSIONS, files_below, is_image, no_images

TABLES = (".csv", ".tsv")
COLUMN = "file"


class ImageFile(NamedTuple):
    """An image as it is called, which is as its table has it, and where it lies."""

    name: str
    path: Path


def listed(given: Sequence[str]) -> list[ImageFile]:
    """The images of files, folders (by path) and tables (in their order), as often as they are named.

    Raises InputError for what is not there, for a folder without images, and for a table without files;
    warns about files in folders that are no images by their names.
    """
    found = [image for each in given for image in _of_one(Path(each).expanduser())]
    check_names([image.name for image in found], Path.cwd())
    return found


def _of_one(place: Path) -> list[ImageFile]:
    if place.is_dir():
        files = sorted(files_below(place))
        paths = [path for path in files if is_image(path)]
        if not paths:
            raise InputError(f"{place} has no images ({' '.join(EXTENSIONS)}): give another folder, or the files")
        if said := no_images(files, str(place)):
            warnings.warn(said, stacklevel=4)
        return [ImageFile(str(path), path) for path in paths]
    if not place.exists():
        raise InputError(f"{place} is not there: give images, folders of them, or CSV files with a column {COLUMN}")
    if place.suffix.lower() in TABLES:
        return [ImageFile(name, place.parent / name) for name in _files_in(place)]
    return [ImageFile(str(place), place)]


def _files_in(table: Path) -> list[str]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{table} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text (byte {error.start}): save it as such") from error
    for delimiter in DELIMITERS:
        names = header_fields(text, delimiter)
        if COLUMN in names:
            return _column(table, text, delimiter, names.index(COLUMN))
    header = text.partition("\n")[0]
    raise InputError(f"{table}: its first line has no column {COLUMN!r} ({header.strip()[:80]!r}): name one so")


def _column(table: Path, text: str, delimiter: str, position: int) -> list[str]:
    found: list[str] = []
    for line, fields in filled_lines(text, delimiter, str(table)):
        if len(fields) <= position or not is_file_name(fields[position]):
            raise InputError(f"{table}, line {line}: names no file; mend it, or remove it")
        found.append(fields[position])
    if len(found) < 2:
        raise InputError(f"{table} names no files: it has a header alone")
    return found[1:]
