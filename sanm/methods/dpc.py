"""DPC and DPC* (Zong et al.: Dirichlet-Based Prediction Calibration for Learning with Noisy Labels, AAAI 2024).

DivideMix whose networks give evidence: logits are parameters of a Dirichlet distribution. Samples are told apart by
the margin of the given label, and labels are learned by an evidential loss. Unlabeled rows learn through a second head.
DPC* adds that strong views are predicted as weak ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sanm.methods.dividemix import DivideMix
from sanm.network import Network
from sanm.parts.dropout import ChannelDropout
from sanm.parts.evidence import evidential_losses, log_expected
from sanm.parts.mixup import Mix, draw_mix
from sanm.parts.some_rows import labeled_rows
from sanm.parts.targets import one_hot
from sanm.step import Batch, Forward, Step
from sanm.survey import Survey

SECOND = "second"


class DirichletCalibration(DivideMix):
    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            inputs = network.classifier.in_features
            parts = nn.Linear(inputs, 2 * inputs), nn.ReLU(), ChannelDropout(self.settings["dropout"])
            network.heads[SECOND] = nn.Sequential(*parts, nn.Linear(2 * inputs, self.num_classes))

    def learns_from(self, epoch: int) -> Sequence[str]:
        pools = super().learns_from(epoch)
        return [*pools, str(self.settings["strong"])] if self._is_star(epoch) else pools

    def _is_star(self, epoch: int) -> bool:
        return bool(self.settings["star"]) and not self.warming_up(epoch)

    def probabilities(self, logits: Tensor) -> Tensor:
        return log_expected(logits).exp()

    def measured(self, survey: Survey, k: int) -> Tensor:
        """By how much another class's logit exceeds the given label's: negative where this is predicted."""
        logits, label = survey.logits(k), survey.given[:, None]
        return logits.scatter(1, label, -torch.inf).amax(1) - logits.gather(1, label)[:, 0]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Labeled rows: the evidential loss. Unlabeled ones: squared error of the second head. All: uniform mean."""
        if self.warming_up(step.epoch):
            return self._warm_up_losses(forward, batch)
        weak, strong = self._apart(batch, step)
        mix = draw_mix(weak, self.alpha(step), step.random)
        mixed = self._mixed(weak, mix)
        logits = forward(mixed.x)
        probs = self.probabilities(logits)
        losses = self.supervised(logits, mixed.y)
        if self.learns_from_unlabeled():
            unsupervised = (self.probabilities(forward.head(SECOND)) - mixed.y).square().mean(-1)
            losses = self.both(losses, unsupervised, mixed, step)
        losses = losses + self.penalty(probs)
        if strong is None:
            return losses
        rows = mix(strong)[: weak.own, : probs.shape[1]]
        return losses + self.settings["consistency_weight"] * self._inconsistency(forward, rows, logits[: weak.own])

    def _apart(self, batch: Batch, step: Step) -> tuple[Batch, Tensor | None]:
        """The batch without its strong views, and its images with these in the place of the weak ones, if there are."""
        if not (self._is_star(step.epoch) and batch.own):
            return batch, None
        count = batch.own // 2
        kept = [*range(count), *range(batch.own, len(batch.x))]  # weak and masked ones
        return replace(batch, x=batch.x[kept], y=batch.y[kept], own=count), batch.x[count:]

    def _mixed(self, batch: Batch, mix: Mix) -> Batch:
        """Mixed images; targets of labeled rows are of likeliest classes alone, but for those that plug-ins soften."""
        likeliest = one_hot(batch.y[: batch.own].argmax(-1), self.num_classes).to(batch.y.dtype)
        hard = torch.cat([likeliest, batch.y[batch.own :]])
        y = torch.where(batch.labeled[:, None], mix(hard), mix(batch.y))
        mixed = replace(batch, x=mix(batch.x), y=y)
        return mixed if self.learns_from_unlabeled() else labeled_rows(mixed)

    def supervised(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (targets * evidential_losses(logits)).sum(-1)

    def _inconsistency(self, forward: Forward, strong: Tensor, of_weak: Tensor) -> Tensor:
        """The divergence of what is said of strong views ``[V, B, ...]`` from that of weak ones, a scalar."""
        wanted = log_expected(of_weak.detach())
        return (wanted.exp() * (wanted - log_expected(forward.own(strong)))).sum(-1).mean()

    def _warm_up_losses(self, forward: Forward, batch: Batch) -> Tensor:
        logits = forward(batch.x)
        losses = self.supervised(logits, batch.y)
        if self.settings["confidence_penalty"]:
            losses = losses + (self.probabilities(logits) * log_expected(logits)).sum(-1)  # negative entropy
        return losses


METHOD = DirichletCalibration
