"""Where a step would make the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "is_nonzero",
    "unique_dim",
    "_unique2",
    "unique_consecutive",
    "repeat_interleave.Tensor",
    "bincount",
}
"""Operators whose result, or the shape of it, is only known once the device has computed it."""
TO_THE_HOST = {"cpu", "numpy", "tolist", "item", "__array__"}


class _Operators(TorchDispatchMode):
    """Within, notes every operator of a tensor that would wait, on whatever device it runs."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        if name.startswith("index") and _has_mask(args):
            self.seen.append(f"{name} by a mask")
        elif {name, name.partition(".")[0]} & WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class _Reads(TorchFunctionMode):
    """Within, notes every read of a tensor from the host."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in TO_THE_HOST:
            self.seen.append(f"Tensor.{func.__name__}")
        return func(*args, **(kwargs or {}))


def waits_within(step: Callable[[], object]) -> list[str]:
    """The operators of a step that would wait for a GPU, and reads of tensors from the host; runs on any device."""
    seen: list[str] = []
    with _Operators(seen), _Reads(seen):
        step()
    return seen


def _has_mask(arguments: Any) -> bool:
    indices = arguments[1] if len(arguments) > 1 else None
    return isinstance(indices, list | tuple) and any(
        isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices
    )
