"""Meta-Cleaner (Zhang, Wang, Qiao: MetaCleaner: Learning to Hallucinate Clean Representations for Noisy-Labeled Visual
Recognition, CVPR 2019), our reading: there is no code of it, and no more than its abstract was at hand.

Images of one given label are compared in feature space and weighed. Their weighted mean is one cleaner feature, from
which the classifier learns. A prediction knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.methods import Method, soft_cross_entropy
from sanm.network import Network
from sanm.parts.batches import shuffled
from sanm.step import Batch, Draw, Forward, Random, Step, Task, at_least_single

SCORES, WIDTH = "scores", 128


class MetaCleaner(Method):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.given: Tensor
        self.register_buffer("given", task.given, persistent=False)

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """A head that scores a feature by itself and by what the mean of its group has more."""
        for network in networks:
            width = 2 * network.classifier.in_features
            network.heads[SCORES] = nn.Sequential(nn.Linear(width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """Batches of groups, one after another in a batch; the labels of groups are in random order."""
        labels = (self.given if step.drawn is None else self.given[step.drawn]).cpu()
        groups = groups_of_labels(labels, self.settings["images"], step.random)
        together = max(1, self.batch_size // self.settings["images"])
        positions = (groups[which].flatten() for which in shuffled(len(groups), together, step.random))
        return [Draw(each, len(each)) for each in positions]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy of a group's weighted mean feature with the mean of its labels, the same for all its rows."""
        forward(batch.x)
        size = (-1, self.settings["images"])
        weights, mean = cleaned(forward.pooled().unflatten(1, size), forward.network.heads[SCORES])
        labels = (weights.detach() * batch.y.unflatten(1, size)).sum(2)
        logits = at_least_single(forward.network.classifier(mean))
        return soft_cross_entropy(logits, labels).repeat_interleave(self.settings["images"], 1)


def cleaned(features: Tensor, scores: nn.Module) -> tuple[Tensor, Tensor]:
    """The weights ``[V, G, n, 1]`` of features ``[V, G, n, D]`` in their groups, and the weighted means ``[V, G, D]``.

    A score does not depend on the order in a group; weights are a softmax of scores, and sum to 1.
    """
    compared = torch.cat([features, features.mean(2, keepdim=True) - features], -1)
    scored = scores(compared.flatten(0, 2)).unflatten(0, compared.shape[:3])
    weights = at_least_single(scored).softmax(2)
    return weights, (weights * features).sum(2)


def groups_of_labels(labels: Tensor, size: int, random: Random) -> Tensor:
    """Positions ``[G, size]`` in labels ``[n]``, of one label each, at random.

    Every position is in a group. Where a label's positions do not fill its last group, some are there once more.
    """
    order = torch.from_numpy(random.host.permutation(len(labels)))
    order = order[labels[order].argsort(stable=True)]
    found = []
    for own in order.split(torch.bincount(labels).tolist()):
        slots = torch.arange(size * -(-len(own) // size))
        found.append(own[slots % max(1, len(own))].view(-1, size))
    return torch.cat(found)


METHOD = MetaCleaner
