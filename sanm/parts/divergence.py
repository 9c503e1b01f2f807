"""The Jensen-Shannon divergence of a prediction from a label, in nats: what several methods tell samples apart by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FARTHEST = math.log(2)
"""The divergence of a prediction that gives its label nothing."""


def label_divergence(probs: Tensor) -> Tensor:
    """How far predictions are from labels, given the probabilities ``[...]`` of these: in [0, FARTHEST].

    In closed form: between a distribution and a one-hot label the divergence depends on that probability alone.
    """
    return FARTHEST + (probs.xlogy(probs) - (1 + probs).xlogy(1 + probs)) / 2


def scaled_in_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Values ``[n]`` moved and scaled so that in each class of ``labels [n]`` they reach from 0 to 1.

    All zero where they are the same.
    """
    none = values.new_zeros(num_classes)
    low = none.scatter_reduce(0, labels, values, "amin", include_self=False)[labels]
    high = none.scatter_reduce(0, labels, values, "amax", include_self=False)[labels]
    return torch.where(high > low, (values - low) / (high - low), 0)
