"""MOIT+ (Ortego et al., CVPR 2021): MOIT, then tuned with a new classifier on the trusted samples alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from sanm.config.phases import in_epochs
from sanm.methods import soft_cross_entropy
from sanm.methods.moit import MultiObjectiveInterpolationTraining
from sanm.parts.batches import shuffled
from sanm.parts.mixup import draw_mix_of_each_view
from sanm.step import Batch, Draw, Forward, Look, Step

TUNES = 2
"""The phase in which the trusted samples alone are seen."""


class FineTuned(MultiObjectiveInterpolationTraining):
    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """The trusted samples alone in tuning."""
        if step.phase < TUNES:
            return super().batches(clean, step)
        trusted = self._trusted(clean, step.epoch)
        return [Draw(index, len(index)) for index in shuffled(trusted, self.batch_size, step.random)]

    def _trusted(self, clean: Tensor, epoch: int) -> Tensor:
        """Positions of the trusted samples; of all, where they do not fill a batch."""
        trusted = self.keeps_label(clean, epoch).nonzero()[:, 0].cpu()
        if len(trusted) < min(self.batch_size, len(clean)):
            warnings.warn(f"epoch {epoch + 1}: few labels are trusted; learning from all samples", stacklevel=2)
            return torch.arange(len(clean))
        return trusted

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label, later with a part of the class that the network predicts for the image as it is."""
        if step.phase < TUNES:
            return super().believe(batch, look, step)
        predicted, part = look.probs(step.network).mean(0), self.settings["bootstrap"]
        if step.epoch < in_epochs(self.settings["bootstrap_from"], step.epochs):
            return batch.y[0]
        guessed = torch.zeros_like(predicted).scatter_(1, predicted.argmax(-1, keepdim=True), 1)
        return (1 - part) * batch.y[0] + part * guessed

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Tuning classifies mixed images, and nothing else."""
        if step.phase < TUNES:
            return super().losses(forward, batch, step)
        mix = draw_mix_of_each_view(batch, self.settings["alpha"], step.random)
        return soft_cross_entropy(forward(mix(batch.x)), mix(batch.y))


METHOD = FineTuned
