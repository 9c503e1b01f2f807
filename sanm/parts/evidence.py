"""Logits as evidence of a Dirichlet distribution over class probabilities (Zong et al., DPC, AAAI 2024).

Its parameters are ``alpha = exp(logit) + 10 / K``. The constant makes probabilities depend on logits themselves, not on
their differences alone. All in single precision at least.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PRIOR = 10.0
"""Sum of what all classes have without evidence."""


def log_expected(logits: Tensor) -> Tensor:
    """Logarithms ``[..., K]`` of the class probabilities that are expected, given logits ``[..., K]``."""
    constant = torch.full_like(logits, math.log(PRIOR / logits.shape[-1]))
    return torch.logaddexp(logits, constant).log_softmax(-1)


def evidential_losses(logits: Tensor) -> Tensor:
    """The loss ``[..., K]`` of logits ``[..., K]`` for each class as the label (their Eq. 7 to 9).

    Its negative logarithm of the expected probability, and ``1 / 2K`` of the divergence from the uniform Dirichlet
    distribution of what remains when the label's own evidence is taken out and the constant is 1.
    """
    classes = logits.shape[-1]
    with torch.autocast(logits.device.type, enabled=False):
        evidence = logits.exp() * (classes / PRIOR)  # alpha, scaled to a constant of 1, is 1 more
        terms = torch.lgamma(1 + evidence) - evidence * torch.digamma(1 + evidence)
        others, total = _without_each(evidence), classes + _without_each(evidence)
        divergence = torch.lgamma(total) - others * torch.digamma(total) - math.lgamma(classes) - _without_each(terms)
    return divergence / (2 * classes) - log_expected(logits)


def _without_each(values: Tensor) -> Tensor:
    """The sum of values ``[..., K]`` but for each one, ``[..., K]``: added up, since a difference would lose digits."""
    itself = torch.eye(values.shape[-1], dtype=torch.bool, device=values.device)
    return values[..., None, :].masked_fill(itself, 0).sum(-1)
