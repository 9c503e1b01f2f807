"""Decoupling (Malach, Shalev-Shwartz: Decoupling "when to update" from "how to update", NeurIPS 2017).

Two networks see the same batch, and learn from the samples of which they say different classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sanm.methods import Method, soft_cross_entropy
from sanm.parts.disagreement import Disagreement
from sanm.step import Answers, Batch, Forward, Step, Task


class Decoupling(Method):
    turns = ((0, 1),)
    divides_after_warm_up = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self._disagreement = Disagreement()

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy; beside it what the network says of the method's own views is kept for ``share``."""
        logits = forward(batch.x)
        self._disagreement.hear(step.network, batch, logits)
        return soft_cross_entropy(logits, batch.y)

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """Each network's losses where both disagree, over their number or over a least share of the batch.

        Where they disagree nowhere the loss is zero.
        """
        if self.warming_up(step.epoch):
            return super().share(losses, batches, step)
        disagree = self._disagreement.where().float()
        count = disagree.sum().clamp(min=self.settings["least_share"] * len(disagree))
        return [(each * disagree).sum(1).mean() / count for each in losses]

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """The first network alone, as published, or both."""
        return networks if self.settings["ensemble"] else networks[:1]


METHOD = Decoupling
