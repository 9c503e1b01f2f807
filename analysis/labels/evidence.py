"""What frozen features say of a run's labels: `label_evidence.npz`, where the run has one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.records.npz import Array, read_arrays
from sanm.errors import InputError

FILE = "label_evidence.npz"
SHAPES = {
    "label_score": 1,
    "linear": 2,
    "votes": 2,
    "probabilities": 2,
    "nearest": 2,
    "similarity": 2,
}
"""Its arrays, and of how many dimensions they are."""
NEAR_COPY = 0.9
"""Cosine of features from which two images are held to be nearly the same one."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of N samples, K classes and the few nearest others of each. None of it but the score has learned from a sample's
    own label.
    """

    label_score: Array  # [N] the probability that the given label is right
    linear: Array  # [N, K] class probabilities by a linear fit on the features of all other samples
    votes: Array  # [N, K] shares of the votes of the nearest others
    probabilities: Array  # [N, K] of both
    nearest: Array  # [N, n] positions of the nearest others, the most similar first
    similarity: Array  # [N, n] cosines with them

    def near_copies(self, given: Array) -> Array:
        """[N] The position of the most similar image that is nearly the same and has another label than `given`; -1
        where there is none.
        """
        other = (self.similarity >= NEAR_COPY) & (given[self.nearest] != given[:, None])
        first: Array = self.nearest[np.arange(len(given)), other.argmax(1)]
        return np.where(other.any(1), first, -1)


def read_evidence(run: Path, class_names: tuple[str, ...], count: int) -> Evidence | None:
    """The evidence on `count` samples; None where the run has none. Raises `InputError` when it is of other samples."""
    found = read_arrays(run / FILE)
    if found is None:
        return None
    fits = (
        {*SHAPES, "class_names"} <= {*found}
        and all(len(found[name]) == count and found[name].ndim == dimensions for name, dimensions in SHAPES.items())
        and tuple(map(str, found["class_names"])) == class_names
        and all(found[name].shape[1] == len(class_names) for name in ("linear", "votes", "probabilities"))
        and found["nearest"].shape == found["similarity"].shape
        and bool(((found["nearest"] >= 0) & (found["nearest"] < count)).all())
        and bool(((found["label_score"] >= 0) & (found["label_score"] <= 1)).all())
    )
    if not fits:
        raise InputError(f"{run / FILE} is not of the samples of this run: delete it, and do without")
    probabilities = found["probabilities"].astype(np.float64)
    return Evidence(
        label_score=found["label_score"],
        linear=found["linear"],
        votes=found["votes"],
        probabilities=probabilities / probabilities.sum(1, keepdims=True),
        nearest=found["nearest"].astype(np.int64),
        similarity=found["similarity"],
    )
