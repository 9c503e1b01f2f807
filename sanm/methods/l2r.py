"""L2R (Ren, Zeng, Yang, Urtasun: Learning to Reweight Examples for Robust Deep Learning, ICML 2018).

A sample counts by how far its gradient agrees with that of a few samples whose labels are known to be true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sanm.methods import Method, soft_cross_entropy
from sanm.parts.trusted import beside_trusted, trusted_samples
from sanm.step import Batch, Draw, Forward, Step, Task


class LearningToReweight(Method):
    one_process = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where no label is known to be true."""
        super().__init__(settings, task)
        self.trusted: Tensor
        self.register_buffer("trusted", trusted_samples(task, settings))

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """A batch of trusted samples, which start again at their end, before each of others."""
        return beside_trusted(self.trusted, self.batch_size, step)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of the samples that are not trusted, each by its weight; the weights of a batch sum to 1."""
        n = batch.num_labeled
        rows = soft_cross_entropy(forward(batch.x[:, n:]), batch.y[:, n:])
        weights = self._agreement(forward, rows[0], batch).clamp(min=0)
        weights = weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        scale = len(batch.index)  # the mean over all rows is then the weighted sum
        return torch.cat([torch.zeros_like(batch.y[:, :n, 0], dtype=rows.dtype), scale * weights * rows], 1)

    def _agreement(self, forward: Forward, rows: Tensor, batch: Batch) -> Tensor:
        """By how much the loss of the trusted rows falls with each sample's weight, ``[B - n]`` (Eq. 7 and 12).

        At weight 0 it is the product of both gradients; the step is of rate 1, since weights are scaled anyway.
        """
        n = batch.num_labeled
        weights = torch.zeros_like(rows, requires_grad=True)
        later = forward.after((weights * rows).sum(), rate=1.0, second_order=True)
        probe = soft_cross_entropy(later(batch.x[:1, :n]), batch.y[0, :n]).mean()
        return -torch.autograd.grad(probe, weights, retain_graph=True)[0]


METHOD = LearningToReweight
