"""Images that stay on the disk: rows of an array file, read when they are asked for.

They are read, not mapped: what has been read is no part of the process's memory, and a file that somebody shortens in
the middle of a run is an error that can be told, where a mapping would kill the process.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanm.errors import ReadingError

Positions = NDArray[np.int64]


def sum_of(image: NDArray[np.uint8]) -> int:
    """The check sum of an image."""
    return zlib.crc32(np.ascontiguousarray(image).data)


class StoredImages:
    """Some of the images ``[*, C, H, W]`` uint8 of a ``.npy`` file, in an order; what a tensor of them would answer.

    The file stays open: one that takes its place later is not read. With the check sums of its images, of
    ``sum_of``, every image is verified when it is read. Raises ValueError or OSError for a file that is not such an
    array.
    """

    dtype = torch.uint8

    def __init__(self, path: Path, sums: Sequence[int] | None = None) -> None:
        mapped = np.load(path, mmap_mode="r")  # which checks the header, and that the file is as long as it says
        if not isinstance(mapped, np.memmap) or mapped.dtype != np.uint8 or mapped.ndim != 4 or np.isfortran(mapped):
            raise ValueError(f"{path} is no array of uint8 images")
        self.path, self._file = path, open(path, "rb")  # noqa: SIM115 - open as long as anybody reads from it
        self._first = int(mapped.offset)
        self._image = tuple(mapped.shape[1:])
        self._rows: Positions = np.arange(len(mapped), dtype=np.int64)
        self._sums = None if sums is None else np.array(sums, dtype=np.uint32)
        if self._sums is not None and self._sums.shape != self._rows.shape:
            raise ValueError(f"{path} has {len(self._rows)} images, and check sums of {self._sums.shape}")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self._image))

    def identity(self) -> tuple[list[int], str]:
        """Which file this is, as it is now, and a hash of which of its images, in which order."""
        file = os.fstat(self._file.fileno())
        chosen = hashlib.sha256(self._rows.astype("<i8").tobytes()).hexdigest()
        return [file.st_ino, file.st_size, file.st_mtime_ns], chosen

    def at(self, positions: Positions) -> StoredImages:
        """Those at ``positions``, still on the disk."""
        chosen = object.__new__(StoredImages)
        chosen.path, chosen._file, chosen._first, chosen._image = self.path, self._file, self._first, self._image
        chosen._rows, chosen._sums = self._rows[positions], self._sums
        return chosen

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        """Pixels ``[B, C, H, W]`` at positions ``[B]`` or of a slice. Raises ReadingError when the file has none, or
        others than it had.
        """
        rows = self._rows[which if isinstance(which, slice) else which.cpu().numpy()]
        found = torch.empty((len(rows), *self._image), dtype=torch.uint8)
        images, size = found.numpy(), found[:1].numel()
        for image, row in zip(images, rows.tolist(), strict=True):
            self._read(memoryview(image).cast("B"), self._first + row * size)
            if self._sums is not None and sum_of(image) != self._sums[row]:
                self._give_up("is damaged: an image in it is not what was decoded")
        return found

    def _read(self, into: memoryview, place: int) -> None:
        try:
            while into and (count := os.preadv(self._file.fileno(), [into], place)):
                into, place = into[count:], place + count
        except OSError as error:
            raise ReadingError(f"{self.path} cannot be read ({error.strerror})") from error
        if into:
            self._give_up("has become shorter since the run began")

    def _give_up(self, why: str) -> NoReturn:
        """The file is a cache, and this one is of no more use."""
        with suppress(OSError):
            if os.fstat(self._file.fileno()).st_ino == self.path.stat().st_ino:
                self.path.unlink()
        raise ReadingError(f"{self.path} {why}: the same command with retry=true decodes it anew")

    def split(self, size: int) -> Iterator[Tensor]:
        """All of them, ``size`` at a time."""
        for first in range(0, len(self), size):
            yield self[first : first + size]
