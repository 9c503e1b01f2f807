"""SSR and SSR+ (Feng, Tzimiropoulos, Patras: SSR, an Efficient and Robust Framework, BMVC 2022).

Before each epoch images are relabelled that the classifier is sure of, and those are selected whose label wins a vote
of their neighbours in feature space, balanced by class. Mixed, they are learned, as many of each class. SSR+ adds that
a strong view of any image predicts the projection of a weak one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network
from sanm.parts.batches import endless, evened, whole_batches
from sanm.parts.contrast import unit_length
from sanm.parts.mixup import mixup
from sanm.parts.neighbours import nearest, votes
from sanm.parts.targets import one_hot
from sanm.step import Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

PROJECTION, PREDICTION = "projection", "prediction"
HIDDEN, WIDTH = 256, 128
SMALLEST_CLASS = 1e-10


class SelectionAndRelabelling(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.labels: Tensor
        self.register_buffer("labels", task.given.clone())

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            network.heads[PROJECTION] = two_layers(network.classifier.in_features)
            network.heads[PREDICTION] = two_layers(WIDTH)

    def needs_clean_probability(self, epoch: int) -> bool:
        """From the first epoch on, of a network that has learned nothing yet."""
        return True

    @torch.no_grad()
    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """The votes for the new label, against those for the class that has most, ``[n]``. Labels are taken anew."""
        pool, network = str(self.settings["measure_on"]), survey.networks[k]
        features = (survey if pool == "none" else survey.on(pool)).features(k)
        logits = network.classifier(features.to(network.classifier.weight.dtype))  # of the same views
        labels = self._relabelled(logits.softmax(-1), survey.given)
        self.labels[survey.index] = labels
        scores = self._votes(unit_length(features), labels)
        return scores.gather(1, labels[:, None])[:, 0] / scores.amax(1)

    def _relabelled(self, probs: Tensor, given: Tensor) -> Tensor:
        """The predicted class where it is sure enough, else the given label, whatever the last epoch's was."""
        confidence, predicted = probs.max(1)
        return torch.where(confidence > self.settings["relabel_above"], predicted, given)

    def _votes(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Shares of votes by the size of the class that they are for, ``[n, K]``. A sample votes for itself too."""
        count = max(1, min(self.settings["neighbours"], len(labels) // (2 * self.num_classes)))
        itself = torch.arange(len(labels), dtype=torch.int32, device=labels.device)[:, None]
        voters = torch.cat([itself, nearest(embeddings, count - 1)], 1)
        prior = one_hot(labels, self.num_classes).mean(0) + SMALLEST_CLASS
        return votes(labels, voters, self.num_classes) / prior

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Those that are selected; where nobody reaches the threshold, the most trusted ones."""
        return clean >= clean.amax().clamp(max=self.settings["select_from"])

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """Selected samples, as many of each class, which start again at their end; beside them a pass over all."""
        selected = self.keeps_label(clean, step.epoch).nonzero()[:, 0].cpu()
        labels = self.labels if step.drawn is None else self.labels[step.drawn]
        balanced = selected[evened(labels.cpu()[selected], self.num_classes, step.random)]
        own = endless(balanced, self.batch_size, step.random, whole=True)
        every = whole_batches(len(clean), self.batch_size, step.random)
        if not self.settings["consistency_weight"]:
            return [Draw(next(own), self.batch_size) for _ in every]
        pairs = [(next(own), index) for index in every]
        return [Draw(torch.cat(pair), len(pair[0])) for pair in pairs]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        return one_hot(self.labels[batch.index], self.num_classes)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of the selected rows, consistency of the others: of each row the mean over its views."""
        n, views, rows = batch.num_labeled, *batch.x.shape[:2]
        learned = [*range(batch.own // 2), *range(batch.own, views)]  # strong and masked ones
        selected = replace(batch, x=batch.x[learned, :n], y=batch.y[learned, :n])
        mixed = mixup(selected, self.settings["alpha"], step.random)
        parts = [soft_cross_entropy(forward(mixed.x), mixed.y).mean(0)]
        if n < rows:
            parts.append(self.settings["consistency_weight"] * self._inconsistency(forward, batch))
        # the mean over all rows is then the sum of both parts' means
        return torch.cat([part * (rows / len(part)) for part in parts]).expand(views, rows)

    def _inconsistency(self, forward: Forward, batch: Batch) -> Tensor:
        """How unlike the projection of a weak view is what the strong view predicts of it, in [-1, 1], a row.

        Without gradient through the weak view. Zero where masked views stand in the place of both.
        """
        others = batch.x[: batch.own, batch.num_labeled :]
        if not batch.own:
            return others.new_zeros(others.shape[1])
        strong, weak = others[:1], others[batch.own // 2 :][:1]
        with torch.no_grad():
            forward.own(weak)
            wanted = forward.head(PROJECTION)[0]
        forward.own(strong)
        predicted = forward.network.heads[PREDICTION](forward.head(PROJECTION)[0])
        return -cosine_similarity(predicted, wanted, dim=-1)


def two_layers(inputs: int) -> nn.Sequential:
    """A head of ``inputs`` values with one hidden layer, to WIDTH values."""
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


METHOD = SelectionAndRelabelling
