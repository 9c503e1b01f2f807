"""What frozen features say of each given label, without having learned from it: ``label_evidence.npz``.

Two opinions: a linear fit on all other samples, and the votes of the nearest ones. docs/labels.md has the measurements
behind the constants.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from sanm.data import TrainingSet
from sanm.parts.leave_one_out import left_out
from sanm.parts.neighbours import Neighbours, neighbourhood, vote_weights, votes
from sanm.parts.true_class import calibrated, probability_given_is_true

FILE = "label_evidence.npz"
MOST_SAMPLES = 100_000
"""Neighbours cost the square of the samples: minutes for so many."""

VOTERS = 50
VOTE_TEMPERATURE = 0.1
"""Of cosine similarities, by which neighbours vote."""
FIT_TEMPERATURE = 0.15
"""Of the linear fit, whose targets are 0 and 1."""
LEAST_VOTE = 1e-3
LEAST_WEIGHT = 0.02
"""Of a sample whose label is held to be wrong, in the second fit."""
KEPT = 10
"""Nearest others that are recorded of each sample."""


class LabelEvidence(NamedTuple):
    """Of N samples and K classes; none of it has learned from the sample's own label, but for the score."""

    linear: Tensor  # [N, K] class probabilities by the linear fit
    votes: Tensor  # [N, K] shares of the neighbours' votes
    probabilities: Tensor  # [N, K] of both: linear x the root of the votes
    label_score: Tensor  # [N] the probability that the given label is right
    nearest: Tensor  # [N, KEPT] positions of the most similar others, the most similar first
    similarity: Tensor  # [N, KEPT] cosines with them


def label_evidence(features: Tensor, given: Tensor, num_classes: int) -> LabelEvidence:
    """The evidence on labels ``given [N]`` in ``features [N, D]``, at least two samples.

    The linear fit is made twice. The second weighs each sample by the probability, after the first, that its label is
    right. On the CPU the same input gives the same bits.
    """
    features = features.double()
    features = features.sign() * features.abs().sqrt()  # a few large features would rule the similarities
    features = features - features.mean(0)
    deviation = features.std(0, correction=0)
    scaled = features / torch.where(deviation > 0, deviation, 1.0)
    near = _nearest_first(neighbourhood(normalize(features).float(), min(VOTERS, len(given) - 1)))
    voted = votes(given, near.positions, num_classes, vote_weights(near.similar, VOTE_TEMPERATURE)).double()
    targets = one_hot(given, num_classes).double()
    linear = _linear(scaled, targets, torch.ones(len(given)))
    right = probability_given_is_true(_together(linear, voted), given)
    linear = _linear(scaled, targets, right.clamp(min=LEAST_WEIGHT))
    both = _together(linear, voted)
    score = calibrated(both.gather(1, given[:, None])[:, 0], probability_given_is_true(both, given))
    return LabelEvidence(linear, voted, both, score, near.positions[:, :KEPT], near.similar[:, :KEPT])


def packed(train: TrainingSet) -> bytes | None:
    """The content of the file for features ``[N, D, 1, 1]`` in the place of images: a row a sample, in the order of
    ``label_quality.csv``. None where there are more than MOST_SAMPLES, or a single one.
    """
    if not 1 < len(train.given_labels) <= MOST_SAMPLES:
        return None
    features = train.images[:].flatten(1)
    found = label_evidence(features.cpu(), train.given_labels.cpu(), len(train.class_names))
    file = io.BytesIO()
    np.savez_compressed(
        file,
        class_names=np.array(train.class_names, dtype=np.str_),
        label_score=found.label_score.numpy(),
        nearest=found.nearest.int().numpy(),
        **{name: getattr(found, name).float().numpy() for name in ("linear", "votes", "probabilities", "similarity")},
    )
    return file.getvalue()


def _nearest_first(near: Neighbours) -> Neighbours:
    order = near.similar.argsort(dim=1, descending=True, stable=True)
    return Neighbours(near.positions.gather(1, order).long(), near.similar.gather(1, order))


def _linear(features: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (left_out(features, targets, weights) / FIT_TEMPERATURE).softmax(1)


def _together(linear: Tensor, voted: Tensor) -> Tensor:
    both = linear * (voted + LEAST_VOTE).sqrt()
    return both / both.sum(1, keepdim=True)
