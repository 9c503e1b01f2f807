"""Images on their way from where they lie to where they are used, batch by batch, read ahead of their use."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sanm.data.stored import Positions
from sanm.data.types import Pixels
from sanm.errors import ReadingError

AHEAD = 2
"""Batches that each process has read, or is reading, before they are asked for."""
DIE_WITH_PARENT = 1  # prctl's name for it, linux/prctl.h
SHARED_MEMORY = Path("/dev/shm")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def read_ahead(images: Pixels, batches: Sequence[Tensor], workers: int, pin: bool) -> Iterator[Tensor]:
    """The images ``[B, C, H, W]`` at the positions ``[B]`` of each batch, in their order, on the host.

    ``workers`` processes begin at once, and are AHEAD batches each ahead of what is asked for; with none, images are
    read when they are asked for. ``pin``: into memory that a GPU can copy from while the host goes on. What is asked of
    the iterator raises ReadingError.
    """
    largest = max((batch.numel() for batch in batches), default=0) * math.prod(images.shape[1:])
    workers = min(workers, len(batches), _readers_with_room(workers, largest))
    loader = DataLoader(
        _Reading(images),
        sampler=[batch.cpu().numpy() for batch in batches],
        batch_size=None,  # a batch is what one position of the sampler stands for
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=pin,
        multiprocessing_context="fork" if workers else None,  # which shares what is in memory, and open files
        worker_init_fn=_begin_reading if workers else None,
        generator=torch.Generator(),  # or it would draw from that of the process
    )
    return _told(iter(loader))


def _readers_with_room(workers: int, batch: int) -> int:
    """How many of the processes can hand batches of so many bytes through what is left of the shared memory."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:  # no such system
        return workers
    room = int(found.f_bavail * found.f_frsize // max((AHEAD + 1) * batch, 1))
    if room < workers:
        warnings.warn(
            f"image_workers={workers} have room for {room} of them in {SHARED_MEMORY}, through which images reach the "
            "training process: give it more (of a container: --shm-size), or smaller batches",
            stacklevel=3,
        )
    return min(room, workers)


def _told(found: Iterator[Tensor | ReadingError]) -> Iterator[Tensor]:
    with told_of_lost_readers():
        for batch in found:
            if isinstance(batch, ReadingError):
                raise batch
            yield batch


class _Reading(Dataset[Tensor | ReadingError]):
    def __init__(self, images: Pixels) -> None:
        self._images = images

    def __getitem__(self, positions: Positions) -> Tensor | ReadingError:
        try:
            return self._images[torch.from_numpy(positions)]
        except ReadingError as error:  # as a value: raised, it would reach the other process as a traceback
            return error


def _begin_reading(worker: int) -> None:
    """Let the training process alone answer signals, and leave no reader behind when it is killed."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


@contextmanager
def told_of_lost_readers() -> Iterator[None]:
    """Within, the death of a process that reads images is a ReadingError that says what to do.

    It is found out at any moment, not only where a batch is waited for.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise ReadingError(
            f"a process that reads images has died ({reason}), perhaps for want of memory or of shared memory: take "
            "fewer of them (image_workers=1, or 0 for none) with retry=true"
        ) from error
