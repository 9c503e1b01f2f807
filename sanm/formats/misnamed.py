"""Why a file that a list names is not there, as far as its name and what lies beside it tell.

Light, as ``sanm.formats.image_table`` is.
"""

import os
import re
import unicodedata
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from sanm.formats.image_tree import is_image

UNICODE_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
"""``é`` as one sign and as two; macOS writes names in the second, nearly everybody else in the first."""
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_no_path(name: str) -> bool:
    """Whether a name leads nowhere below any folder, as it is written: an address, or one that a shell would read."""
    return bool(ADDRESS.match(name)) or name.startswith("~")


class _Listing(NamedTuple):
    """What a folder holds, by the name in small letters, and its images by that name without the extension."""

    by_name: dict[str, str]
    by_stem: dict[str, str]


class Misnamed:
    """Names, relative to a root or absolute, of files that are not there. A folder is listed once for all of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listings: dict[Path, _Listing] = {}

    def hint(self, name: str) -> str:
        """What is wrong with a name, or what lies there instead; empty where nothing is seen."""
        if ADDRESS.match(name):
            return "it is an address, and images are read from files: fetch it, and write the file's name"
        if name.startswith("~"):
            return "~ stands for no folder in a table: write the whole path"
        if "\\" in name:
            return "names are written with /, and this one has a backslash"
        for form in UNICODE_FORMS:
            other = unicodedata.normalize(form, name)
            if other != name and os.path.exists(self._root / other):
                return f"a file is there whose name looks the same, in the Unicode form {form}: write the name so"
        return self._beside(PurePath(name)) or self._elsewhere(PurePath(name))

    def _beside(self, name: PurePath) -> str:
        """A file, or a folder on the way to it, that is called nearly so."""
        there = PurePath(name.anchor)
        for part in name.parts[len(there.parts) :]:
            if os.path.exists(self._root / there / part):
                there /= part
                continue
            listing, last = self._listing(self._root / there), there / part == name
            near = listing.by_name.get(part.lower())
            if near is None and last:
                near = listing.by_stem.get(part.lower()) or listing.by_stem.get(PurePath(part).stem.lower())
            return f"{there / near} lies there" if near else ""
        return ""

    def _elsewhere(self, name: PurePath) -> str:
        """The file under a folder above the root, or without the first folders of its name."""
        if name.is_absolute():
            return ""
        within = (self._root.joinpath(*name.parts[first:]) for first in range(1, len(name.parts)))
        found = next((path for path in (*within, self._root.absolute().parent / name) if os.path.isfile(path)), None)
        return f"{found} is there" if found else ""

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._listings:
            try:
                names = sorted(os.listdir(folder), reverse=True)  # of several the first stays
            except OSError:
                names = []
            images = [name for name in names if is_image(PurePath(name))]
            self._listings[folder] = _Listing(
                {name.lower(): name for name in names}, {PurePath(name).stem.lower(): name for name in images}
            )
        return self._listings[folder]
