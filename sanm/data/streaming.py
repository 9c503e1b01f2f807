"""Images on their way from where they lie to where they are used, batch by batch, read ahead of their use."""

import ctypes
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sanm.data.stored import Positions
from sanm.data.types import Pixels
from sanm.errors import ReadingError
from sanm.machine.several import processes

AHEAD = 2
"""Batches that each process has read, or is reading, before they are asked for."""
SHARED_MEMORY = Path("/dev/shm")
SIGNALLED = 1.0
"""Seconds in which the signal of a process's death arrives."""
LOST = "DataLoader worker"
"""How torch's messages begin when one has died."""
DIE_WITH_PARENT = 1  # prctl's name for it, linux/prctl.h
STOPPING = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

Request = tuple[int, Positions]  # which images, and of them the batch
Answer = Tensor | ReadingError


class Reader:
    """Reads images batch by batch; ``workers`` processes do it, AHEAD batches each before they are asked for.

    They start when they are first needed and stay: to start them for every epoch would have the system copy, page by
    page, what a process holds in the middle of its training. Without workers, images are read when they are asked for.
    ``pin``: batches come in memory that a GPU copies from while the host goes on.
    """

    def __init__(self, workers: int, pin: bool) -> None:
        self.workers, self._pin = workers, pin
        self._sets: list[Pixels] = []
        self._requests: list[Request] = []
        self._loader: DataLoader[Answer] | None = None
        self._answers: Iterator[Answer] = iter(())
        self._orders = 0

    def read(self, images: Pixels, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The images ``[B, C, H, W]`` at the positions ``[B]`` of each batch, in their order, on the host.

        There is one order at a time: the one before ends with it. What is asked of the iterator raises ReadingError.
        """
        self._orders += 1
        if not self.workers or not batches or not self._has_room(images, batches):
            return self._read_here(images, batches)
        loader, number = self._running(images)
        self._requests[:] = [(number, batch.cpu().numpy()) for batch in batches]
        with _signals_held_back():
            self._answers = iter(loader)
        return self._told(self._orders)

    def _read_here(self, images: Pixels, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        for batch in batches:
            read = images[batch.cpu()]
            yield read.pin_memory() if self._pin else read

    def _told(self, order: int) -> Iterator[Tensor]:
        with told_of_lost_readers():
            while True:
                if order != self._orders:
                    raise RuntimeError("these images were asked for before others were, which took their place")
                answer = self._next()
                if answer is None:
                    return
                if isinstance(answer, ReadingError):
                    raise answer
                yield answer

    def _next(self) -> Answer | None:
        try:
            return next(self._answers, None)
        except (OSError, EOFError) as error:  # the other end of the connection has gone
            time.sleep(SIGNALLED)  # the signal of it says more, and must not come where nobody is prepared for it
            raise RuntimeError(f"{LOST}: {error}") from error

    def _running(self, images: Pixels) -> tuple[DataLoader[Answer], int]:
        """The processes, and the number by which they know the images; anew where these are new to them."""
        known = next((number for number, each in enumerate(self._sets) if each is images), None)
        if self._loader is None or known is None:
            self._loader, self._answers = None, iter(())  # which ends the processes that there are
            self._sets.append(images)
            self._loader = DataLoader(
                _Reading(list(self._sets)),
                sampler=self._requests,
                batch_size=None,  # a request is one batch
                num_workers=self.workers,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                pin_memory=self._pin,
                multiprocessing_context="fork",  # which shares what is in memory, and open files
                worker_init_fn=partial(_begin_reading, os.getpid()),
                generator=torch.Generator(),  # or it would draw from that of the process
            )
            known = len(self._sets) - 1
        return self._loader, known

    def _has_room(self, images: Pixels, batches: Sequence[Tensor]) -> bool:
        """Whether all batches that can be on their way fit into this process's share of what shared memory is left."""
        largest = max(batch.numel() for batch in batches) * math.prod(images.shape[1:])
        try:
            found = os.statvfs(SHARED_MEMORY)
        except OSError:  # no such system
            return True
        needed = self.workers * (AHEAD + 1) * largest
        left = found.f_bavail * found.f_frsize // processes.count_here()
        if needed > left:
            warnings.warn(
                f"image_workers={self.workers} do not read batches of {largest / 1e6:.3g} MB, which go through "
                f"{SHARED_MEMORY}, of which {left / 1e6:.3g} MB are left to this process: give it more "
                "(of a container: --shm-size)",
                stacklevel=4,
            )
        return needed <= left


class _Reading(Dataset[Answer]):
    def __init__(self, sets: list[Pixels]) -> None:
        self._sets = sets

    def __getitem__(self, request: Request) -> Answer:
        number, positions = request
        try:
            return self._sets[number][torch.from_numpy(positions)]
        except ReadingError as error:  # as a value: raised, it would reach the other process as a traceback
            return error


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Within, signals wait: a process that begins here gets none before it has said what they are to it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPPING, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_reading(trainer: int, worker: int) -> None:
    """Let the process ``trainer`` alone answer signals, heed only its own, and end with it however it ends."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != trainer:  # it ended before this one came so far, so that no signal will tell
            os._exit(0)
        threading.Thread(target=_end_when_told, daemon=True).start()  # SIGTERM stays held back for it
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_when_told() -> None:
    """Schedulers send SIGTERM to all processes ahead of a preemption; only the training process's own ends a reader."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@contextmanager
def told_of_lost_readers() -> Iterator[None]:
    """Within, the death of a process that reads images is a ReadingError that says what to do.

    It comes to light at any moment, not only where a batch is waited for.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(LOST):
            raise
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise ReadingError(
            f"a process that reads images has died ({reason}), perhaps for want of memory: take fewer "
            "(image_workers=1, or 0 for none), with retry=true"
        ) from error
