"""MOIT (Ortego et al.: Multi-Objective Interpolation Training, CVPR 2021).

Mixed images are classified, and contrasted in a projection of their features. The neighbours of a sample there say
whether its label is to be trusted; from the second phase on, samples that are not trusted learn the network's own
prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network
from sanm.parts.contrast import mixed_contrast, own_places, unit_length
from sanm.parts.memory import Queue
from sanm.parts.mixup import MixOfEachView, draw_mix_of_each_view
from sanm.parts.neighbours import Agreement, agreement
from sanm.step import Batch, Forward, Look, Step, Task
from sanm.survey import Survey

CORRECTS = 1
"""The phase from which labels that are not trusted are replaced."""
PROJECTION, WIDTH = "projection", 128
MASKED = 2
"""Most views of a sample that a plug-in adds."""
BELOW_SELECTED = 0.999


class MultiObjectiveInterpolationTraining(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        views = int(settings["views"])
        one_step = (views + MASKED) * (task.batch_size + 1)
        self.memory = Queue(max(views * settings["memory_per_class"] * task.num_classes, one_step), WIDTH)
        self.corrects = False

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            network.heads[PROJECTION] = nn.Linear(network.classifier.in_features, WIDTH)

    def get_extra_state(self) -> dict[str, bool]:
        return {"corrects": self.corrects}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.corrects = state["corrects"]

    def enter(self, phase: int, survey: Survey) -> None:
        self.corrects = phase >= CORRECTS

    def needs_clean_probability(self, epoch: int) -> bool:
        return self.corrects

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """At least a half of the samples that the neighbours agree with clearest."""
        return trust_in(self._agreement(unit_length(survey.features(k, PROJECTION)), survey.given))

    def _agreement(self, embeddings: Tensor, given: Tensor, weighted_by: float | None = None) -> Agreement:
        """What their neighbours say of the given labels ``[n]``; ``weighted_by`` is a temperature of similarities."""
        count = min(self.settings["neighbours"], len(given) // (2 * self.num_classes))
        return agreement(embeddings, given, self.num_classes, count, self.settings["quantile"], weighted_by)

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        return clean >= 0.5

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label where it is trusted, what the network says of the image as it is elsewhere.

        The network looks in the first phase too, which moves the statistics of its norms, as published.
        """
        predicted = look.probs(step.network).mean(0)
        if step.phase < CORRECTS:
            return batch.y[0]
        return torch.where(self.keeps_label(batch.clean, step.epoch)[:, None], batch.y[0], predicted)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Classification of the mixed views, and contrast within the batch and against the memory."""
        mix = draw_mix_of_each_view(batch, self.settings["alpha"], step.random)
        logits = forward(mix(batch.x))
        classified = soft_cross_entropy(logits, mix.added(batch.y, self._of_partners(batch, mix, step)))
        return classified + self._contrast(unit_length(forward.head(PROJECTION)), batch, mix, step)

    def _of_partners(self, batch: Batch, mix: MixOfEachView, step: Step) -> Tensor:
        """What a partner brings ``[V, B, K]``, in its own place: its belief.

        With ``partner_gate: image``, as the released code has it, its given label counts where that of the image that
        it is mixed with is trusted, its prediction where its own is not.
        """
        if step.phase < CORRECTS or self.settings["partner_gate"] == "partner":
            return batch.y
        trusted = self.keeps_label(batch.clean, step.epoch).float().expand_as(mix.partners)
        images = torch.empty_like(trusted).scatter_(1, mix.partners, trusted)  # of the image, in the partner's place
        given = torch.zeros_like(batch.y[0]).scatter_(1, batch.given[:, None], 1)
        return batch.y + (images - trusted)[..., None] * given

    def _contrast(self, embeddings: Tensor, batch: Batch, mix: MixOfEachView, step: Step) -> Tensor:
        """The losses ``[V, B]`` of mixed embeddings ``[V, B, D]``: alike should be those of one given label."""
        views, rows = mix.partners.shape
        anchors, kept = embeddings.flatten(0, 1), mix.kept().flatten()
        major, minor = batch.given.repeat(views), batch.given[mix.partners].flatten()
        extra, temperature = self.settings["partner_weight"] - 1, self.settings["temperature"]

        own = own_places(mix.partners, 0, len(anchors))
        alike = (major[:, None] == major).float(), (minor[:, None] == major).float() + extra * own.partner
        losses = mixed_contrast(anchors, anchors, own.itself, alike, kept, temperature)

        first = self.memory.push(anchors, major)
        if step.epoch < self.settings["memory_from"]:
            return losses.unflatten(0, (views, rows))
        others, labels = self.memory.content()
        own = own_places(mix.partners, first, len(others))
        alike = (major[:, None] == labels).float(), (minor[:, None] == labels).float() + extra * own.partner
        losses = losses + mixed_contrast(anchors, others, own.itself, alike, kept, temperature)
        return losses.unflatten(0, (views, rows))


def trust_in(found: Agreement) -> Tensor:
    """At least a half for those that are selected; within both halves by the votes for the given label, ``[n]``."""
    return (found.selected + BELOW_SELECTED * found.votes) / 2


METHOD = MultiObjectiveInterpolationTraining
