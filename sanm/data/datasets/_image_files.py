"""What all data sets of image files share: where they lie, at which size, and parts that decode what is asked for."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sanm import given_files
from sanm.data.bad_entries import refuse_or_leave_out
from sanm.data.datasets._contents import Contents
from sanm.data.datasets._decoded import DecodedImages, left_out
from sanm.data.types import Decoded, Labels, LeftOut, Part
from sanm.errors import InputError


@dataclass
class Entries:
    """Samples of a part: names with labels, and the names that are bad."""

    keys: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    bad: list[LeftOut] = field(default_factory=list)

    def add(self, key: str, label: int) -> None:
        self.keys.append(key)
        self.labels.append(label)

    def reject(self, key: str, reason: str) -> None:
        self.bad.append(LeftOut(key, reason))


def root_of(settings: Mapping[str, Any], expected: str) -> Path:
    """The folder ``data.root``. Raises InputError, with what is ``expected`` in it, when it is not set or not there."""
    given = settings.get("root")
    if not given:
        raise InputError(f"data.root is not set: set data.root=FOLDER; {expected}")
    root = Path(given).expanduser()
    if not given_files.is_folder(root):
        raise InputError(f"data.root={given} is not a folder; {expected}")
    return root


class FileParts:
    """Makes the parts of one data set of image files, and gathers what is left out of its lists.

    ``root`` is what names are relative to; ``data.image_size``, ``data.cache_dir`` and ``data.skip_bad`` count.
    """

    def __init__(
        self, settings: Mapping[str, Any], root: Path, cache_dir: Path, contents: Contents | None = None
    ) -> None:
        self._name, self._skip_bad = settings["name"], bool(settings.get("skip_bad"))
        self._decoded = DecodedImages(
            root,
            settings["image_size"],
            settings.get("cache_dir"),
            cache_dir,
            background=settings.get("background"),
            contents=contents,
        )
        self.left_out: list[LeftOut] = []

    def leave_out(self, bad: Sequence[LeftOut], where: Path) -> None:
        """Note bad entries of the list ``where``. Raises InputError, one line, unless they are to be skipped."""
        self.left_out.extend(refuse_or_leave_out(bad, str(where), self._skip_bad))

    def part(self, split: str, entries: Entries, where: Path) -> Part | None:
        """A part of the files that ``entries`` names; None when there are none.

        What is asked for is decoded, and kept under the part's name and a hash of what was asked for, so that
        selections and lists of one folder do not take each other's place. Raises InputError as ``leave_out`` does.
        """
        self.leave_out(entries.bad, where)
        if not entries.keys:
            return None
        keys = tuple(entries.keys)

        def decode(positions: Labels) -> Decoded:
            wanted = [keys[position] for position in positions]
            called = hashlib.sha256("\n".join(wanted).encode(errors="surrogateescape")).hexdigest()[:10]
            found = self._decoded.read(f"{self._name}-{split}-{called}", wanted, self._skip_bad)
            good = positions if not found.bad else np.delete(positions, sorted(found.bad))
            return Decoded(found.images, good, left_out(wanted, found.bad), found.likeness)

        return Part(np.asarray(entries.labels, dtype=np.int64), keys, decode)
