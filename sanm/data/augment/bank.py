"""The training images on the device, and the pools that views of them are drawn from.

Images stay uint8 and are stored padded, channels last, so that a random crop with a flip is one gather and its
result is already in the memory layout that convolutions like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.data.augment import policies
from sanm.data.augment.simclr import simclr as simclr_view
from sanm.data.types import Images
from sanm.types import Random


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images ``[B, C, H, W]`` of values 0..255 -> float, zero mean, unit deviation by the data's constants ``[C]``."""
    scale, shift = 1 / (255 * std), -mean / std
    return images.to(torch.float32, copy=True).mul_(scale[:, None, None]).add_(shift[:, None, None])


def middle(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The first row and column of the middle part of an image."""
    return (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2


def center_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of images ``[..., H, W]``, ``size`` high and wide."""
    top, left = middle((images.shape[-2], images.shape[-1]), size)
    return images[..., top : top + size[0], left : left + size[1]]


class ImageBank:
    """Training images resident on the device.

    ``augment`` holds ``crop_padding`` (zero pixels around the image a crop may reach into), ``flip`` (left-right, with
    probability one half) and perhaps ``crop`` (side of what is cropped out: at random, or for plain images out of the
    middle). ``size`` is the height and width of what comes out.
    """

    def __init__(self, images: Images, augment: Mapping[str, Any], device: torch.device) -> None:
        self.padding, self.flip = int(augment["crop_padding"]), bool(augment["flip"])
        self.mean = torch.tensor(images.mean, device=device)
        self.std = torch.tensor(images.std, device=device)
        self.whole: tuple[int, int] = (images.images.shape[2], images.images.shape[3])
        self.size: tuple[int, int] = (augment["crop"],) * 2 if augment.get("crop") else self.whole
        padded = torch.nn.functional.pad(images.images, (self.padding,) * 4)
        self._padded = padded.permute(0, 2, 3, 1).contiguous().to(device)

    def plain(self, index: Tensor) -> Tensor:
        """The images as they are, normalised: ``[B, C, H, W]`` for positions ``index [B]``."""
        return normalise(self.pixels(index), self.mean, self.std)

    def cropped(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Random crop and flip of each image on its own, normalised."""
        return normalise(self.cropped_pixels(index, generator), self.mean, self.std)

    def as_pixels(self, images: Tensor) -> Tensor:
        """Normalised images ``[..., C, H, W]`` as uint8 pixels again, those outside the range at its ends."""
        pixels = (images * self.std[:, None, None] + self.mean[:, None, None]) * 255
        return pixels.round().clamp(0, 255).to(torch.uint8)

    def views(self, pool: str, count: int, index: Tensor, random: Random) -> Tensor:
        """``count`` independent draws from the augmentation pool: ``[count, B, C, H, W]``, normalised."""
        drawn = POOLS[pool](self, index.repeat(count), random).contiguous(memory_format=torch.channels_last)
        images = normalise(drawn, self.mean, self.std)
        return images.unflatten(0, (count, len(index)))

    def pixels(self, index: Tensor) -> Tensor:
        """The images as they are: uint8 ``[B, C, H, W]``, channels last in memory."""
        top, left = (self.padding + first for first in middle(self.whole, self.size))
        rows = torch.arange(top, top + self.size[0], device=index.device)
        columns = torch.arange(left, left + self.size[1], device=index.device)
        return self._gather(index, rows[None, :], columns[None, :])

    def cropped_pixels(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Random crop and flip of each image on its own: uint8 ``[B, C, H, W]``, channels last in memory."""
        (height, width), batch, device = self.size, len(index), index.device
        top, left = self._corners(batch, generator)
        rows = top + torch.arange(height, device=device)
        columns = torch.arange(width, device=device).expand(batch, -1)
        if self.flip:
            mirrored = torch.rand(batch, 1, generator=generator, device=device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        return self._gather(index, rows, columns + left)

    def _corners(self, batch: int, generator: torch.Generator) -> Tensor:
        """Where random crops begin, ``[2, batch, 1]``."""
        most = self.whole[0] - self.size[0] + 2 * self.padding  # the same either way: what is cropped is square
        return torch.randint(0, most + 1, (2, batch, 1), generator=generator, device=self.mean.device)

    def _gather(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


# ---- pools: images of values 0..255, [B, C, H, W], for positions index [B]


def none(bank: ImageBank, index: Tensor, random: Random) -> Tensor:
    """The images as they are."""
    return bank.pixels(index)


def weak(bank: ImageBank, index: Tensor, random: Random) -> Tensor:
    """Crop and flip: the field's standard augmentation."""
    return bank.cropped_pixels(index, random.device)


def autoaugment(bank: ImageBank, index: Tensor, random: Random) -> Tensor:
    """Crop and flip, then one of AutoAugment's sub-policies for CIFAR-10."""
    return policies.autoaugment(bank.cropped_pixels(index, random.device), random.host)


def randaugment(bank: ImageBank, index: Tensor, random: Random) -> Tensor:
    """Crop and flip, then two of RandAugment's operations."""
    return policies.randaugment(bank.cropped_pixels(index, random.device), random.host)


def simclr(bank: ImageBank, index: Tensor, random: Random) -> Tensor:
    """SimCLR's resized crop, flip and color distortion."""
    return simclr_view(bank.pixels(index), bank.flip, random.host)


POOLS: dict[str, Callable[[ImageBank, Tensor, Random], Tensor]] = {
    "none": none,
    "weak": weak,
    "autoaugment": autoaugment,
    "randaugment": randaugment,
    "simclr": simclr,
}
