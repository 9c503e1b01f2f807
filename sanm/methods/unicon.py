"""UNICON (Karim et al.: Combating Label Noise Through Uniform Selection and Contrastive Learning, CVPR 2022).

DivideMix whose labeled part has as many samples of each class, those whose prediction diverges least from the given
label. Opinions are of weak views, gradients of strong ones. Two strong views of an unlabeled image are drawn together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods.dividemix import DivideMix
from sanm.network import Network
from sanm.parts.balanced import BestOfEachClass
from sanm.parts.batches import endless_full, whole_batches
from sanm.parts.contrast import nt_xent
from sanm.parts.divergence import FARTHEST, label_divergence
from sanm.step import Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

PROJECTION = "projection"
WIDTH = 128
BELIEVED_BELOW = 0.5
"""Divergence below which a selected label is believed as it is."""


class Unicon(DivideMix):
    measures_each_turn = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.best = BestOfEachClass(task)

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            inputs = network.classifier.in_features
            network.heads[PROJECTION] = nn.Sequential(nn.Linear(inputs, WIDTH), nn.BatchNorm1d(WIDTH))

    def learns_from(self, epoch: int) -> Sequence[str]:
        return [str(self.settings["warm_up_from"])] if self.warming_up(epoch) else super().learns_from(epoch)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """How near the mean prediction of both networks is to the given label: 1 where it is sure of it, else less."""
        self.best.remember(survey.index)
        probs = (survey.probs(0) + survey.probs(1)) / 2
        return 1 - label_divergence(probs.gather(1, survey.given[:, None])[:, 0]) / FARTHEST

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Of each class as many, the nearest to their label; all of a class that has fewer."""
        if self.warming_up(epoch):
            return super().keeps_label(clean, epoch)
        return self.best(clean, max(1, self._near(clean) // self.num_classes))

    def _near(self, clean: Tensor) -> int:
        """How many samples are nearer to their label than the mean; at least a batch."""
        return max(int((clean > clean.mean()).sum()), self._fewest_labeled(clean))

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """One pass over whole labeled batches; the fewer samples are selected, the more unlabeled ones beside them."""
        if self.warming_up(step.epoch):
            return super().batches(clean, step)
        keeps = self.keeps_label(clean, step.epoch).cpu()
        labeled = whole_batches(keeps.nonzero()[:, 0], self.batch_size, step.random)
        guessed = int(self.settings["unlabeled_batch"] * self.batch_size * len(clean) / self._near(clean))
        unlabeled = endless_full((~keeps).nonzero()[:, 0], max(2, guessed), step.random)
        return [Draw(torch.cat([index, next(unlabeled)]), len(index)) for index in labeled]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """As DivideMix, by the divergence: a label near enough is believed, one that is not, the less the farther."""
        divergence = FARTHEST * (1 - batch.clean)
        weight = torch.where(divergence < BELIEVED_BELOW, 1.0, 1 - divergence)
        return super().believe(replace(batch, clean=weight), look, step)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """As DivideMix, and a contrast of unlabeled rows."""
        if self.warming_up(step.epoch):
            return super().losses(forward, batch, step)
        contrast = self._contrast(forward, batch)
        return super().losses(forward, batch, step) + self.settings["contrast_weight"] * contrast

    def _contrast(self, forward: Forward, batch: Batch) -> Tensor:
        """How little the projections of two strong views pick each other out: a scalar, of unlabeled rows.

        Zero where masked views stand in the place of the method's, and with less than two rows.
        """
        views = batch.x[: batch.own, batch.num_labeled :][:2]
        if len(views) < 2 or views.shape[1] < 2:
            return views.new_zeros(())
        projected = []
        for view in views:  # each by itself, as published: batch statistics are of one view
            forward.own(view[None])
            projected.append(forward.head(PROJECTION)[0])
        return nt_xent(torch.stack(projected), float(self.settings["contrast_temperature"]))


METHOD = Unicon
