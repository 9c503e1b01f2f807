"""A network as it was at its best epoch, by whatever judges it."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from sanm.network import Network


class BestSoFar(nn.Module):
    """A copy of a network, without heads, from the epoch of the highest accuracy; the first of equals.

    Before the first epoch it is the network as it was made.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self.accuracy: Tensor
        self.register_buffer("accuracy", torch.tensor(-1.0))

    def judge(self, network: Network, accuracy: float) -> bool:
        """Take the network's state if ``accuracy`` is higher than any before; returns whether it is."""
        higher = accuracy > float(self.accuracy)
        if higher:
            self.accuracy.fill_(accuracy)
            self.network.load_state_dict(network.state_dict(), strict=False)
        return higher

    @property
    def judged(self) -> bool:
        """Whether any epoch has been."""
        return bool(self.accuracy >= 0)

    def forget(self) -> None:
        """Whatever comes next is the best."""
        self.accuracy.fill_(-1)
