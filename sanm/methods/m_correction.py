"""M-correction (Arazo et al.: Unsupervised Label Noise Modeling and Loss Correction, ICML 2019).

Mixup for some epochs. Then a mixture of Beta distributions over losses says of each sample how likely its label is
wrong; by so much the network's own prediction takes the label's place, under mixup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sanm.config.phases import in_epochs
from sanm.methods import Method, soft_cross_entropy
from sanm.parts.beta_mixture import BINS, TOO_CLOSE, fitted
from sanm.parts.mixup import draw_mix
from sanm.step import Batch, Forward, Look, Step, Task, at_least_single
from sanm.survey import Survey

SMALLEST_DOUBT = 1e-4


class MCorrection(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.num_classes, self.epochs = task.num_classes, task.epochs
        self.table: Tensor
        self.range: Tensor
        self.register_buffer("table", torch.full((BINS,), 0.5))  # how likely a label is wrong, by its scaled loss
        self.register_buffer("range", torch.tensor([0.0, 1.0]))  # the losses between which they are scaled

    def corrects(self, epoch: float) -> bool:
        return epoch >= in_epochs(float(self.settings["correct_from"]), self.epochs)

    def needs_clean_probability(self, epoch: int) -> bool:
        return self.corrects(epoch)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """Fit the mixture to losses on augmented images, as published; a fit that tells nothing apart is not taken."""
        losses = survey.on("weak").losses(k)
        settings = self.settings
        found, low, high = fitted(losses.double().cpu().numpy(), str(settings["start"]), int(settings["fit_steps"]))
        if float(np.diff(found.means)[0]) >= TOO_CLOSE or settings["start"] == "published":
            self.table.copy_(torch.from_numpy(found.table()))
            self.range.copy_(torch.tensor([low, high]))
        return 1 - self.doubt(losses)

    def doubt(self, losses: Tensor) -> Tensor:
        """How likely a label of such a loss is wrong, looked up."""
        low, high = self.range
        place = (losses - low) / (high - low).clamp(min=1e-8)
        return self.table[(place * BINS).long().clamp(0, BINS - 1)].clamp(SMALLEST_DOUBT, 1 - SMALLEST_DOUBT)

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label, and by as much as it is doubted what the network says of the image in training."""
        if not self.corrects(step.epoch) or self._mixes_before(step):
            return batch.y[0]
        doubt = self._doubt_of(batch, look, step)[:, None]
        with torch.no_grad():
            logits = at_least_single(look.networks[step.network](look.x[0]))
        if self.settings["correction"] == "hard":
            said = one_hot(logits.argmax(-1), self.num_classes).to(batch.y.dtype)
        else:
            said = (logits / self.temperature(step.epoch)).softmax(-1)
        return (1 - doubt) * batch.y[0] + doubt * said

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of mixed images; once labels are corrected, all classes are wanted over a batch."""
        corrects = self.corrects(step.epoch)
        mixed = self._mixed_by_doubt(batch, step) if corrects and self._dynamic() else self._mixed(batch, step)
        logits = forward(mixed.x)
        losses = soft_cross_entropy(logits, mixed.y)
        if not corrects or self._mixes_before(step):
            return losses
        mean = logits.softmax(-1).flatten(0, -2).mean(0).clamp(min=1e-8)
        return losses - float(self.settings["prior_weight"]) * (mean.log().mean() + math.log(self.num_classes))

    def temperature(self, epoch: int) -> float:
        """Of what the network says: with ``dynamic`` it falls from 1 to 0.001."""
        if not self._dynamic():
            return 1.0
        begun = epoch - self._dynamic_from()
        length = max(in_epochs(float(self.settings["sharpened_within"]), self.epochs), 1)
        return 1 - min(max(begun / length, 0), 1) * (1 - 1e-3)

    def _dynamic(self) -> bool:
        return str(self.settings["correction"]) == "dynamic"

    def _dynamic_from(self) -> float:
        settings = self.settings
        return sum(in_epochs(float(settings[key]), self.epochs) for key in ("correct_from", "mixed_first"))

    def _mixes_before(self, step: Step) -> bool:
        """Whether images are mixed by doubt already, and labels not corrected yet."""
        return self._dynamic() and step.epoch < self._dynamic_from()

    def _doubt_of(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """Of the given labels, as the network sees the images now, ``[B]``."""
        probs = look.probs(step.network)[0].gather(-1, batch.given[:, None])[:, 0]
        return self.doubt(-probs.clamp(min=1e-8).log())

    def _mixed(self, batch: Batch, step: Step) -> Batch:
        mix = draw_mix(batch, float(self.settings["alpha"]), step.random, first_prevails=False)
        return replace(batch, x=mix(batch.x), y=mix(batch.y))

    def _mixed_by_doubt(self, batch: Batch, step: Step) -> Batch:
        """The cleaner image prevails; labels have half each, or before labels are corrected a share of about half."""
        mix = draw_mix(batch, float(self.settings["alpha"]), step.random, first_prevails=False)
        trusted = batch.clean.expand(len(batch.x), -1).flatten()
        other = trusted[mix.partner]
        kept = trusted / (trusted + other).clamp(min=1e-8)
        rows = batch.x.flatten(0, 1)
        images = torch.lerp(rows[mix.partner], rows, kept[:, None, None, None].to(rows.dtype))
        labels = mix if self._mixes_before(step) else replace(mix, coefficient=0.5)
        return replace(batch, x=images.unflatten(0, batch.x.shape[:2]), y=labels(batch.y))


METHOD = MCorrection
