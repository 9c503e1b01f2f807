"""DULC (AAAI 2025), our reading: nothing is selected, every label is corrected, by as much as it is doubted.

Doubt is how far the network's prediction is from the given label, against other samples of that class. Early on it is
drawn towards one level for all. Corrected labels are learned from strong views, mixed, beside a contrast of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.config.phases import in_epochs
from sanm.errors import InputError
from sanm.methods import Method, soft_cross_entropy
from sanm.methods.dividemix import sharpen, uniform_prior_penalty
from sanm.network import Network
from sanm.parts.contrast import instance_contrast, unit_length
from sanm.parts.divergence import label_divergence, scaled_in_class
from sanm.parts.mixup import mixup
from sanm.step import Batch, Forward, Look, Step, Task
from sanm.survey import Survey

PROJECTION, WIDTH = "projection", 128


class WholeLabelCorrection(Method):
    divides_after_warm_up = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where there is a contrast to weigh, but not two views of an image."""
        super().__init__(settings, task)
        if settings["contrast_weight"] and settings["views"] * len(super().learns_from(0)) != 2:
            raise InputError("base_method.contrast_weight: wants two views of an image, base_method.views=2; or give 0")

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            inputs = network.classifier.in_features
            network.heads[PROJECTION] = nn.Sequential(nn.Linear(inputs, WIDTH), nn.BatchNorm1d(WIDTH))

    def num_views(self, epoch: int) -> int:
        return 1 if self.warming_up(epoch) else super().num_views(epoch)

    def learns_from(self, epoch: int) -> Sequence[str]:
        """The warm-up learns from the images that labels are guessed on."""
        return [str(self.settings["guess_on"])] if self.warming_up(epoch) else super().learns_from(epoch)

    def needs_clean_probability(self, epoch: int) -> bool:
        return not self.warming_up(epoch)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """What is left of the given label: 1 less its doubt, which in the warm-up is as at its end."""
        of_given = survey.probs(k).gather(1, survey.given[:, None])[:, 0]
        doubt = scaled_in_class(label_divergence(of_given), survey.given, self.num_classes)
        return 1 - torch.lerp(doubt, torch.full_like(doubt, self.settings["early_level"]), self.early(step))

    def early(self, step: Step) -> float:
        """How far doubt is drawn towards one level for all, which falls to zero."""
        length = in_epochs(float(self.settings["early_epochs"]), step.epochs)
        begun = max(step.epoch - self.settings["warm_up"], 0)
        return float(self.settings["early_weight"]) * max(1 - begun / length, 0.0) if length else 0.0

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label, and as far as it is doubted what the network says of weak views, sharpened."""
        if self.warming_up(step.epoch):
            return batch.y[0]
        said = sharpen(look.probs(step.network).mean(0), self.settings["temperature"])
        kept = batch.clean[:, None]
        return kept * batch.y[0] + (1 - kept) * said

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Mixup over all views, all classes alike over the batch; the contrast is of the method's own views."""
        if self.warming_up(step.epoch):
            return super().losses(forward, batch, step)
        mixed = mixup(batch, self.settings["alpha"], step.random)
        logits = forward(mixed.x)
        losses = soft_cross_entropy(logits, mixed.y) + uniform_prior_penalty(logits.softmax(-1))
        if self.settings["contrast_weight"] and batch.own:
            losses = losses + self.settings["contrast_weight"] * self._contrast(forward, batch.x[: batch.own])
        return losses

    def _contrast(self, forward: Forward, x: Tensor) -> Tensor:
        """How little each of two views picks out the other among all of the batch (SimCLR); a scalar."""
        projected = []
        for view in x:  # each passed on its own
            forward.own(view[None])
            projected.append(unit_length(forward.head(PROJECTION)[0]))
        both = torch.cat(projected)
        image = torch.eye(x.shape[1], dtype=torch.bool, device=x.device).repeat(2, 2)
        return instance_contrast(
            both, both.roll(x.shape[1], 0), both, self.settings["contrast_temperature"], image
        ).mean()


METHOD = WholeLabelCorrection
