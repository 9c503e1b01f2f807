"""Which files below a folder are images of a data set.

Light, since the analysis reads the same folders.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from sanm.errors import InputError
from sanm.formats.image_table import class_names
from sanm.given_files import is_of_system

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip

LEFT_BY_MACHINES = (
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", ".@__thumb", "#recycle", "#snapshot",  # disks on the network
    ".ds_store", "._*", ".appledouble", ".spotlight-v100", ".fseventsd", ".temporaryitems", "__macosx",  # Macs
    "thumbs.db", "ehthumbs*.db", "desktop.ini", "$recycle.bin", "system volume information",  # Windows
    "lost+found", ".thumbnails", ".trash*", ".directory", ".nfs*", ".fuse_hidden*",  # Linux
    ".ipynb_checkpoints", "__pycache__",
)  # fmt: skip
"""Files and folders that systems and programs put beside the user's own, by name, in whatever case of letters."""
_OF_A_MACHINE = re.compile("|".join(map(translate, LEFT_BY_MACHINES)), re.IGNORECASE)

MOST_KINDS = 5
"""Extensions, or names, that a line names."""
MOST_ENTRIES = 20_000_000
"""Files and folders that are looked at below one: a data set has fewer, a whole machine may have more."""
MOST_WAYS = 100
"""How often one folder may be reached by links: links to links multiply."""

Kind = Literal["file", "of a machine", "circle", "unreadable"]


class Entry(NamedTuple):
    """What a walk met: a file, something that a machine left, a link back, or a folder that cannot be listed."""

    path: Path
    kind: Kind
    is_folder: bool = False
    reason: str = ""  # why it cannot be listed


@dataclass
class Tree:
    """What lies below a folder, in the order of the walk."""

    files: list[Path] = field(default_factory=list)  # the user's own
    of_machines: list[Path] = field(default_factory=list)
    circles: list[Path] = field(default_factory=list)  # links to a folder that they lie in
    unreadable: list[Entry] = field(default_factory=list)

    def images(self) -> list[Path]:
        """The files that are images by their names."""
        return [path for path in self.files if is_image(path)]


def of_a_machine(name: str) -> bool:
    """Whether a file or folder of that name is one of ``LEFT_BY_MACHINES``."""
    return _OF_A_MACHINE.match(name) is not None


def ignored(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's: hidden, or left by a machine."""
    return name.startswith(".") or of_a_machine(name)


def tree_below(folder: Path) -> Tree:
    """All that lies below a folder, nothing where there is none. Raises InputError as ``walk`` does."""
    found = Tree()
    for entry in walk(folder):
        if entry.kind == "file":
            found.files.append(entry.path)
        elif entry.kind == "of a machine":
            found.of_machines.append(entry.path)
        elif entry.kind == "circle":
            found.circles.append(entry.path)
        else:
            found.unreadable.append(entry)
    return found


def images_below(folder: Path) -> list[Path]:
    """Image files anywhere below the folder; none where there is no such folder.

    Raises InputError as ``walk`` does, and for a folder that cannot be listed.
    """
    found = tree_below(folder)
    if found.unreadable:
        raise InputError(f"{found.unreadable[0].path} {found.unreadable[0].reason}: open it, or move it away")
    return found.images()


def class_folders(folder: Path) -> tuple[str, ...]:
    """The classes that the folders in it are, in their order. Raises InputError as ``folders_in`` does."""
    return class_names(folders_in(folder))


def folders_in(folder: Path, wanted: Callable[[str], bool] = lambda name: not ignored(name)) -> list[str]:
    """Names of the folders in a folder, sorted: the user's own, or those ``wanted``; links that lead back are none.

    Raises InputError for a folder that cannot be listed, or that leads to one that nobody can look at.
    """
    try:
        with os.scandir(folder) as listed:
            return sorted(e.name for e in listed if wanted(e.name) and e.is_dir() and not _leads_back(folder, e))
    except OSError as error:
        raise InputError(f"{error.filename or folder} {_reason(error)}: open it, or give another folder") from error


def _leads_back(folder: Path, entry: os.DirEntry[str]) -> bool:
    real = os.path.realpath(entry.path)
    return entry.is_symlink() and any(_is_within(place, real) for place in _real_folders_above(folder / entry.name))


def _real_folders_above(path: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(place) for place in path.absolute().parents))


def _is_within(inner: str, outer: str) -> bool:
    return f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")


class _Place(NamedTuple):
    path: Path
    real: str
    came_through: tuple[str, ...]  # the real folders that links on the way here lie in


def walk(folder: Path, enter: Callable[[Path], bool] = lambda place: True) -> Iterator[Entry]:
    """Everything below the folder that is not hidden, by name; links are followed, but not back to where they lie.

    Nothing is looked at below what a machine left, and below folders that ``enter`` refuses. Files are what is no
    folder: whether one is regular is asked when it is read. Raises InputError for a walk without an end that makes
    sense: into the system's own files, through links that multiply, or past ``MOST_ENTRIES``.
    """
    waiting = [_Place(folder, os.path.realpath(folder), _real_folders_above(folder))]
    ways, seen = Counter[str](), 0
    _check_not_of_system(waiting[0], folder)
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place.path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if place.path != folder or not isinstance(error, FileNotFoundError | NotADirectoryError):
                yield Entry(place.path, "unreadable", True, _reason(error))
            continue
        seen += len(entries)
        if seen > MOST_ENTRIES:
            raise InputError(f"{folder} has more than {MOST_ENTRIES} files and folders below it: give one with fewer")
        for entry in entries:
            met = _met(entry, place)
            if isinstance(met, Entry):
                if met.kind != "file" or not met.path.name.startswith("."):
                    yield met
            elif met is not None and enter(met.path):
                _check_not_of_system(met, folder)
                if met.came_through is not place.came_through:
                    ways[met.real] += 1
                    _check_ways(ways[met.real], met, folder)
                waiting.append(met)


def _met(entry: os.DirEntry[str], place: _Place) -> Entry | _Place | None:
    """What an entry of a folder is: a folder to go on with, something to tell of, or None for a hidden folder."""
    path = place.path / entry.name
    try:
        is_folder = entry.is_dir()
    except PermissionError as error:
        return None if ignored(entry.name) else Entry(path, "unreadable", True, _reason(error))
    except OSError:  # a link to itself, say: reading it tells
        is_folder = False
    if of_a_machine(entry.name):
        return Entry(path, "of a machine", is_folder)
    if not is_folder:
        return Entry(path, "file")
    if entry.name.startswith("."):
        return None
    if not entry.is_symlink():
        return _Place(path, os.path.join(place.real, entry.name), place.came_through)
    real, lain_in = os.path.realpath(path), (*place.came_through, place.real)
    if any(_is_within(inner, real) for inner in lain_in):
        return Entry(path, "circle", True)
    return _Place(path, real, lain_in)


def _reason(error: OSError) -> str:
    return f"cannot be read ({error.strerror})"


def _check_not_of_system(place: _Place, folder: Path) -> None:
    if is_of_system(place.real) or (place.real == "/dev" and place.path != folder):
        raise InputError(f"{place.path}, below {folder}, is of the system itself: give the folder of the data alone")


def _check_ways(count: int, place: _Place, folder: Path) -> None:
    if count > MOST_WAYS:
        raise InputError(
            f"{folder}: more than {MOST_WAYS} ways lead through links to {place.real}, one is {place.path}: remove "
            "links that lead to links"
        )


def is_image(path: PurePath) -> bool:
    """Whether a file is one by its name."""
    return path.name.lower().endswith(EXTENSIONS)


def not_read(tree: Tree, where: str) -> list[str]:
    """What is to be said, a line each, of what lies below ``where`` and is left out of its images."""
    return [*_no_images(tree.files, where), *_of_machines(tree.of_machines, where), *_circles(tree.circles, where)]


def _no_images(files: Iterable[Path], where: str) -> Iterator[str]:
    others = [path for path in files if not is_image(path)]
    if others:
        kinds = _some(path.suffix.lower() or "none" for path in others)
        are = "1 file below {} is no image" if len(others) == 1 else f"{len(others)} files below {{}} are no images"
        yield f"{are.format(where)} by the extension ({kinds}): left out"


def _of_machines(paths: list[Path], where: str) -> Iterator[str]:
    if paths:
        names = _some(path.name for path in paths)
        are = "1 file or folder below {} is" if len(paths) == 1 else f"{len(paths)} files and folders below {{}} are"
        yield f"{are.format(where)} of a kind that machines leave ({names}): left out"


def _circles(links: list[Path], where: str) -> Iterator[str]:
    if links:
        lead = "1 link below {} leads" if len(links) == 1 else f"{len(links)} links below {{}} lead"
        yield f"{lead.format(where)} back to a folder that it lies in (the first: {links[0]}): left out"


def _some(names: Iterable[str]) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:MOST_KINDS]) + (", ..." if len(distinct) > MOST_KINDS else "")
