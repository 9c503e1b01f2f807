"""JoCoR (Wei, Feng, Chen, An: Combating Noisy Labels by Agreement, CVPR 2020).

Two networks learn from the samples whose joint loss is small: both cross-entropies, and how far their predictions are
apart, which is made small as well (Eq. 4 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sanm.methods.coteaching import CoTeaching, own_losses
from sanm.step import Batch, Forward, Step, Task


class JoCoR(CoTeaching):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        if self.known_rate is not None:
            self.known_rate *= float(settings["forget_factor"])
        self._log_probs: list[Tensor] = []  # of the networks of a step

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy; beside it what the network says is kept for ``share``."""
        log_probs = forward(batch.x).log_softmax(-1)
        self._log_probs = [*self._log_probs[: step.network], log_probs]
        return -(batch.y * log_probs).sum(-1)

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """The joint loss of the samples where it is smallest.

        Each network has its gradient of it, for which the peer's part is a constant. Views of plug-ins have
        cross-entropy alone, unless they stand in the place of the method's own.
        """
        said = [self._said(k, batch) for k, batch in enumerate(batches)]
        supervised = [own_losses(each, seen) for each, seen in zip(losses, batches, strict=True)]
        weight = float(self.settings["agreement"])
        joint = (1 - weight) * (supervised[0] + supervised[1]) + weight * divergence(said[0], said[1])
        easiest = self.easiest(joint, step.epoch)
        found = []
        for k, own in enumerate(losses):
            apart = divergence(self._log_probs[k], said[1 - k])
            agrees = torch.arange(len(own), device=own.device) < (batches[k].own or len(own))
            peers = (1 - weight) * supervised[1 - k]  # so that the figure is the published one
            each = (1 - weight) * own + agrees[:, None] * (weight * apart + peers)
            found.append(each[:, easiest].mean())
        self._log_probs = []
        return found

    def _said(self, k: int, batch: Batch) -> Tensor:
        """Log-probabilities ``[B, K]`` of network k for the method's own views, without gradient."""
        return batch.seen_of_own(self._log_probs[k].exp()).clamp(min=torch.finfo(torch.float32).tiny).log()


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Both Kullback-Leibler divergences of two distributions, given as log-probabilities ``[..., K]``, added up."""
    return ((first.exp() - second.exp()) * (first - second)).sum(-1)


METHOD = JoCoR
