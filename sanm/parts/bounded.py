"""A loss whose gradient is not longer than allowed, whatever is added to it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST = 1e-6


def with_bounded_gradient(loss: Tensor, parameters: Iterable[nn.Parameter], longest: float) -> Tensor:
    """The loss times what makes its gradient of the parameters ``longest`` long, where it is longer.

    Takes a backward pass of its own, on one process.
    """
    learning = [each for each in parameters if each.requires_grad]
    gradients = torch.autograd.grad(loss, learning, retain_graph=True, allow_unused=True)
    length = torch.stack([each.norm() for each in gradients if each is not None]).norm()
    return loss * (longest / (length + SMALLEST)).clamp(max=1)
