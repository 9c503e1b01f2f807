"""A weight average of a network: a copy that follows it slowly (Tarvainen and Valpola: Mean Teacher, NeurIPS 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Keep the part ``keep`` of each parameter of the average, take the rest from the one of the same name.

    The network may have others. Statistics of norms are not averaged.
    """
    parameters = dict(network.named_parameters())
    averages: list[Tensor] = []
    followed: list[Tensor] = []
    for name, parameter in average.named_parameters():
        averages.append(parameter)
        followed.append(parameters[name])
    torch._foreach_lerp_(averages, followed, 1 - keep)


@torch.no_grad()
def take_statistics(average: nn.Module, network: nn.Module) -> None:
    """Take the running statistics of a network's norms as they are."""
    statistics = dict(network.named_buffers())
    for name, buffer in average.named_buffers():
        buffer.copy_(statistics[name])
