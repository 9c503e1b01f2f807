"""Where a step's images come from: all of them on the device, or each batch read from the disk in time.

The same images either way, bit for bit. Batches are known by identity: the tensor of positions that has been announced
is the one that is asked for, so that nobody has to look into it and wait for the device.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sanm.data.augment.padded import Cut, PaddedImages
from sanm.data.streaming import Reader
from sanm.data.types import Pixels
from sanm.errors import InputError
from sanm.machine.memory import available_memory

SHARE = 0.5
"""Of the free memory that images may take by themselves; the rest is for networks, batches and other processes."""
PADDED_AT_ONCE = 512


class Found(NamedTuple):
    """The images of a batch, all on the device."""

    positions: Tensor  # [B] what was asked for, in the training set
    images: PaddedImages
    places: Tensor  # [B] where in ``images`` they are


class ImageSource(Protocol):
    """Gives the images of one batch after another."""

    streamed: bool
    reader: Reader

    def announce(self, batches: Sequence[Tensor]) -> None:
        """Say which batches, positions ``[B]`` each, will be asked for next and in this order, if all goes well."""

    def find(self, index: Tensor) -> Found:
        """The images at positions ``index [B]``, on whatever device. Raises ReadingError."""


class ResidentImages:
    """All images on the device. As text: so many, and where."""

    streamed = False

    def __init__(self, images: Pixels, cut: Cut, device: torch.device) -> None:
        count, channels = images.shape[:2]
        self.reader = Reader(0, device.type == "cuda")
        self._device = device
        padded = torch.empty((count, *cut.padded_size, channels), dtype=images.dtype, device=device)
        for place, part in enumerate(images.split(PADDED_AT_ONCE)):
            padded[place * PADDED_AT_ONCE :][: len(part)] = cut.padded(part).to(device)
        self._images = PaddedImages(padded, cut)
        self._words = f"{_counted(images)}, resident on {device} ({gigabytes(padded.nbytes)})"

    def __str__(self) -> str:
        return self._words

    def announce(self, batches: Sequence[Tensor]) -> None:
        pass

    def find(self, index: Tensor) -> Found:
        there = index.to(self._device, non_blocking=True)
        return Found(there, self._images, there)


class StreamedImages:
    """A batch at a time on the device, the announced ones read ahead by ``workers`` processes."""

    streamed = True

    def __init__(self, images: Pixels, cut: Cut, device: torch.device, workers: int) -> None:
        self.reader = Reader(workers, device.type == "cuda")
        self._images, self._cut, self._device = images, cut, device
        self._coming: deque[Tensor] = deque()
        self._read: Iterator[Tensor] = iter(())

    def __str__(self) -> str:
        size = gigabytes(_bytes_of(self._images, self._cut))
        return f"{_counted(self._images)}, streamed to {self._device} ({size}); workers: {self.reader.workers}"

    def announce(self, batches: Sequence[Tensor]) -> None:
        self._coming = deque(batches)
        self._read = self.reader.read(self._images, batches)

    def find(self, index: Tensor) -> Found:
        if self._coming and self._coming[0] is index:
            self._coming.popleft()
            images = next(self._read)
        else:
            images = self._images[index.cpu()]
        padded = self._cut.padded(images.to(self._device, non_blocking=True))
        places = torch.arange(len(index), device=self._device)
        return Found(index.to(self._device, non_blocking=True), PaddedImages(padded, self._cut), places)


def source_of(images: Pixels, cut: Cut, device: torch.device, wanted: str, workers: int) -> ImageSource:
    """Resident or streamed images, as ``wanted`` or, for ``auto``, as the free memory of the device allows.

    Raises InputError where resident images are asked for that do not fit.
    """
    needed, free = _bytes_of(images, cut), available_memory(device)
    if wanted == "resident" and free is not None and needed > free:
        raise InputError(
            f"images=resident: {_counted(images)} are {gigabytes(needed)}, and {gigabytes(free)} of {device} are "
            "free: set images=streamed or images=auto"
        )
    fits = free is None or needed <= SHARE * free
    if wanted == "resident" or (wanted == "auto" and fits):
        return ResidentImages(images, cut, device)
    return StreamedImages(images, cut, device, workers)


def _bytes_of(images: Pixels, cut: Cut) -> int:
    return len(images) * images.shape[1] * math.prod(cut.padded_size) * images.dtype.itemsize


def gigabytes(count: int) -> str:
    """A number of bytes, to be read."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _counted(images: Pixels) -> str:
    count, *shape = images.shape
    return f"{count} of {'x'.join(map(str, shape))}"
