"""What of an image's colours is seen: 8 bits of red, green and blue, from whatever an image file holds.

Light, since pages show images as they were seen.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sanm.formats.background import Color

Image.MAX_IMAGE_PIXELS = None  # Pillow warns of an attack; this module counts by itself
MOST_PIXELS = 178_956_970
"""Of an image that is read: what Pillow takes at most. In RGB they are half a gigabyte."""
SIXTEEN_BITS_AS_INTEGERS = ("PNG", "PPM")
"""Formats whose 16 bits Pillow may give as integers of 32; of others such are wider, or signed."""
TWELVE_BITS = "I;12"
"""How Pillow calls what a TIFF says has 12 bits, which it reads as 16."""
BRIGHT = 4096 >> 8
"""What a value as seen is at least that is more than 12 bits."""


GRAY_STEP = {"L;2": 85, "L;4": 17}
"""What a step of gray of fewer than 8 bits is in 8."""


class Depth(NamedTuple):
    """What an image file holds a channel."""

    sixteen_bits: bool
    dim: bool  # of 16 bits, and no value above 4095, but some above 0: probably of 12 bits or fewer


class Seen(NamedTuple):
    """An image as it is seen."""

    image: Image.Image
    depth: Depth
    emptied: bool  # of one color all over, though it is transparent somewhere: what it shows is not seen


def as_seen(opened: Image.Image, background: Color | None) -> Seen:
    """An image as opened, not yet loaded: turned as its EXIF says, on the background, in RGB of 8 bits.

    Without a background transparency is dropped: the colors under it are seen. Of 16 bits a channel the upper 8 are
    seen; a TIFF that says it has 12 is seen in full. Raises ValueError for numbers that have no agreed range,
    floating-point, signed or of 32 bits, and for more than ``MOST_PIXELS``; and whatever Pillow raises for a file that
    is not an intact image.
    """
    raw = _raw_mode(opened)
    _check_size(opened)
    _check_range(opened)
    sixteen_bits = raw != TWELVE_BITS and (";16" in raw or opened.mode.startswith("I"))
    image = ImageOps.exif_transpose(opened)
    alpha = _alpha(image, raw)
    image = _without_alpha(image, raw)
    depth = Depth(sixteen_bits, sixteen_bits and 0 < int(np.asarray(image).max()) < BRIGHT)
    if alpha and background:
        image = Image.composite(image, Image.new("RGB", image.size, background), alpha)
    return Seen(image, depth, alpha is not None and is_of_one_color(image))


def is_transparent(path: Path) -> bool:
    """Whether an image file is not opaque everywhere. Raises as ``as_seen`` does."""
    with Image.open(path) as opened:
        if not _may_be_transparent(opened):
            return False
        _check_size(opened)
        raw = _raw_mode(opened)
        opened.load()
        return _alpha(opened, raw) is not None


def is_of_one_color(image: Image.Image) -> bool:
    """Whether all pixels of an RGB image are the same."""
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


def _check_size(opened: Image.Image) -> None:
    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels, and at most {MOST_PIXELS / 1e6:.0f} million are read: make it smaller"
        )


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


def _alpha(image: Image.Image, raw: str) -> Image.Image | None:
    """How opaque each pixel is, 0 to 255; None where all are fully."""
    if not _may_be_transparent(image):
        return None
    if image.mode[-1] in "Aa":
        alpha = image.getchannel(image.mode[-1])
    elif image.mode == "P":
        alpha = image.convert("RGBA").getchannel("A")
    else:
        alpha = Image.fromarray(np.where(_is_key(image, raw), 0, 255).astype(np.uint8))
    return None if alpha.getextrema()[0] == 255 else alpha


def _is_key(image: Image.Image, raw: str) -> NDArray[np.bool_]:
    """Where the pixels have the one color that a PNG, or a GIF in gray, calls transparent."""
    key = np.atleast_1d(np.asarray(image.info["transparency"], dtype=np.int64))
    if image.mode == "RGB" and ";16" in raw:  # of which Pillow has kept the upper bits
        key = key >> 8
    elif image.mode == "L":
        key = key * GRAY_STEP.get(raw, 1)
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    found: NDArray[np.bool_] = (pixels.reshape(*pixels.shape[:2], -1) == key).all(-1)
    return found


def _without_alpha(image: Image.Image, raw: str) -> Image.Image:
    if image.mode.startswith("I"):  # which Pillow would clip to 8 bits instead of scaling
        beyond = 4 if raw == TWELVE_BITS else 8
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> beyond).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "La":  # which Pillow takes to RGB by way of this alone
        image = image.convert("LA")
    return image.convert("RGB")


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
