"""Which samples an epoch is of, where the data set is too large for an epoch to see all of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPOCH_SEED = 50_000


def balanced_epoch(given: Tensor, num_classes: int, size: int, seed: int, epoch: int) -> Tensor:
    """Ascending positions of ``size`` samples, the same number of each given label, drawn anew each epoch.

    A class of fewer samples gives all it has, and no other fills its place. A pure function of its arguments, so that
    a resumed run draws what the interrupted one did.
    """
    labels = given.cpu().numpy()
    stream = np.random.default_rng([EPOCH_SEED, seed, epoch])
    quotas = np.full(num_classes, size // num_classes)
    quotas[stream.permutation(num_classes)[: size % num_classes]] += 1  # what is left over goes to some, by chance
    order = stream.permutation(len(labels))
    ranked = order[np.argsort(labels[order], kind="stable")]  # by class, at random within
    starts = np.searchsorted(labels[ranked], np.arange(num_classes))
    place_in_class = np.arange(len(ranked)) - starts[labels[ranked]]
    return torch.from_numpy(np.sort(ranked[place_in_class < quotas[labels[ranked]]]))
