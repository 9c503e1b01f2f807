"""Co-teaching+ (Yu et al.: How does Disagreement Help Generalization against Label Corruption?, ICML 2019).

Co-teaching for some epochs; then each network learns from what its peer finds easy among the samples of which both say
different classes, which keeps the networks apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sanm.config.phases import epochs_of
from sanm.methods import soft_cross_entropy
from sanm.methods.coteaching import CoTeaching, own_losses
from sanm.parts.disagreement import Disagreement
from sanm.step import Batch, Forward, Step, Task


class CoTeachingPlus(CoTeaching):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self._disagreement = Disagreement()

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy; what the network says of the method's own views is kept for ``share``.

        The released code takes probabilities for logits once it asks for disagreement.
        """
        logits = forward(batch.x)
        self._disagreement.hear(step.network, batch, logits)
        if self._plus(step) and self.settings["plus_loss"] == "of_probabilities":
            logits = logits.softmax(-1)
        return soft_cross_entropy(logits, batch.y)

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """As Co-teaching, but among the samples of which both say different classes; zero where there is none."""
        if not self._plus(step):
            return super().share(losses, batches, step)
        disagree = self._disagreement.where()
        own = [own_losses(each, seen) for each, seen in zip(losses, batches, strict=True)]
        easiest = [kept_among(disagree, each, self.forget(step.epoch)) for each in own]
        return [
            (each * chosen).sum(1).mean() / chosen.sum().clamp(min=1)
            for each, chosen in zip(losses, reversed(easiest), strict=True)
        ]

    def _plus(self, step: Step) -> bool:
        return step.epoch >= epochs_of(self.settings["plus_from"], step.epochs)


def kept_among(candidates: Tensor, losses: Tensor, forget: float) -> Tensor:
    """Which of the ``candidates [B]`` are kept, as 0 and 1: all but the share ``forget`` of largest ``losses [B]``.

    All of them where rounding would keep none. Nobody waits for the device here.
    """
    count = candidates.sum()
    kept = ((1 - forget) * count.double()).floor()
    kept = torch.where(kept > 0, kept, count.double())
    order = losses.masked_fill(~candidates, float("inf")).argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return ((rank < kept) & candidates).float()


METHOD = CoTeachingPlus
