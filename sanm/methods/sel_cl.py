"""Sel-CL and Sel-CL+ (Li et al.: Selective-Supervised Contrastive Learning with Noisy Labels, CVPR 2022).

MOIT's contrast of mixed images, in which those pairs alone are alike that are believed to be of one class: of samples
whose label the neighbours agree with, or of one label and as similar as such pairs are. Samples without a partner are
contrasted with themselves. Phases: contrast without labels, selection, and, for Sel-CL+, MOIT+'s tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sanm.methods import soft_cross_entropy
from sanm.methods.moit import PROJECTION, WIDTH, trust_in
from sanm.methods.moit_plus import TUNES, FineTuned
from sanm.network import Network
from sanm.parts.average import follow
from sanm.parts.batches import drawn_again, shuffled
from sanm.parts.bounded import with_bounded_gradient
from sanm.parts.contrast import instance_contrast, mixed_contrast, mixed_similarity, own_places, unit_length
from sanm.parts.memory import Keys, Queue
from sanm.parts.mixup import MixOfEachView, draw_mix_of_each_view
from sanm.parts.pairs import BelievedPairs
from sanm.step import Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

SELECTS = 1
"""The phase from which labels are learned from."""


class Seen(NamedTuple):
    embeddings: Tensor  # [n, WIDTH] of unit length
    probs: Tensor  # [n, K]


class SelectiveContrast(FineTuned):
    one_process = True  # how large the similarity's gradient is must be known before the others are added

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.pairs = BelievedPairs(task.given, WIDTH)
        self.memory = Queue(len(self.memory.rows), WIDTH + task.num_classes)  # labelled by positions
        self.keys = Keys(max(settings["keys"], task.batch_size + 1), WIDTH)
        self.averages = nn.ModuleList()

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """The average stays in train mode, as published."""
        super().attach(networks, example)
        self.averages.extend(deepcopy(network).requires_grad_(False).train() for network in networks)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """MOIT's. What pairs are made of is kept."""
        embeddings = unit_length(survey.features(k, PROJECTION))
        temperature = self.settings["temperature"] if self.settings["votes"] == "weighted" else None
        found = self._agreement(embeddings, survey.given, temperature)
        self.pairs.renew(survey.index, embeddings, found.selected, self.settings["pair_quantile"], step.random)
        return trust_in(found)

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """Beside a batch of all to contrast, one of selected samples to classify, drawn with replacement."""
        if step.phase >= TUNES:
            return super().batches(clean, step)
        every = shuffled(len(clean), self.batch_size, step.random)
        if step.phase < SELECTS:
            return [Draw(index, 0) for index in every]
        again = drawn_again(self._trusted(clean, step.epoch), [len(index) for index in every], step.random)
        return [Draw(torch.cat([own, index]), len(own)) for own, index in zip(again, every, strict=True)]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        return super().believe(batch, look, step) if step.phase >= TUNES else batch.y[0]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Classification of the selected rows, which come first; contrast and similarity of the others."""
        if step.phase >= TUNES:
            return super().losses(forward, batch, step)
        n, parts = batch.num_labeled, (slice(batch.num_labeled), slice(batch.num_labeled, None))
        own, others = (replace(batch, index=batch.index[r], x=batch.x[:, r], y=batch.y[:, r]) for r in parts)
        contrasted = self._contrasted(forward, others, step)
        if not n:
            return contrasted
        mix = draw_mix_of_each_view(own, self.settings["alpha"], step.random)
        classified = self.settings["classification_weight"] * soft_cross_entropy(forward(mix(own.x)), mix(own.y))
        scale = len(batch.index)  # the mean over all rows is then the sum of both parts' means
        return torch.cat([classified * (scale / n), contrasted * (scale / (scale - n))], 1)

    def _contrasted(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """The losses ``[V, B]`` of rows that are contrasted: by their own image where there is no partner."""
        (average,) = self.averages
        assert isinstance(average, Network)
        anchors = seen_by(forward.network, batch.x[:1]).embeddings
        mix = draw_mix_of_each_view(batch, self.settings["alpha"], step.random)
        mixed = mix(batch.x)
        with torch.no_grad():
            other = seen_by(average, batch.x[1:2] if len(batch.x) > 1 else batch.x).embeddings
            stored = seen_by(average, mixed)
        by_itself = instance_contrast(anchors, other, self.keys.rows.clone(), self.settings["temperature"])
        self.keys.push(other)
        first = self.memory.push(torch.cat(stored, 1), batch.index.repeat(len(mixed)))
        if step.phase < SELECTS:
            return by_itself.expand(mixed.shape[:2])
        seen = seen_by(forward, mixed)
        supervised, similarity, alone = self._supervised(seen, batch.index, mix, first, step)
        bounded = with_bounded_gradient(similarity, forward.network.parameters(), self.settings["similarity_norm"])
        return supervised + alone * by_itself + bounded

    def _supervised(self, seen: Seen, index: Tensor, mix: MixOfEachView, first: int, step: Step) -> tuple[Tensor, ...]:
        """Contrast ``[V, B]`` and similarity, within the batch and with the memory, and who has no partner, ``[B]``.

        ``seen`` are the mixed views, whose averages lie in the memory from ``first`` on. Alike for the major label are
        those that are a pair with the image, for the minor one those that are one with its partner.
        """
        (views, rows), kept = mix.partners.shape, mix.kept().flatten()
        compared = [(seen, index.repeat(views), 0)]
        if step.epoch >= self.settings["memory_from"]:
            stored, positions = self.memory.content()
            compared.append((Seen(stored[:, :WIDTH], stored[:, WIDTH:]), positions, first))
        contrasts, similarities, partners = [], [], []
        for others, positions, begin in compared:
            own = own_places(mix.partners, begin, len(positions))
            pairs = self.pairs.of(index, positions).float()
            minor = pairs[mix.partners].flatten(0, 1) + (self.settings["partner_weight"] - 1) * own.partner
            args = (own.itself, (pairs.repeat(views, 1), minor), kept)
            partners.append((pairs * ~own.image[:rows]).sum(1))
            found = mixed_contrast(seen.embeddings, others.embeddings, *args, self.settings["temperature"])
            contrasts.append(found.unflatten(0, (views, rows)) * (partners[-1] > 0))
            similarities.append(mixed_similarity(seen.probs, others.probs, *args).mean())
        similarity = self.settings["similarity_weight"] * torch.stack(similarities).sum()
        return torch.stack(contrasts).sum(0), similarity, torch.stack(partners).sum(0) < len(compared)

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        if step.phase < TUNES:
            follow(self.averages[0], networks[0], self.settings["average"])


def seen_by(forward: Forward | Network, x: Tensor) -> Seen:
    """What a network says of images ``x [V, B, C, H, W]``, flat."""
    forward = forward if isinstance(forward, Forward) else Forward(forward)
    probs = forward(x).softmax(-1)
    return Seen(unit_length(forward.head(PROJECTION)).flatten(0, 1), probs.flatten(0, 1))


METHOD = SelectiveContrast
