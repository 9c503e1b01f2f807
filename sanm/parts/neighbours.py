"""What the nearest neighbours of a sample say of its label: votes, and a selection of the same size in each class.

Neighbours are exact, found in blocks of rows, so that memory is that of a block and of the answer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sanm.parts.balanced import rank_in_class

AT_ONCE = 2**25
"""Similarities of a block, 128 MB of them."""
LEAST_DOUBT = 0.01
"""Votes closer than this to none or to all count as the same."""


class Neighbours(NamedTuple):
    positions: Tensor  # [n, k] int32
    similar: Tensor  # [n, k] inner products with them


class Agreement(NamedTuple):
    selected: Tensor  # [n] bool, whose label is agreed with
    votes: Tensor  # [n] the share of the neighbours' votes for the given label


def nearest(embeddings: Tensor, count: int) -> Tensor:
    """The ``count`` most similar others ``[n, count]`` int32 of each of n embeddings ``[n, D]``, in any order."""
    return neighbourhood(embeddings, count).positions


def neighbourhood(embeddings: Tensor, count: int) -> Neighbours:
    """The ``count`` most similar others of each of n embeddings ``[n, D]``, in any order, and how similar they are."""
    parts = []
    for rows in torch.arange(len(embeddings), device=embeddings.device).split(max(1, AT_ONCE // len(embeddings))):
        similar = embeddings[rows] @ embeddings.T
        similar[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        found = similar.topk(count, sorted=False)
        parts.append((found.indices.int(), found.values))
    index, values = zip(*parts, strict=True)
    return Neighbours(torch.cat(index), torch.cat(values))


def votes(labels: Tensor, neighbours: Tensor, num_classes: int, weights: Tensor | None = None) -> Tensor:
    """The share of its neighbours ``[n, k]`` that has each label, ``[n, K]``, given the labels of all.

    Labels are classes ``[n]`` or distributions ``[n, K]``; ``weights [n, k]`` say how much a neighbour counts.
    """
    count = neighbours.shape[1]
    parts = []
    for rows in torch.arange(len(neighbours)).split(max(1, AT_ONCE // (count * num_classes))):
        block = slice(int(rows[0]), int(rows[-1]) + 1)
        voted = labels[neighbours[block]]
        voted = one_hot(voted, num_classes) if labels.dim() == 1 else voted
        if weights is None:
            parts.append(voted.sum(1).float() / count)
        else:
            own = weights[block]
            parts.append((own[:, None] @ voted.float())[:, 0] / own.sum(1, keepdim=True))
    return torch.cat(parts)


def vote_weights(similar: Tensor, temperature: float) -> Tensor:
    """How much neighbours ``[n, k]`` count by how similar they are: ``exp(similarity / temperature)``."""
    return (similar / temperature).exp()


def agreement(
    embeddings: Tensor, given: Tensor, num_classes: int, count: int, quantile: float, temperature: float | None = None
) -> Agreement:
    """Which of the given labels ``[n]`` the neighbours in the space of unit-length ``embeddings [n, D]`` agree with.

    Neighbours vote twice: with their given labels, which corrects those of all, and with the corrected ones. Of each
    class as many samples are selected as the ``quantile`` over the classes of those whose given label wins the second
    vote, the ones that it wins clearest, the first of equals first. A ``temperature`` weighs votes by similarity.
    """
    count = max(1, min(count, len(given) - 1))
    neighbours, similar = neighbourhood(embeddings, count)
    weights = None if temperature is None else vote_weights(similar, temperature)
    corrected = votes(given, neighbours, num_classes, weights).argmax(1)
    second = votes(corrected, neighbours, num_classes, weights)
    for_given = second.gather(1, given[:, None])[:, 0]
    agree = one_hot(given, num_classes)[second.argmax(1) == given].sum(0)
    quota = agree.float().quantile(quantile, interpolation="lower")
    return Agreement(
        rank_in_class(for_given.clamp(LEAST_DOUBT, 1 - LEAST_DOUBT), given, num_classes) < quota, for_given
    )
