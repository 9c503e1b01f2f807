"""Pixel statistics for data sets that have no agreed ones."""

from __future__ import annotations

import torch
from torch import Tensor

from sanm.data.types import Pixels

AT_ONCE = 512
"""Images counted together: a set on the disk is never in memory as a whole."""


def mean_and_std(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation of uint8 images ``[N, C, H, W]``, as of pixels in [0, 1].

    Rounded to 4 digits. A channel without any variation gets deviation 1, so that it can be divided by.
    """
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
