"""Pixel statistics for data sets that have no agreed ones."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanm.data.stored import StoredImages
from sanm.data.types import Pixels
from sanm.errors import InputError
from sanm.files import read_json, write_json

MeanAndStd = tuple[tuple[float, ...], tuple[float, ...]]

AT_ONCE = 512
"""Images counted together: a set on the disk is never in memory as a whole."""


def mean_and_std(images: Pixels) -> MeanAndStd:
    """Per-channel mean and standard deviation of uint8 images ``[N, C, H, W]``, as of pixels in [0, 1].

    Rounded to 4 digits. A channel without any variation gets deviation 1, so that it can be divided by. Of images on
    the disk they are kept in a JSON file beside the array, and are right for this very file and selection alone.
    """
    if not isinstance(images, StoredImages):
        return _counted(images)
    file, chosen = images.identity()
    kept = _kept(images, file)
    if chosen not in kept:
        kept[chosen] = _counted(images)
        with suppress(InputError, OSError):  # a disk that takes nothing more: they are counted again
            write_json(_place(images), {"array": file, "mean_and_std": kept})
    mean, std = kept[chosen]
    return tuple(mean), tuple(std)


def _place(images: StoredImages) -> Path:
    return images.path.with_suffix(".statistics.json")


def _kept(images: StoredImages, file: list[int]) -> dict[str, Any]:
    """Statistics of selections of that file, by the hash of which they are."""
    found = read_json(_place(images))
    return dict(found["mean_and_std"]) if found and found["array"] == file else {}


def _counted(images: Pixels) -> MeanAndStd:
    # From a histogram: exact, and without a float copy of all pixels.
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(AT_ONCE):
        counts += torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in part.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = (shares * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return _rounded(mean), tuple(value or 1.0 for value in _rounded(std))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
