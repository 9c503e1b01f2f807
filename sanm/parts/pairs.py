"""Which samples are believed to be of one class (Li et al.: Selective-Supervised Contrastive Learning, CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sanm.step import Random

PARTNERS = 500
"""Random partners of its class that each selected sample is compared with, to say how similar such pairs are."""
MOST_COMPARED = 2**23
"""Pairs that are compared at most: the quantile is then of a sample of them."""


class BelievedPairs(nn.Module):
    """Pairs of one given label: of two selected samples, or as similar as such pairs are (their Eq. 5 and 6).

    ``given [N]`` are the labels of all samples. Before ``renew`` there is no pair but of a sample with itself.
    """

    def __init__(self, given: Tensor, width: int) -> None:
        super().__init__()
        self.given: Tensor
        self.embeddings: Tensor
        self.selected: Tensor
        self.threshold: Tensor
        self.register_buffer("given", given.clone(), persistent=False)
        self.register_buffer("embeddings", torch.zeros(len(given), width))
        self.register_buffer("selected", torch.zeros(len(given), dtype=torch.bool))
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def renew(self, index: Tensor, embeddings: Tensor, selected: Tensor, quantile: float, random: Random) -> None:
        """Take embeddings ``[n, D]`` of unit length, and which are selected ``[n]``, of the samples ``index [n]``.

        A pair is as similar as those of selected samples from the ``quantile`` over these on.
        """
        self.embeddings[index] = embeddings
        self.selected.zero_()
        self.selected[index] = selected
        self.threshold.fill_(similar_within(embeddings[selected], self.given[index][selected], quantile, random))

    def of(self, index: Tensor, others: Tensor) -> Tensor:
        """Whether the samples ``index [B]`` and ``others [M]`` are pairs: ``[B, M]`` bool."""
        alike = self.embeddings[index] @ self.embeddings[others].T >= self.threshold
        both = self.selected[index][:, None] & self.selected[others]
        same = self.given[index][:, None] == self.given[others]
        return (same & (both | alike)) | (index[:, None] == others)


def similar_within(embeddings: Tensor, labels: Tensor, quantile: float, random: Random) -> float:
    """The quantile of the inner products of ``embeddings [m, D]`` with random ones of their label ``[m]``, maybe
    themselves; infinite where there are none.
    """
    if not len(labels):
        return float("inf")
    order = labels.argsort(stable=True)
    embeddings, labels = embeddings[order], labels[order]
    sizes = one_hot(labels).sum(0)
    first, size = (sizes.cumsum(0) - sizes)[labels], sizes[labels]
    partners = min(PARTNERS, max(1, MOST_COMPARED // len(labels)))
    found = torch.empty(partners, len(labels), device=embeddings.device)
    for row in found:
        drawn = torch.rand(len(labels), generator=random.device, device=embeddings.device)
        row.copy_((embeddings * embeddings[first + (drawn * size).long()]).sum(1))
    return float(found.flatten().quantile(quantile))
