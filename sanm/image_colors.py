"""What of an image's colours is seen: 8 bits of red, green and blue, from whatever an image file holds.

Light, since pages show images as they were seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

SIXTEEN_BITS_AS_INTEGERS = ("PNG", "PPM")
"""Formats whose 16 bits Pillow may give as integers of 32; of others such are wider, or signed."""
TWELVE_BITS = "I;12"
"""How Pillow calls what a TIFF says has 12 bits, which it reads as 16."""
BRIGHT = 4096 >> 8
"""What a value as seen is at least that is more than 12 bits."""


class Depth(NamedTuple):
    """What an image file holds a channel."""

    sixteen_bits: bool
    dim: bool  # of 16 bits, and no value above 4095, but some above 0: probably of 12 bits or fewer


def as_seen(opened: Image.Image) -> tuple[Image.Image, Depth]:
    """An image as opened, not yet loaded: turned as its EXIF says, without its transparency, in RGB of 8 bits.

    Of 16 bits a channel the upper 8 are seen; a TIFF that says it has 12 is seen in full. Raises ValueError for
    numbers that have no agreed range, floating-point, signed or of 32 bits, and whatever Pillow raises for a file that
    is not an intact image.
    """
    raw = _raw_mode(opened)
    _check_range(opened)
    sixteen_bits = raw != TWELVE_BITS and (";16" in raw or opened.mode.startswith("I"))
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # which Pillow would clip to 8 bits instead of scaling
        beyond = 4 if raw == TWELVE_BITS else 8
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> beyond).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    image = image.convert("RGB")
    return image, Depth(sixteen_bits, sixteen_bits and 0 < _brightest(image) < BRIGHT)


def _check_range(opened: Image.Image) -> None:
    kind = ""
    if opened.mode == "F":
        kind = "floating-point numbers"
    elif opened.mode == "I" and opened.format not in SIXTEEN_BITS_AS_INTEGERS:
        kind = "signed or 32-bit whole numbers"
    if kind:
        raise ValueError(f"its pixels are {kind}, of unknown range: save it as 8 or 16 bits a channel")


def _raw_mode(opened: Image.Image) -> str:
    """How Pillow calls the numbers in the file, ``RGB;16B`` say; empty where it does not."""
    for tile in getattr(opened, "tile", ()):
        arguments = tile[3]
        first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if opened.format == "PPM" and isinstance(arguments, tuple) and arguments[-1] > 255:  # its greatest value
            return f"{first};16"
        return first if isinstance(first, str) else ""
    return ""


def _brightest(image: Image.Image) -> int:
    return int(np.asarray(image).max())
