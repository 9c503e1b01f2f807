"""CDR (Xia et al.: Robust Early-Learning: Hindering the Memorization of Noisy Labels, ICLR 2021).

At every step only the weights that matter most to the loss learn from it; the others only decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sanm.methods import Method, noise_rate
from sanm.network import Network
from sanm.step import Step, Task


class RobustEarlyLearning(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError when the noise rate is not known."""
        super().__init__(settings, task)
        self.share_critical = 1 - noise_rate(settings)

    @torch.no_grad()
    def after_backward(self, network: Network, step: Step) -> None:
        """Keep, and damp, the gradients of the critical weights of convolutions and linear layers, over all of them.

        Biases and batch norms learn as they are. The decay is the optimizer's (L2) in the published code; the paper's
        is L1, which ``l1_decay`` adds to the gradient of every such weight.
        """
        weights = [each for each in network.own_parameters() if each.dim() in (2, 4) and each.grad is not None]
        gradients = [each.grad for each in weights if each.grad is not None]
        share = self.share_critical
        importances = [(weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)]
        threshold = kth_largest(torch.cat([each.flatten() for each in importances]), share)
        for weight, gradient, importance in zip(weights, gradients, importances, strict=True):
            gradient.mul_((importance >= threshold) * share)
            if self.settings["l1_decay"]:
                gradient.add_(weight.sign(), alpha=self.settings["l1_decay"])


def kth_largest(values: Tensor, share: float) -> Tensor:
    """The smallest of the largest ``int(share * n)`` values ``[n]``; a scalar, infinite when that is none of them."""
    count = int(share * len(values))
    if count < 1:
        return values.new_full((), torch.inf)
    if values.is_cuda:  # whose kthvalue works on a long vector with a single block
        return values.sort(descending=True).values[count - 1]
    place = len(values) - count
    return torch.from_numpy(np.partition(values.numpy(), place))[place]  # several times as fast as kthvalue


METHOD = RobustEarlyLearning
