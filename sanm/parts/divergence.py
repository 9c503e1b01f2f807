"""The Jensen-Shannon divergence of a prediction from a label, in nats: what several methods tell samples apart by."""

from __future__ import annotations

import math

from torch import Tensor

FARTHEST = math.log(2)
"""The divergence of a prediction that gives its label nothing."""


def label_divergence(probs: Tensor) -> Tensor:
    """How far predictions are from labels, given the probabilities ``[...]`` of these: in [0, FARTHEST].

    In closed form: between a distribution and a one-hot label the divergence depends on that probability alone.
    """
    return FARTHEST + (probs.xlogy(probs) - (1 + probs).xlogy(1 + probs)) / 2
