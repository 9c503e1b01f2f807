"""Scores of a run against what nobody who trains may see: the test set and the true labels."""

from __future__ import annotations

import torch
from torch import Tensor

from sanm.data import UNKNOWN, Data, LabeledImages
from sanm.training.trainer import Trainer

FOUND_BELOW = 0.5
"""Clean probability below which a label counts as found to be wrong."""


def accuracy(trainer: Trainer, images: LabeledImages) -> float:
    """Share of right predictions, in percent."""
    predicted = trainer.predict(images.images)
    right = int((predicted == images.labels.to(predicted.device)).sum())
    return 100 * right / len(images.labels)


class Scorer:
    """Holds the test set, the noisy validation split and the true labels of a run; training never meets them."""

    def __init__(self, data: Data) -> None:
        self._test, self._validation = data.test, data.validation
        self._right: Tensor | None = None
        if data.true_labels is not None:
            self._right, self._known = data.true_labels == data.train.given_labels, data.true_labels != UNKNOWN

    def test_accuracy(self, trainer: Trainer) -> float | None:
        """Accuracy on the test set; None where there is none."""
        return None if self._test is None else accuracy(trainer, self._test)

    def validation_accuracy(self, trainer: Trainer) -> float | None:
        """Accuracy on the labels of the validation split, noisy unless the data has better; None without a split."""
        return None if self._validation is None else accuracy(trainer, self._validation)

    def clean_auroc(self, probability: Tensor, among: Tensor | None = None) -> float | None:
        """How well ``probability [networks, N]``, its mean over networks, ranks right labels above wrong ones.

        ``among`` are the positions that count, all if None; those whose truth is not known never do. None when the
        truth of none is known, or all labels are right, or all wrong.
        """
        from sklearn.metrics import roc_auc_score

        if self._right is None:
            return None
        counted = self._known
        if among is not None:
            counted = torch.zeros_like(counted).index_fill(0, among.cpu(), True) & counted
        right, score = self._right[counted], probability.mean(0).cpu()[counted]
        if bool(right.all()) or not bool(right.any()) or not torch.isfinite(score).all():
            return None
        return float(roc_auc_score(right.numpy(), score.numpy()))

    def label_errors(self, probability: Tensor) -> dict[str, float | int | None] | None:
        """How well ``probability [networks, N]``, its mean over networks, finds the wrong labels, as shares in [0, 1].

        ``found_precision`` and ``found_recall`` are of the samples below FOUND_BELOW; no such sample has no precision.
        ``count`` is the number of wrong labels, ``precision_at_count`` the share of them among the ``count`` samples of
        lowest probability, the first of equals. Samples of unknown truth do not count. None when the truth of none is
        known or all labels are right.
        """
        if self._right is None or bool(self._right[self._known].all()):
            return None
        wrong, score = ~self._right[self._known].numpy(), probability.mean(0).cpu()[self._known].numpy()
        found, count = score < FOUND_BELOW, int(wrong.sum())
        hits = int((found & wrong).sum())
        lowest = score.argsort(kind="stable")[:count]
        return {
            "found_precision": hits / int(found.sum()) if found.any() else None,
            "found_recall": hits / count,
            "precision_at_count": float(wrong[lowest].mean()),
            "count": count,
        }
