"""DivideMix (Li, Socher, Hoi: Learning with Noisy Labels as Semi-supervised Learning, ICLR 2020).

Each of two networks fits a mixture to its own losses and so divides the data for the other into labeled (probably
right) and unlabeled. Labels are co-refined, or co-guessed where there are none, and learned MixMatch-style.
"""

from __future__ import annotations

import math
import warnings
from typing import ClassVar

import torch
from torch import Tensor

from sanm.methods import Method, soft_cross_entropy
from sanm.parts.batches import endless, shuffled
from sanm.parts.mixup import mixup
from sanm.parts.some_rows import labeled_rows
from sanm.step import Batch, Draw, Forward, Look, Step


class DivideMix(Method):
    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,), (1,))
    divides_after_warm_up = True

    def warm_up_epochs(self) -> int:
        return int(self.settings["warm_up"])

    def warming_up(self, epoch: int) -> bool:
        return epoch < self.warm_up_epochs()

    def num_views(self, epoch: int) -> int:
        return 1 if self.warming_up(epoch) else super().num_views(epoch)

    def needs_clean_probability(self, epoch: int) -> bool:
        return not self.warming_up(epoch)

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Above the threshold; and at least a batch of the most trusted, so that there is something to learn from."""
        if self.warming_up(epoch):
            return super().keeps_label(clean, epoch)
        keeps, fewest = clean > self.threshold(clean), self._fewest_labeled(clean)
        if int(keeps.sum()) < fewest:
            keeps = torch.zeros_like(keeps).index_fill(0, clean.argsort(descending=True, stable=True)[:fewest], True)
        return keeps

    def threshold(self, clean: Tensor) -> Tensor | float:
        """Clean probability above which a label is kept, given that of all samples ``[N]``."""
        return float(self.settings["threshold"])

    def _fewest_labeled(self, clean: Tensor) -> int:
        return min(self.batch_size, len(clean))

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """One pass over the labeled samples, each batch beside one of unlabeled ones, which start again at their end.

        With nothing left unlabeled the batches are labeled ones alone.
        """
        if self.warming_up(step.epoch):
            return [Draw(index, len(index)) for index in shuffled(len(clean), self.warm_up_batch(), step.random)]
        keeps = self.keeps_label(clean, step.epoch).cpu()
        if int(keeps.sum()) <= self._fewest_labeled(clean):
            warnings.warn(
                f"epoch {step.epoch + 1}: few labels pass the threshold; keeping a batch of them", stacklevel=2
            )
        labeled = shuffled(keeps.nonzero()[:, 0], self.batch_size, step.random)
        unlabeled = endless((~keeps).nonzero()[:, 0], self.batch_size, step.random)
        return [Draw(torch.cat([index, next(unlabeled)]), len(index)) for index in labeled]

    def warm_up_batch(self) -> int:
        """How many samples a step of the warm-up sees."""
        return 2 * self.batch_size

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        if self.warming_up(step.epoch):
            return batch.y[0]
        own, n = self.probabilities(look.logits(step.network)), batch.num_labeled
        trust = batch.clean[:n, None]
        refined = trust * batch.y[0, :n] + (1 - trust) * own[:, :n].mean(0)
        peer = self.probabilities(look.logits(1 - step.network, first=n))
        guessed = (own[:, n:].mean(0) + peer.mean(0)) / 2
        return sharpen(torch.cat([refined, guessed]), self.settings["temperature"])

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Labeled rows: cross-entropy. Unlabeled rows: squared error. All: keep the mean prediction uniform."""
        if self.warming_up(step.epoch):
            return self._warm_up_losses(forward, batch)
        mixed = self.mixed(batch, step)
        logits = forward(mixed.x)
        probs = self.probabilities(logits)
        unsupervised = (probs - mixed.y).square().mean(-1)
        return self.both(self.supervised(logits, mixed.y), unsupervised, mixed, step) + self.penalty(probs)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities, given logits ``[..., K]``."""
        return logits.softmax(-1)

    def both(self, supervised: Tensor, unsupervised: Tensor, mixed: Batch, step: Step) -> Tensor:
        """Losses ``[V, B]`` whose mean is that of labeled rows over these, and that of unlabeled ones, weighed."""
        share_labeled = mixed.num_labeled / len(mixed.index)
        share_unlabeled = max(1 - share_labeled, 1 / len(mixed.index))  # no such row: the divisor does not matter
        return torch.where(mixed.labeled, supervised / share_labeled, self._ramp(step) * unsupervised / share_unlabeled)

    def supervised(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss ``[V, B]`` of labeled rows."""
        return soft_cross_entropy(logits, targets)

    def penalty(self, probs: Tensor) -> Tensor | float:
        """What is added to the loss, given predictions ``[V, B, K]``."""
        return uniform_prior_penalty(probs)

    def alpha(self, step: Step) -> float:
        """Mixup's Beta(alpha, alpha)."""
        return float(self.settings["alpha"])

    def mixed(self, batch: Batch, step: Step) -> Batch:
        """What the loss is taken of: every view mixed with another one of the whole batch."""
        mixed = mixup(batch, self.alpha(step), step.random)
        return mixed if self.learns_from_unlabeled() else labeled_rows(mixed)

    def learns_from_unlabeled(self) -> bool:
        """Whether the network sees unlabeled rows, or they serve as partners of labeled ones alone."""
        return bool(self.settings["unlabeled_rows"])

    def _ramp(self, step: Step) -> float:
        grown = (step.progress - self.warm_up_epochs()) / self.settings["ramp_up"]
        return float(self.settings["lambda_u"]) * min(max(grown, 0.0), 1.0)

    def _warm_up_losses(self, forward: Forward, batch: Batch) -> Tensor:
        logits = forward(batch.x)
        losses = soft_cross_entropy(logits, batch.y)
        return losses + negative_entropy(logits) if self.settings["confidence_penalty"] else losses


def negative_entropy(logits: Tensor) -> Tensor:
    """What a warm-up adds to the loss so that no prediction is too sure, given logits ``[..., K]``."""
    return (logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """``p ** (1 / T)`` over the last dimension, scaled to sum to 1."""
    powered = probs ** (1 / temperature)
    return powered / powered.sum(-1, keepdim=True)


def uniform_prior_penalty(probs: Tensor) -> Tensor:
    """Divergence of the uniform distribution from the mean prediction over all views and samples; a scalar."""
    mean = probs.flatten(0, -2).mean(0).clamp(min=1e-8)
    return -(mean.log().mean() + math.log(len(mean)))


METHOD = DivideMix
