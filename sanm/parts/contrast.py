"""Contrast of embeddings: with those of the same image, and, supervised, of mixed images.

Mixed images: Ortego et al., Multi-Objective Interpolation Training, CVPR 2021; their predictions: Li et al., Sel-CL,
CVPR 2022. One image's views: van den Oord et al., 2018 (InfoNCE); Chen et al., SimCLR, ICML 2020.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, pad

SMALLEST = 1e-7
"""Added to what a logarithm is taken of."""


def unit_length(embeddings: Tensor) -> Tensor:
    """Embeddings ``[..., D]`` on the unit sphere, in single precision."""
    return normalize(embeddings.float(), dim=-1)


class OwnPlaces(NamedTuple):
    """Where mixed views, A of them, stand among others: masks ``[A, M]`` of a view itself, of all views of its image,
    and of those of the image that it is mixed with."""

    itself: Tensor
    image: Tensor
    partner: Tensor


def own_places(partners: Tensor, first: int, count: int) -> OwnPlaces:
    """Of views mixed with ``partners [V, B]``, which stand from ``first`` on among ``count`` others."""
    row = torch.arange(partners.shape[1], device=partners.device).repeat(len(partners))
    itself = torch.eye(len(row), dtype=torch.bool, device=partners.device)
    masks = itself, row[:, None] == row, partners.flatten()[:, None] == row
    return OwnPlaces(*(pad(mask, (first, count - first - len(row))) for mask in masks))


def mixed_contrast(
    anchors: Tensor, others: Tensor, itself: Tensor, positives: tuple[Tensor, Tensor], kept: Tensor, temperature: float
) -> Tensor:
    """The losses ``[A]`` of anchors ``[A, D]`` against others ``[M, D]``, all of unit length.

    ``positives`` are two masks ``[A, M]``, which may count a pair more than once: whom an anchor is to be like for its
    major label, of which it has kept the part ``kept [A]``, and for its minor one. ``itself [A, M]`` marks the anchor
    among the others; it is no partner. Without positives an anchor has no loss of that label.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        similar = (anchors @ others.T / temperature).masked_fill(itself, -torch.inf)
        log_probs = (similar - similar.logsumexp(1, keepdim=True)).masked_fill(itself, 0)
        major, minor = (_mean_over(mask.masked_fill(itself, 0), log_probs) for mask in positives)
        return -(kept * major + (1 - kept) * minor)


def mixed_similarity(
    probs: Tensor, others: Tensor, itself: Tensor, positives: tuple[Tensor, Tensor], kept: Tensor
) -> Tensor:
    """The losses ``[A]`` of predictions ``[A, K]`` that are to be alike others' ``[M, K]`` where embeddings are.

    The cross-entropy of each product of two predictions, the mean over all others; what is left of it is as for
    ``mixed_contrast``. A pair with itself is no pair, and counts in the mean.
    """
    with torch.autocast(probs.device.type, enabled=False):
        alike = (probs @ others.T).clamp(max=1)
        major, minor = positives
        wanted = kept[:, None] * major + (1 - kept[:, None]) * minor
        losses = wanted * (alike + SMALLEST).log() + (1 - wanted) * (1 - alike + SMALLEST).log()
        return -losses.masked_fill(itself, 0).mean(1)


def instance_contrast(
    anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float, left_out: Tensor | None = None
) -> Tensor:
    """How little each of the anchors ``[A, D]`` picks its positive ``[A, D]`` out among negatives ``[M, D]``: ``[A]``.

    All are of unit length. ``left_out [A, M]`` marks those that are no negatives of an anchor.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        own = (anchors * positives).sum(1, keepdim=True) / temperature
        others = anchors @ negatives.T / temperature
        if left_out is not None:
            others = others.masked_fill(left_out, -torch.inf)
        return torch.cat([own, others], 1).logsumexp(1) - own[:, 0]


def nt_xent(views: Tensor, temperature: float) -> Tensor:
    """The normalised temperature-scaled cross-entropy of projections ``[2, B, P]``, a scalar (SimCLR, Eq. 1).

    Mean over the 2B views of how little each picks out the other view of its image among the 2B - 1 others, by cosine.
    """
    unit = unit_length(views.flatten(0, 1))
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    other = torch.arange(len(unit), device=unit.device).roll(views.shape[1])
    with torch.autocast(unit.device.type, enabled=False):
        return cross_entropy((unit @ unit.T / temperature).masked_fill(itself, -torch.inf), other)


def _mean_over(mask: Tensor, log_probs: Tensor) -> Tensor:
    return (mask * log_probs).sum(1) / mask.sum(1).clamp(min=1)
