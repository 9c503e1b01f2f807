"""Joint-Optim (Tanaka et al.: Joint Optimization Framework for Learning with Noisy Labels, CVPR 2018).

At a high learning rate a network does not memorise. It learns, and all labels are replaced by the mean of what it said
of each image in the last ten passes; a new network then learns those labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.config.phases import epochs_of
from sanm.methods import Method
from sanm.step import Batch, Forward, Look, Step, Task

REMEMBERED = 10
"""Passes over which the new label is the mean."""


class JointOptim(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.said: Tensor
        self.passes: Tensor
        self.register_buffer("said", torch.zeros(REMEMBERED, len(task.given), task.num_classes))
        self.register_buffer("passes", torch.zeros(len(task.given), dtype=torch.int64))

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label, until labels are replaced; one that was never seen keeps it."""
        if step.epoch < epochs_of(self.settings["replace_from"], step.epochs):
            return batch.y[0]
        passes = self.passes[batch.index, None]
        mean = self.said[:, batch.index].sum(0) / passes.clamp(min=1, max=REMEMBERED)
        return torch.where(passes > 0, mean, batch.y[0])

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy; in the first phase all classes are wanted over a batch, and one in each prediction (Eq. 8)."""
        log_probs = forward(batch.x).log_softmax(-1)
        losses = -(batch.y * log_probs).sum(-1)
        if step.phase:
            return losses
        probs = log_probs.exp()
        self._remember(batch, probs)
        prior = -probs.flatten(0, -2).mean(0).clamp(min=1e-8).log().mean()
        entropy = -(probs * log_probs).sum(-1)
        return losses + float(self.settings["alpha"]) * prior + float(self.settings["beta"]) * entropy

    @torch.no_grad()
    def _remember(self, batch: Batch, probs: Tensor) -> None:
        self.said[self.passes[batch.index] % REMEMBERED, batch.index] = batch.seen_of_own(probs).to(self.said.dtype)
        self.passes[batch.index] += 1


METHOD = JointOptim
