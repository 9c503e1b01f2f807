"""The training images on the device, and batched augmentation of them with parameters of their own per sample.

Images stay uint8 and are stored padded, channels last, so that a random crop with a flip is one gather and its
result is already in the memory layout that convolutions like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.data import TrainingSet


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images ``[B, C, H, W]`` -> float, zero mean and unit deviation by the data set's constants ``[C]``."""
    scale, shift = 1 / (255 * std), -mean / std
    return images.float().mul_(scale[:, None, None]).add_(shift[:, None, None])


class ImageBank:
    """Training images resident on the device.

    ``augment`` holds ``crop_padding`` (zero pixels around the image a crop may reach into) and ``flip`` (left-right,
    with probability one half).
    """

    def __init__(self, train: TrainingSet, augment: Mapping[str, Any], device: torch.device) -> None:
        self.padding, self.flip = int(augment["crop_padding"]), bool(augment["flip"])
        self.mean = torch.tensor(train.mean, device=device)
        self.std = torch.tensor(train.std, device=device)
        self.size: tuple[int, int] = (train.images.shape[2], train.images.shape[3])
        padded = torch.nn.functional.pad(train.images, (self.padding,) * 4)
        self._padded = padded.permute(0, 2, 3, 1).contiguous().to(device)

    def plain(self, index: Tensor) -> Tensor:
        """The images as they are, normalised: ``[B, C, H, W]`` for positions ``index [B]``."""
        height, width = self.size
        rows = torch.arange(self.padding, self.padding + height, device=index.device)
        columns = torch.arange(self.padding, self.padding + width, device=index.device)
        return self._gather(index, rows[None, :], columns[None, :])

    def views(self, pool: str, count: int, index: Tensor, generator: torch.Generator) -> Tensor:
        """``count`` independent draws from the augmentation pool: ``[count, B, C, H, W]``, normalised."""
        images = POOLS[pool](self, index.repeat(count), generator)
        return images.unflatten(0, (count, len(index)))

    def cropped(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Random crop and flip of each image on its own."""
        (height, width), batch, device = self.size, len(index), index.device
        top, left = torch.randint(0, 2 * self.padding + 1, (2, batch, 1), generator=generator, device=device)
        rows = top + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(batch, -1)
        if self.flip:
            mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        return self._gather(index, rows, columns + left)

    def _gather(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        pixels = self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return normalise(pixels.permute(0, 3, 1, 2), self.mean, self.std)


def weak(bank: ImageBank, index: Tensor, generator: torch.Generator) -> Tensor:
    """Crop and flip: the field's standard augmentation."""
    return bank.cropped(index, generator)


def none(bank: ImageBank, index: Tensor, generator: torch.Generator) -> Tensor:
    """The images as they are."""
    return bank.plain(index)


POOLS: dict[str, Callable[[ImageBank, Tensor, torch.Generator], Tensor]] = {"weak": weak, "none": none}
