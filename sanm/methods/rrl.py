"""RRL (Li, Xiong, Hoi: Learning from Noisy Data with Robust Representation Learning, ICCV 2021).

Beside the classifier learns an embedding of few dimensions: features are rebuilt from it, views of an image are close
in it, and mixed images lie between the prototypes of their classes. Neighbours there, and the classifier, clean labels.
Phases: classifier and reconstruction alone, the embedding too, and labels that are cleaned before each epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network
from sanm.parts.contrast import instance_contrast, unit_length
from sanm.parts.mixup import draw_mix_within
from sanm.parts.neighbours import neighbourhood, vote_weights, votes
from sanm.parts.targets import one_hot
from sanm.step import Batch, Forward, Look, Step, Task, at_least_single
from sanm.survey import Survey

EMBEDS, CLEANS = 1, 2
"""The phases from which the embedding is contrasted, and labels are cleaned."""
EMBEDDING, DECODER = "embedding", "feature_decoder"


class RobustRepresentation(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.soft: Tensor
        self.prototypes: Tensor
        self.register_buffer("soft", torch.zeros(len(task.given), task.num_classes))
        self.register_buffer("prototypes", torch.zeros(task.num_classes, settings["width"]))
        self.embeds = False

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            features, width = network.classifier.in_features, self.settings["width"]
            network.heads[EMBEDDING] = nn.Linear(features, width)
            network.heads[DECODER] = nn.Sequential(nn.Linear(width, features), nn.ReLU())

    def get_extra_state(self) -> dict[str, bool]:
        return {"embeds": self.embeds}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.embeds = state["embeds"]

    def enter(self, phase: int, survey: Survey) -> None:
        self.embeds = phase >= EMBEDS

    def needs_clean_probability(self, epoch: int) -> bool:
        """Every epoch begins with prototypes."""
        return self.embeds

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor | None:
        """What the cleaned label leaves of the given one. Prototypes are taken anew."""
        embeddings, given = unit_length(survey.features(k, EMBEDDING)), survey.given
        if step.phase < CLEANS:
            self._take_prototypes(embeddings, given, torch.ones_like(given, dtype=torch.bool))
            return None
        probs = survey.probs(k)
        again = step.epoch == step.begin or len(given) < self.num_samples  # other samples than before
        voted = self._confirmed(probs, given) if again else self.soft[survey.index]
        soft = self._cleaned(embeddings, probs, given, voted)
        self.soft[survey.index] = soft.to(self.soft)
        self._take_prototypes(embeddings, soft.argmax(1), self._sure(soft))
        return soft.gather(1, given[:, None])[:, 0]

    def _cleaned(self, embeddings: Tensor, probs: Tensor, given: Tensor, voted: Tensor) -> Tensor:
        """New soft labels ``[n, K]``: the mean of neighbours' old ones, ``voted``, and of the prediction (Eq. 7)."""
        count = max(1, min(self.settings["neighbours"], len(given) // (2 * self.num_classes)))
        neighbours, similar = neighbourhood(embeddings, count)
        weights = vote_weights(similar, self.settings["temperature"])
        return self._confirmed((votes(voted, neighbours, self.num_classes, weights) + probs) / 2, given)

    def _confirmed(self, soft: Tensor, given: Tensor) -> Tensor:
        """Soft labels ``[n, K]``, the given one for sure where it has more than so much of them."""
        kept = soft.gather(1, given[:, None]) > self.settings["low"]
        return torch.where(kept, one_hot(given, self.num_classes).to(soft), soft)

    def _sure(self, soft: Tensor) -> Tensor:
        return soft.amax(1) > self.settings["high"]

    def _take_prototypes(self, embeddings: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """The mean directions of the chosen samples of each class; a class without one keeps its own."""
        members = one_hot(labels, self.num_classes).float() * chosen[:, None]
        found = unit_length(members.T @ embeddings)
        self.prototypes.copy_(torch.where(members.sum(0)[:, None] > 0, found, self.prototypes))

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        return clean > self.settings["high"]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label, later the cleaned one, even where it is not sure enough to be learned."""
        if step.phase < CLEANS:
            return batch.y[0]
        return one_hot(self.soft[batch.index].argmax(1), self.num_classes).to(batch.y)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Of the first view, weak, and the second, strong, their four losses (Eq. 5); of others but the instance's.

        The classifier learns from the weak view and not from the strong one, in the first phase reconstruction too.
        """
        sure = self._sure(self.soft[batch.index]) if step.phase >= CLEANS else torch.ones_like(batch.labeled)
        share = sure * (len(sure) / sure.sum().clamp(min=1))  # the mean over all is then that over the sure ones
        own = max(batch.own, 1)
        first = torch.ones(len(batch.x), 1, device=batch.x.device)  # all but the strong view, the weak one for both
        first[0], first[1 : batch.own] = own, 0
        logits = forward(batch.x)
        total = first * share * soft_cross_entropy(logits, batch.y)
        embedded, features = forward.head(EMBEDDING), forward.pooled()
        rebuilt = forward.network.heads[DECODER](embedded.flatten(0, 1)).view_as(features)
        errors = self.settings["reconstruction_weight"] * at_least_single(rebuilt - features).square().mean(-1)
        total = total + errors * (first if step.phase < EMBEDS else own)
        if step.phase < EMBEDS:
            return total
        total = total + self.settings["instance_weight"] * self._instances(unit_length(embedded))
        return total + self._prototype_weight(step) * share * self._of_prototypes(forward.network, batch, sure, step)

    def _instances(self, embedded: Tensor) -> Tensor:
        """The weak view picks the strong one out among all views of other images, ``[B]`` (Eq. 2)."""
        weak, strong = embedded[0], embedded[min(1, len(embedded) - 1)]
        image = torch.eye(len(weak), dtype=torch.bool, device=weak.device).repeat(1, 2)
        return instance_contrast(weak, strong, torch.cat([weak, strong]), self.settings["temperature"], image)

    def _of_prototypes(self, network: Network, batch: Batch, sure: Tensor, step: Step) -> Tensor:
        """Mixed images, of sure labels among themselves, lie between their classes' prototypes, ``[V, B]`` (Eq. 4)."""
        count = len(batch.x) if self.settings["mixed_views"] == "all" else 1
        x, y = batch.x[:count], batch.y[:count]
        mix = draw_mix_within(sure.expand(count, -1), self.settings["alpha"], step.random)
        forward = Forward(network)
        forward(mix(x))
        embedded = unit_length(forward.head(EMBEDDING)).to(self.prototypes)
        with torch.autocast(embedded.device.type, enabled=False):
            logits = embedded @ self.prototypes.T / self.settings["temperature"]
        return soft_cross_entropy(logits, mix(y))

    def _prototype_weight(self, step: Step) -> float:
        """Grows from 1."""
        weight, ramp = float(self.settings["prototype_weight"]), self.settings["prototype_ramp"]
        return min(1 + step.epoch * (weight - 1) / ramp, weight) if ramp else weight


METHOD = RobustRepresentation
