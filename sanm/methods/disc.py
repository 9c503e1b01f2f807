"""DISC (Li, Han, Shan, Chen: Dynamic Instance-Specific Selection and Correction, CVPR 2023).

How sure a network is of a sample grows as it memorises it. So each sample has a threshold for each of two views, an
average of how sure the network was of it. Samples whose given label is above both are clean, above one of them hard;
of the others those are corrected of whose class the network is surer than ever. All of them are learned, mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sanm.errors import InputError
from sanm.methods import Method, soft_cross_entropy
from sanm.methods.gce import generalized
from sanm.parts.batches import shuffled
from sanm.parts.mixup import draw_mix_of_each_view
from sanm.parts.targets import one_hot
from sanm.step import Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

VIEWS = 2
LEFT_OUT, CORRECTED, HARD, CLEAN = range(4)
HIGHEST_BOUND = 0.99
"""Of the confidence above which a class is corrected."""


class DynamicSelectionAndCorrection(Method):
    divides_after_warm_up = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where a sample has not two views. Before the first division all samples are clean."""
        super().__init__(settings, task)
        if settings["views"] * len(self.learns_from(0)) != VIEWS:
            raise InputError(
                "base_method.learn_from: wants two pools, as [weak, randaugment], of one view each "
                "(base_method.views=1); or one pool and base_method.views=2"
            )
        count = self.num_samples
        self.probs: Tensor
        self.thresholds: Tensor
        self.group: Tensor
        self.labels: Tensor
        self.register_buffer("probs", torch.zeros(VIEWS, count, task.num_classes))
        self.register_buffer("thresholds", torch.full((VIEWS, count), 1 / count))
        self.register_buffer("group", torch.full((count,), CLEAN, dtype=torch.int8))
        self.register_buffer("labels", task.given.clone())

    def judged_by(self, step: Step) -> Tensor:
        """All samples of the epoch, which are divided after it, in the warm-up too."""
        count = self.num_samples if step.drawn is None else len(step.drawn)
        return torch.arange(count, device=self.group.device)

    def judge(self, survey: Survey, step: Step) -> None:
        """Divide samples by what was said of them in training; then their thresholds follow (Eq. 2 to 7)."""
        index, given = survey.index, survey.given
        probs, thresholds = self.probs[:, index], self.thresholds[:, index]
        above = probs.gather(-1, given.expand(VIEWS, -1)[..., None])[..., 0] > thresholds
        confidence, predicted = probs.mean(0).max(-1)
        bound = (thresholds.mean(0) + self.settings["correct_above"]).clamp(max=HIGHEST_BOUND)
        corrected = ~above.any(0) & (confidence > bound)
        self.group[index] = (CORRECTED * corrected + HARD * (above.sum(0) == 1) + CLEAN * above.all(0)).to(torch.int8)
        self.labels[index] = torch.where(corrected, predicted, given)
        self.thresholds[:, index] = torch.lerp(probs.amax(-1), thresholds, self.settings["momentum"])

    def needs_clean_probability(self, epoch: int) -> bool:
        """For the record, that it be of the division by which the epoch learns."""
        return not self.warming_up(epoch)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """1 of clean samples, a half of hard ones, 0 of all others."""
        return ((self.group[survey.index] - CORRECTED).clamp(min=0) / (CLEAN - CORRECTED)).float()

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Those that are clean or hard."""
        return (clean > 0) | self.warming_up(epoch)

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """All samples; in a batch those that are learned come first."""
        group = (self.group if step.drawn is None else self.group[step.drawn]).cpu()
        learned = (group != LEFT_OUT) | self.warming_up(step.epoch)
        every = shuffled(len(clean), self.batch_size, step.random)
        return [Draw(index[(~learned[index]).argsort(stable=True)], int(learned[index].sum())) for index in every]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        return batch.y[0] if self.warming_up(step.epoch) else one_hot(self.labels[batch.index], self.num_classes)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """The two views' losses are summed, as published. In the warm-up: cross-entropy. Then: ``_unmixed``, and
        mixup of all rows that are learned, of which masked views have a part too (Eq. 8 to 11).
        """
        (views, rows), n = batch.x.shape[:2], batch.num_labeled
        if self.warming_up(step.epoch) or not n:  # where no row is learned, all losses are zero
            logits = forward(batch.x)
            self._remember(batch, logits)
            return VIEWS * (n > 0) * soft_cross_entropy(logits, batch.y)
        losses = batch.y.new_zeros(views, rows)
        if batch.own:
            logits = forward.own(batch.x[: batch.own])
            losses = losses + pad(self._unmixed(logits, batch), (0, 0, 0, views - batch.own))
            self._remember(batch, logits)
        else:
            self._remember(batch, batch.y)
        mixed = self._mixed(forward, replace(batch, x=batch.x[:, :n], y=batch.y[:, :n]), step)
        return VIEWS * (losses + pad(mixed * (rows / n), (0, rows - n)))

    def _unmixed(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of clean rows, the generalized one of hard rows, of the method's own views ``[V, B]``."""
        log_probs, labels, group = logits.log_softmax(-1), batch.y[: batch.own], self.group[batch.index]
        plain = -(labels * log_probs).sum(-1)
        robust = (labels * generalized(log_probs, self.settings["q"])).sum(-1)
        return plain * (group == CLEAN) + self.settings["hard_weight"] * robust * (group == HARD)

    def _mixed(self, forward: Forward, learned: Batch, step: Step) -> Tensor:
        """Cross-entropy ``[V, n]`` of mixed rows. Each of the method's views is mixed, and passed, on its own."""
        mix = draw_mix_of_each_view(learned, self.settings["alpha"], step.random)
        x, own = mix(learned.x), learned.own
        logits = [forward.own(view[None]) for view in x[:own]]
        if own < len(x):
            logits.append(forward(x[own:]))
        return soft_cross_entropy(torch.cat(logits), mix(learned.y))

    def _remember(self, batch: Batch, logits: Tensor) -> None:
        """Take what the network says of each of the method's own views while it learns, before its step."""
        seen = logits.detach()[:VIEWS].softmax(-1) if batch.seen is None else batch.seen
        self.probs[:, batch.index] = seen.to(self.probs.dtype)


METHOD = DynamicSelectionAndCorrection
