"""Which files below a folder are images of a data set.

Light, since the analysis reads the same folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip

MOST_KINDS = 5
"""Extensions that a line names."""


def ignored(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's: hidden, or left by an archive of a Mac."""
    return name.startswith(".") or name == "__MACOSX"


def images_below(folder: Path) -> list[Path]:
    """Image files anywhere below the folder, in no order; none where there is no such folder."""
    return [path for path in files_below(folder) if is_image(path)]


def files_below(folder: Path) -> list[Path]:
    """All files anywhere below the folder that are the user's, in no order."""
    found: list[Path] = []
    visited: set[str] = set()  # links are followed, and may lead in a circle
    for place, subfolders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        subfolders[:] = [
            name
            for name in subfolders
            if not ignored(name) and os.path.realpath(os.path.join(place, name)) not in visited
        ]
        found += [Path(place, name) for name in files if not ignored(name)]
    return found


def is_image(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.name.lower().endswith(EXTENSIONS)


def no_images(files: Iterable[Path], where: str) -> str:
    """What is to be said of those files below ``where`` that are no images by their names; nothing without any."""
    others = [path for path in files if not is_image(path)]
    if not others:
        return ""
    kinds = sorted({path.suffix.lower() or "none" for path in others})
    named = ", ".join(kinds[:MOST_KINDS]) + (", ..." if len(kinds) > MOST_KINDS else "")
    are = "1 file below {} is no image" if len(others) == 1 else f"{len(others)} files below {{}} are no images"
    return f"{are.format(where)} by the extension ({named}): left out"
