"""How far predictions are from given labels: the divergence of Jensen and Shannon, by which several methods select."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def label_divergence(probs: Tensor) -> Tensor:
    """Of a distribution from the label that it gives the probability ``probs [...]``, in [0, ln 2].

    The closed form of ``H((p + y) / 2) - H(p) / 2`` for a label ``y`` of one class.
    """
    halves = torch.special.xlogy(probs, probs) - torch.special.xlogy(1 + probs, 1 + probs)
    return (math.log(2) + halves / 2).clamp(min=0)


def scaled_in_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Values ``[n]`` moved and scaled so that in each class of ``labels [n]`` they reach from 0 to 1.

    All zero where they are the same.
    """
    none = values.new_zeros(num_classes)
    low = none.scatter_reduce(0, labels, values, "amin", include_self=False)[labels]
    high = none.scatter_reduce(0, labels, values, "amax", include_self=False)[labels]
    return torch.where(high > low, (values - low) / (high - low), 0)
