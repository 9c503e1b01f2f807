"""As many samples of each class: those that score best in it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def rank_in_class(scores: Tensor, given: Tensor, num_classes: int) -> Tensor:
    """The place ``[n]`` of each sample within its class by falling score, the first of equals first."""
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[given[by_score].argsort(stable=True)]
    sizes = one_hot(given, num_classes).sum(0)
    first = sizes.cumsum(0) - sizes
    ranks = torch.arange(len(given), device=given.device) - first[given[order]]
    return torch.empty_like(ranks).index_copy_(0, order, ranks)
