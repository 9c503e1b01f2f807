"""Which files below a folder are images of a data set.

Light, since the analysis reads the same folders.
"""

from __future__ import annotations

import os
from pathlib import Path

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def ignored(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's: hidden, or left by an archive of a Mac."""
    return name.startswith(".") or name == "__MACOSX"


def images_below(folder: Path) -> list[Path]:
    """Image files anywhere below the folder, in no order; none where there is no such folder."""
    found: list[Path] = []
    visited: set[str] = set()  # links are followed, and may lead in a circle
    for place, subfolders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        subfolders[:] = [
            name
            for name in subfolders
            if not ignored(name) and os.path.realpath(os.path.join(place, name)) not in visited
        ]
        found += [Path(place, name) for name in files if not ignored(name) and name.lower().endswith(EXTENSIONS)]
    return found
