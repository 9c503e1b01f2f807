"""Whether the processes of a run still hold the same state."""

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed

from sanm.errors import DivergedError
from sanm.machine.several.processes import Team, collective


def check_same(state: Mapping[str, Any], team: Team, when: str) -> None:
    """Raises DivergedError that names what of ``state``, tensors and plain values, the processes hold differently.

    All have to call it. Tensors are compared by the sum of their bytes.
    """
    sums = torch.stack([_sum_of(value) for value in state.values()])
    everywhere = [torch.empty_like(sums) for _ in range(distributed.get_world_size())]
    collective(lambda: distributed.all_gather(everywhere, sums, group=team.talk))
    different = (torch.stack(everywhere) != everywhere[0]).any(0)
    if different.any():
        name = list(state)[int(different.nonzero()[0])]
        raise DivergedError(f"{name} is not the same in all processes {when}: are their GPUs of one kind?")


def _sum_of(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().flatten().contiguous().view(torch.uint8).sum(dtype=torch.int64).cpu()
    return torch.tensor(zlib.crc32(repr(value).encode()))
