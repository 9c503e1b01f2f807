"""Small pictures of training samples, from the data itself: image files, CIFAR's pickles, the bundled digits."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.labels.places import Places
from analysis.labels.record import Record
from analysis.records.npz import Array
from sanm.errors import InputError
from sanm.formats.array_pickle import load_plain
from sanm.formats.background import Color, color_of
from sanm.formats.image_colors import as_seen
from sanm.given_files import is_folder, read_bytes, status_of

SIDE = 112
"""Pixels of the longer side at most."""
QUALITY = 80  # of a JPEG
CIFAR = {
    "cifar10": ("cifar-10-batches-py", tuple(f"data_batch_{number}" for number in range(1, 6))),
    "cifar100": ("cifar-100-python", ("train",)),
}
WITHOUT_FILES = (*CIFAR, "digits")
"""Data sets that are no files of an image each."""
CIFAR_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, or why there is none."""

    uri: str | None
    reason: str = ""


def pictures(record: Record, places: Places, positions: Sequence[int]) -> list[Picture]:
    """A picture of each sample. Raises `InputError`, one line, where none of them can be had."""
    name = record.data.get("name")
    if name in CIFAR:
        return _of_arrays(_cifar_rows(str(name), places, record.index[[*positions]]))
    if name == "digits":
        return _of_arrays(_digits(record.index[[*positions]]))
    if places.root is None:
        raise InputError("the record does not say where the images are: give --root FOLDER, their data.root")
    if not is_folder(places.root):
        raise InputError(f"{places.root} is not there: give --root FOLDER, the data.root of the images")
    background = color_of(record.data.get("background"))
    made = [_of_file(places.root / record.keys[position], background) for position in positions]
    if made and all(picture.uri is None for picture in made):
        raise InputError(f"none of the images is in {places.root}: give --root FOLDER, their data.root")
    return made


def _of_arrays(images: Sequence[Array | None]) -> list[Picture]:
    return [
        Picture(_uri(Image.fromarray(pixels), "PNG")) if pixels is not None else Picture(None, "is not in the data")
        for pixels in images
    ]


def _of_file(path: Path, background: Color | None) -> Picture:
    try:
        status_of(path)
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore")  # of what Pillow can still read
            opened.draft("RGB", (2 * SIDE, 2 * SIDE))
            image = as_seen(opened, background).image
            image.thumbnail((SIDE, SIDE))
            return Picture(_uri(image, "JPEG"))
    except FileNotFoundError:
        return Picture(None, "is no longer there")
    except Exception as error:  # a damaged image raises nearly anything
        return Picture(None, f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})")


def _uri(image: Image.Image, form: str) -> str:
    content = io.BytesIO()
    image.save(content, form, **({"quality": QUALITY} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def _digits(index: Array) -> list[Array | None]:
    from sklearn.datasets import load_digits

    pixels = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    return [pixels[position] if position < len(pixels) else None for position in index]


def _cifar_rows(name: str, places: Places, index: Array) -> list[Array | None]:
    """Images `[32, 32, 3]` by their position in the official order, None beyond the last."""
    folder, files = CIFAR[name]
    if places.root is None:
        raise InputError(f"the record does not say where {folder} is: give --root FOLDER, its data.root")
    place = next((path for path in (places.root / folder, places.root) if (path / files[0]).is_file()), None)
    if place is None:
        raise InputError(f"{places.root} holds no {folder}: give --root FOLDER that does")
    found: dict[int, Array] = {}
    first = 0
    for file in files:
        rows = _rows(place / file)
        within = {int(position) for position in index if first <= position < first + len(rows)}
        found |= {position: rows[position - first].reshape(CIFAR_SHAPE).transpose(1, 2, 0) for position in within}
        first += len(rows)
    return [found.get(int(position)) for position in index]


def _rows(path: Path) -> Array:
    try:
        batch = load_plain(read_bytes(path))
        pixels: Array = np.asarray(batch["data"] if "data" in batch else batch[b"data"])
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} is not an intact CIFAR pickle ({type(error).__name__}): fetch it again") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != int(np.prod(CIFAR_SHAPE)):
        raise InputError(f"{path} is not an intact CIFAR pickle (its data are not images): fetch it again")
    return pixels
