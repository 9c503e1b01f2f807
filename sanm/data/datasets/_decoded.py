"""Image files as one uint8 array, decoded once and kept beside them."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sanm.errors import InputError
from sanm.files import write_atomically

Pixels = NDArray[np.uint8]


class DecodedImages:
    """Decoded images of one root folder at one size.

    They are kept in ``chosen`` when it is given, else in ``root/.sanm_cache`` or, where that cannot be written, below
    ``fallback``. Each part is ``<part>-<size>.npy`` and a JSON file with the path, bytes and modification time of
    every image; an array is used only while these are what is on the disk.
    """

    def __init__(self, root: Path, size: int, chosen: str | None, fallback: Path) -> None:
        self.root, self.size = root, size
        own = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
        if chosen:
            self.places = [Path(chosen).expanduser() / own]
        else:
            self.places = [root / ".sanm_cache", fallback / "image_folder" / own]

    def read(self, part: str, keys: Sequence[str]) -> Pixels:
        """RGB pixels ``[N, 3, size, size]`` of the files ``keys``, relative to the root, in their order.

        Raises InputError that names a file which cannot be read or decoded. A cache that cannot be written is only a
        warning.
        """
        fingerprint = self._fingerprint(keys)
        for place in self.places:
            kept = self._kept(place, part, fingerprint)
            if kept is not None:
                return kept
        pixels = self._decoded(keys)
        self._keep(part, fingerprint, pixels)
        return pixels

    def _fingerprint(self, keys: Sequence[str]) -> dict[str, Any]:
        files = []
        for key in keys:
            try:
                status = os.stat(self.root / key)
            except OSError as error:
                raise InputError(f"{self.root / key} cannot be read ({error.strerror}): repair or remove it") from error
            files.append([key, status.st_size, status.st_mtime_ns])
        return {"image_size": self.size, "files": files}

    def _paths(self, place: Path, part: str) -> tuple[Path, Path]:
        return place / f"{part}-{self.size}.npy", place / f"{part}-{self.size}.json"

    def _kept(self, place: Path, part: str, fingerprint: dict[str, Any]) -> Pixels | None:
        array, description = self._paths(place, part)
        try:
            if json.loads(description.read_text()) != fingerprint:
                return None
            pixels: Pixels = np.load(array)
        except (OSError, ValueError, EOFError):  # absent or damaged: as good as none
            return None
        expected = (len(fingerprint["files"]), 3, self.size, self.size)
        return pixels if pixels.shape == expected and pixels.dtype == np.uint8 else None

    def _keep(self, part: str, fingerprint: dict[str, Any], pixels: Pixels) -> None:
        reason = ""
        for place in self.places:
            array, description = self._paths(place, part)
            try:
                place.mkdir(parents=True, exist_ok=True)
                # A description stands only beside the array it describes, whenever this is interrupted.
                description.unlink(missing_ok=True)
                write_atomically(array, partial(np.save, arr=pixels))
                write_atomically(description, lambda handle: handle.write(json.dumps(fingerprint).encode()))
                return
            except (OSError, InputError) as error:
                reason = str(error)
        warnings.warn(
            f"decoded images are not kept, the next run decodes again (data.cache_dir): {reason}", stacklevel=4
        )

    def _decoded(self, keys: Sequence[str]) -> Pixels:
        pixels = np.empty((len(keys), 3, self.size, self.size), dtype=np.uint8)
        failures: list[tuple[str, str]] = []

        def fill(position: int) -> None:
            try:
                pixels[position] = decode(self.root / keys[position], self.size)
            except Exception as error:  # a damaged image raises nearly anything
                failures.append((keys[position], str(error).partition("\n")[0] or type(error).__name__))

        with ThreadPoolExecutor() as threads:
            list(threads.map(fill, range(len(keys))))
        if failures:
            key, reason = min(failures)
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise InputError(f"{self.root / key}{more} cannot be decoded ({reason}): repair or remove it")
        return pixels


def decode(path: Path, size: int) -> Pixels:
    """One image as RGB ``[3, size, size]``: turned as its EXIF says, any colour mode, resized with antialiasing.

    Raises whatever Pillow raises for a file that is not an intact image.
    """
    with Image.open(path) as opened:
        image = rgb(ImageOps.exif_transpose(opened)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, without its transparency. Raises ValueError for floating-point pixels, which have no range."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of unknown range")
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8 instead of scaling
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
