"""Checkpoint files: all that training goes on from, whole or not there."""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sanm import given_files
from sanm.errors import InputError
from sanm.files import check_sums, write_bytes
from sanm.record.identity import difference
from sanm.record.reading import RecordError

AGAIN = "delete it to start this run again"

CHEAP = 0.02
"""Of the time of an epoch: what a checkpoint may take to be written after every one."""


class Pace:
    """When a checkpoint is due at the end of an epoch: at every one where it is cheap, else every so many seconds."""

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._saved = self._epoch_began = clock()
        self._cost = 0.0  # seconds that the last one took

    def due(self) -> bool:
        """Whether to write one now; to be asked once, at the end of every epoch."""
        now = self._clock()
        cheap = self._cost <= CHEAP * (now - self._epoch_began)
        self._epoch_began = now
        return cheap or now - self._saved >= self._every

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of one."""
        began = self._clock()
        yield
        self._saved = self._epoch_began = self._clock()
        self._cost = self._saved - began


def save(path: Path, value: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically. Raises InputError when the disk is full."""
    packed = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(value, packed)
    write_bytes(path, packed.getbuffer())


def read(path: Path, own: bool = True) -> Any:
    """What a torch file of tensors and plain values holds, on the host; nothing in it is executed.

    Its check sums are verified, which torch does not do. A file that ``save`` did not write (``own`` is False) may
    have none. Raises OSError when it cannot be read, ValueError that says in a few words why it is not intact.
    """
    given_files.status_of(path)
    check_sums(path, required=own)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except RuntimeError as error:  # in torch's words; of anything else its unpickler says nothing, or a page
        raise ValueError(str(error).partition("\n")[0].rstrip(":. ")) from error
    except Exception as error:
        raise ValueError("it is no file of torch's with plain values alone") from error


def resume(path: Path, load: Callable[[Mapping[str, Any]], None], identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ``save`` wrote, with ``"rows"``, after ``load`` has taken its ``"trainer"``; None without a file.

    Raises RecordError when the file cannot be read or taken, or says that it is of another ``identity``. A file that
    is older than that, and a process that records nothing and so has none, say nothing of it.
    """
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = read(path)
        stored, rows = saved.get("identity"), saved["rows"]
        differs = difference(stored, identity) if stored and identity else None
        if differs is None:
            load(saved["trainer"])
    except (torch.OutOfMemoryError, MemoryError, InputError):  # nothing is wrong with the file
        raise
    except Exception as error:  # what is not as it was written raises nearly anything
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise RecordError(path, f"cannot be read ({reason})", AGAIN) from error
    if differs or not isinstance(rows, list):
        raise RecordError(path, f"is of another run ({differs})", AGAIN)
    return saved
