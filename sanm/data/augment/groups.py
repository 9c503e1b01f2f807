"""Each sample its own operation, each operation run once: on the samples that drew it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]
"""Images ``[G, C, H, W]`` and what each is given ``[G, ...]`` -> images of the same shape and type."""


def apply_drawn(
    images: Tensor, drawn: NDArray[np.int64], numbers: NDArray[Any], operations: Sequence[Operation]
) -> None:
    """Change ``images [B, C, H, W]`` in place: sample b by ``operations[drawn[b]]``, given ``numbers[b]``.

    ``drawn [B]`` of ``len(operations)`` leaves a sample as it is; ``numbers`` is ``[B, ...]``. Both are on the host, so
    that the sizes of the groups are known without waiting for the device.
    """
    order = np.argsort(drawn, kind="stable")
    sizes = np.bincount(drawn, minlength=len(operations) + 1).tolist()
    rows = on_device(order, torch.int64, images.device).split(sizes)
    given = on_device(numbers[order], torch.float32, images.device).split(sizes)
    for operation, group, own in zip(operations, rows, given, strict=False):
        if len(group):
            images.index_copy_(0, group, operation(images.index_select(0, group), own))


def on_device(values: NDArray[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Host values as a tensor on the device, without waiting for it."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype).to(device, non_blocking=True)
