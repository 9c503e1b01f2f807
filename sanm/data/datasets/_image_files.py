"""What all data sets of image files share: where they lie, at which size, and parts that decode what is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sanm.data.datasets._decoded import DecodedImages, left_out
from sanm.data.types import Decoded, Labels, Part
from sanm.errors import InputError


def root_of(settings: Mapping[str, Any], expected: str) -> Path:
    """The folder ``data.root``. Raises InputError, with what is ``expected`` in it, when it is not set or not there."""
    given = settings.get("root")
    if not given:
        raise InputError(f"data.root is not set: set data.root=FOLDER; {expected}")
    root = Path(given).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root={given} is not a folder; {expected}")
    return root


def image_size_of(settings: Mapping[str, Any]) -> int:
    """The side in pixels that images are decoded to. Raises InputError unless it is a whole number, at least 1."""
    size = settings["image_size"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"data.image_size={size}: must be a whole number of pixels, at least 1")
    return size


def decoded_images(settings: Mapping[str, Any], root: Path, cache_dir: Path) -> DecodedImages:
    """The cache of the images below ``root`` that ``data.image_size`` and ``data.cache_dir`` choose."""
    return DecodedImages(root, image_size_of(settings), settings.get("cache_dir"), cache_dir)


def file_part(decoded: DecodedImages, name: str, keys: Sequence[str], labels: Sequence[int], skip_bad: bool) -> Part:
    """A part of image files: ``keys`` relative to the root or absolute.

    What is asked for is decoded, and kept under the part's name and a hash of what was asked for, so that selections
    and lists of one folder do not take each other's place.
    """

    def decode(positions: Labels) -> Decoded:
        wanted = [keys[position] for position in positions]
        called = hashlib.sha256("\n".join(wanted).encode(errors="surrogateescape")).hexdigest()[:10]
        pixels, bad = decoded.read(f"{name}-{called}", wanted, skip_bad)
        good = positions if not bad else np.delete(positions, sorted(bad))
        return Decoded(torch.from_numpy(pixels), good, left_out(wanted, bad))

    return Part(np.asarray(labels, dtype=np.int64), tuple(keys), decode)
