"""Checkpoint files: all that training goes on from, whole or not there."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from sanm.errors import InputError
from sanm.files import write_atomically

UNREADABLE = (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, UnpicklingError, struct.error)
"""What torch and its pickle raise for a file that is not what it should be."""


def save(path: Path, value: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically. Raises InputError when the disk is full."""
    packed = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(value, packed)
    write_atomically(path, lambda handle: handle.write(packed.getbuffer()))


def resume(path: Path, load: Callable[[Mapping[str, Any]], None]) -> dict[str, Any] | None:
    """What ``save`` wrote, after ``load`` has taken its ``"trainer"``; None without a file.

    Raises InputError when the file cannot be read or taken.
    """
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        load(saved["trainer"])
    except torch.OutOfMemoryError:  # nothing is wrong with the file
        raise
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} cannot be read ({reason}): delete it to start this run again") from error
    return saved
