"""ANIMAL-10N (Song et al., ICML 2019): ten animals in five pairs that are taken for each other, 64 x 64.

As released, in either version: the raw images, ``training/<label>_<anything>.jpg`` and ``testing/``, in the order of
their names; or ``data_batch_*.bin`` and ``test_batch.bin``, records of a number, a label (both 4 bytes, big-endian) and
64 x 64 pixels, all red, then green, then blue. Nobody knows the true labels of the training images.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sanm.data.datasets._decoded import check_fits_memory
from sanm.data.datasets._image_files import Entries, FileParts, root_of
from sanm.data.datasets._label_lists import warn_of_empty_classes
from sanm.data.types import Decoded, Labels, LeftOut, Part, Source
from sanm.errors import InputError
from sanm.formats.image_tree import ignored

CLASSES = (
    "Cat", "Lynx", "Wolf", "Coyote", "Cheetah", "Jaguar", "Chimpanzee", "Orangutan", "Hamster", "Guinea pig",
)  # fmt: skip
SIDE = 64
RECORD = np.dtype([("number", ">u4"), ("label", ">u4"), ("pixels", "u1", (3, SIDE, SIDE))])
EXPECTED = "expected training/ and testing/ with <label>_<name>.jpg, or data_batch_1.bin ... and test_batch.bin"
EXTENSIONS = (".jpg", ".jpeg", ".png")


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]``; keys are file names, or the numbers of the records.

    Raises InputError for a folder of neither version and, unless ``skip_bad``, for images without a label of the ten
    classes, numbers that come twice, and images that cannot be decoded.
    """
    root = root_of(settings, EXPECTED)
    inside = next((folder for folder in (root, root / "raw_image") if (folder / "training").is_dir()), None)
    batches = sorted(root.glob("data_batch_*.bin"), key=lambda file: (len(file.name), file.name))
    if inside is None and not batches:
        zipped = ": unzip raw_image.zip" if (root / "raw_image.zip").is_file() else ""
        raise InputError(f"data.root={root} is no ANIMAL-10N{zipped}; {EXPECTED}")
    parts = FileParts(settings, inside or root, cache_dir)
    if inside is not None:
        train, test = (_folder_part(parts, inside, name) for name in ("training", "testing"))
    else:
        train, test = (_record_part(parts, files, settings) for files in (batches, [root / "test_batch.bin"]))
    if train is None:
        raise InputError(f"data.root={root} has no training images; {EXPECTED}")
    warn_of_empty_classes(train.labels.tolist(), CLASSES, root)
    return Source(train=train, test=test, class_names=CLASSES, left_out=tuple(parts.left_out))


def _folder_part(parts: FileParts, root: Path, folder: str) -> Part | None:
    if not (root / folder).is_dir():
        return None
    entries = Entries()
    try:
        names = [name for name in os.listdir(root / folder) if name.lower().endswith(EXTENSIONS)]
    except OSError as error:
        raise InputError(f"{root / folder} cannot be read ({error.strerror}): open it; {EXPECTED}") from error
    for name in sorted(name for name in names if not ignored(name)):
        text, _, rest = name.partition("_")
        if rest and text.isdecimal() and int(text) < len(CLASSES):
            entries.add(f"{folder}/{name}", int(text))
        else:
            entries.reject(name, "does not begin with a label in [0, 10) and an underscore")
    return parts.part(folder, entries, root / folder)


def _record_part(parts: FileParts, files: Sequence[Path], settings: Mapping[str, Any]) -> Part | None:
    there = [file for file in files if file.is_file()]
    if not there:
        return None
    records = np.concatenate([_records(file) for file in there])
    bad = _bad_records(records)
    parts.leave_out(list(bad.values()), there[0].parent)
    good, size = np.delete(records, list(bad)), settings["image_size"]

    def decode(positions: Labels) -> Decoded:
        check_fits_memory(len(positions), size)
        return Decoded(torch.from_numpy(_resized(good["pixels"], positions, size)), positions, ())

    keys = tuple(str(number) for number in good["number"])
    return Part(good["label"].astype(np.int64), keys, decode) if len(good) else None


def _records(file: Path) -> np.ndarray[Any, Any]:
    try:
        size = file.stat().st_size
        if size == 0 or size % RECORD.itemsize:
            raise InputError(
                f"{file} has {size} bytes, no whole number of records of {RECORD.itemsize}: fetch it again"
            )
        return np.fromfile(file, RECORD)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): restore this file of the data set") from error


def _bad_records(records: np.ndarray[Any, Any]) -> dict[int, LeftOut]:
    """By position: labels outside the classes, and numbers that an earlier record has."""
    first = np.zeros(len(records), dtype=bool)
    first[np.unique(records["number"], return_index=True)[1]] = True
    bad: dict[int, LeftOut] = {}
    for position in np.flatnonzero((records["label"] >= len(CLASSES)) | ~first).tolist():
        number, label = int(records["number"][position]), int(records["label"][position])
        reason = (
            f"has the label {label}, which is not in [0, {len(CLASSES)})" if label >= len(CLASSES) else "comes twice"
        )
        bad[position] = LeftOut(f"image {number}", reason)
    return bad


def _resized(pixels: np.ndarray[Any, Any], positions: Labels, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if size == SIDE:
        return np.ascontiguousarray(pixels[positions])
    found = np.empty((len(positions), 3, size, size), dtype=np.uint8)
    for place, position in enumerate(positions):
        image = Image.fromarray(np.ascontiguousarray(pixels[position].transpose(1, 2, 0)))
        found[place] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    return found
