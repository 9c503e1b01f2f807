"""As many samples of each class: those that score best in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sanm.step import Task


class BestOfEachClass(nn.Module):
    """Selection by scores among the samples that were last surveyed: as many of each given label."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.num_classes = task.num_classes
        self.given: Tensor
        self.surveyed: Tensor
        self.register_buffer("given", task.given.clone(), persistent=False)
        self.register_buffer("surveyed", torch.ones(len(task.given), dtype=torch.bool))

    def remember(self, index: Tensor) -> None:
        """Take the ascending positions ``index [n]`` of the samples that scores are of from now on."""
        self.surveyed.zero_()
        self.surveyed[index] = True

    def __call__(self, scores: Tensor, of_each: int) -> Tensor:
        """Whether a sample is among the ``of_each`` best of its class, ``[n]`` bool; all of a class that has fewer."""
        return rank_in_class(scores, self.given[self.surveyed], self.num_classes) < of_each


def rank_in_class(scores: Tensor, given: Tensor, num_classes: int) -> Tensor:
    """The place ``[n]`` of each sample within its class by falling score, the first of equals first."""
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[given[by_score].argsort(stable=True)]
    sizes = one_hot(given, num_classes).sum(0)
    first = sizes.cumsum(0) - sizes
    ranks = torch.arange(len(given), device=given.device) - first[given[order]]
    return torch.empty_like(ranks).index_copy_(0, order, ranks)
