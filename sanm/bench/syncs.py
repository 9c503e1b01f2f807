"""Where a step would make the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sanm.bench.parts import Wrapper, around

WAITING = (
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
)
"""Operators whose result, or the shape of it, is only known once the device has computed it."""
TO_THE_HOST = ("cpu", "numpy", "tolist", "item", "__array__")


class Waits(TorchDispatchMode):
    """Within, notes every operator of a tensor that would wait, on whatever device it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        by_mask = name.startswith("index") and _has_mask(args)
        if by_mask or any(name == each or name.startswith(f"{each}.") for each in WAITING):
            self.seen.append(f"{name} by a mask" if by_mask else name)
        return func(*args, **(kwargs or {}))


def waits_within(step: Callable[[], object]) -> list[str]:
    """The operators of a step that would wait for a GPU, and reads of tensors from the host; runs on any device."""
    with ExitStack() as stack:
        seen = stack.enter_context(Waits()).seen
        for name in TO_THE_HOST:
            stack.enter_context(around(Tensor, name, _noting(f"Tensor.{name}", seen)))
        step()
    return seen


def _noting(name: str, seen: list[str]) -> Wrapper:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            seen.append(name)
            return function(*arguments, **named)

        return noted

    return wrapper


def _has_mask(arguments: Any) -> bool:
    indices = arguments[1] if len(arguments) > 1 else None
    return isinstance(indices, list | tuple) and any(
        isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices
    )


def first_wait_on_gpu(step: Callable[[], object], device: torch.device) -> str | None:
    """What CUDA says of the first wait within a step; None where there is none."""
    torch.cuda.synchronize(device)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None
