"""The training images, wherever they are, and the pools that views of them are drawn from on the device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sanm.data.augment import policies
from sanm.data.augment.padded import Cut, PaddedImages, middle
from sanm.data.augment.simclr import simclr as simclr_view
from sanm.data.augment.sources import Found, source_of
from sanm.data.types import Images, Pixels
from sanm.step import Random


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images ``[B, C, H, W]`` of values 0..255 -> float, zero mean, unit deviation by the data's constants ``[C]``."""
    scale, shift = 1 / (255 * std), -mean / std
    return images.to(torch.float32, copy=True).mul_(scale[:, None, None]).add_(shift[:, None, None])


def center_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of images ``[..., H, W]``, ``size`` high and wide."""
    top, left = middle((images.shape[-2], images.shape[-1]), size)
    return images[..., top : top + size[0], left : left + size[1]]


MOST_AT_ONCE = 500
PIXELS_AT_ONCE = MOST_AT_ONCE * 64 * 64


def images_at_once(size: tuple[int, int]) -> int:
    """How many images of a height and width a look or a test takes in one pass, whose maps are all in memory: 500 of up
    to 64x64, 40 of 224x224.
    """
    return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // (size[0] * size[1])))


class ImageBank:
    """Training images, resident on the device or streamed to it, the same to whoever asks.

    ``augment`` holds ``crop_padding`` (zero pixels around the image a crop may reach into), ``flip`` (left-right, with
    probability one half) and perhaps ``crop`` (side of what is cropped out: at random, or for plain images out of the
    middle). ``size`` is the height and width of what comes out. ``kept`` is auto, resident or streamed, by so many
    ``workers`` (``sanm.data.augment.sources``).
    """

    def __init__(
        self, images: Images, augment: Mapping[str, Any], device: torch.device, kept: str = "auto", workers: int = 0
    ) -> None:
        self.flip = bool(augment["flip"])
        self.mean = torch.tensor(images.mean, device=device)
        self.std = torch.tensor(images.std, device=device)
        whole = (images.images.shape[2], images.images.shape[3])
        self.size: tuple[int, int] = (augment["crop"],) * 2 if augment.get("crop") else whole
        self.at_once = images_at_once(self.size)
        self.padding = int(augment["crop_padding"])
        cut = Cut(whole, self.size, self.padding, self.flip)
        self.source = source_of(images.images, cut, device, kept, workers)

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Say which positions ``[B]`` will be asked for next, by these very tensors, so that they can be read ahead."""
        self.source.announce(batches)

    def parts(self, images: Pixels) -> Iterator[Tensor]:
        """All of any images, such as those to test on, some at a time, on the host.

        What has been announced before, and not been asked for yet, is forgotten.
        """
        if isinstance(images, Tensor):
            return iter(images.split(self.at_once))
        return self.source.reader.read(images, torch.arange(len(images)).split(self.at_once))

    def plain(self, index: Tensor) -> Tensor:
        """The images as they are, normalised: ``[B, C, H, W]`` for positions ``index [B]``."""
        return normalise(self.pixels(index), self.mean, self.std)

    def as_pixels(self, images: Tensor) -> Tensor:
        """Normalised images ``[..., C, H, W]`` as uint8 pixels again, those outside the range at its ends."""
        pixels = (images * self.std[:, None, None] + self.mean[:, None, None]) * 255
        return pixels.round().clamp(0, 255).to(torch.uint8)

    def find(self, index: Tensor) -> Found:
        """The images at positions ``index [B]``, to draw views of: read, and positions copied to the device, once."""
        return self.source.find(index)

    def views(self, pool: str, count: int, batch: Found, random: Random) -> Tensor:
        """``count`` independent draws from the augmentation pool: ``[count, B, C, H, W]``, normalised."""
        drawn = POOLS[pool](batch.images, batch.places.repeat(count), random)
        drawn = drawn.contiguous(memory_format=torch.channels_last)
        return normalise(drawn, self.mean, self.std).unflatten(0, (count, len(batch.positions)))

    def pixels(self, index: Tensor) -> Tensor:
        """The images as they are: uint8 ``[B, C, H, W]``, channels last in memory."""
        found = self.find(index)
        return found.images.pixels(found.places)


# ---- pools: images of values 0..255, [B, C, H, W], for positions index [B]


def none(images: PaddedImages, index: Tensor, random: Random) -> Tensor:
    """The images as they are."""
    return images.pixels(index)


def weak(images: PaddedImages, index: Tensor, random: Random) -> Tensor:
    """Crop and flip: the field's standard augmentation."""
    return images.cropped_pixels(index, random.device)


def autoaugment(images: PaddedImages, index: Tensor, random: Random) -> Tensor:
    """Crop and flip, then one of AutoAugment's sub-policies for CIFAR-10."""
    return policies.autoaugment(images.cropped_pixels(index, random.device), random.host)


def randaugment(images: PaddedImages, index: Tensor, random: Random) -> Tensor:
    """Crop and flip, then two of RandAugment's operations."""
    return policies.randaugment(images.cropped_pixels(index, random.device), random.host)


def simclr(images: PaddedImages, index: Tensor, random: Random) -> Tensor:
    """SimCLR's resized crop, flip and color distortion."""
    return simclr_view(images.pixels(index), images.flip, random.host)


POOLS: dict[str, Callable[[PaddedImages, Tensor, Random], Tensor]] = {
    "none": none,
    "weak": weak,
    "autoaugment": autoaugment,
    "randaugment": randaugment,
    "simclr": simclr,
}
