"""Noise that is given by a transition matrix: each label is drawn from the row of its class, on its own."""

import numpy as np
from numpy.typing import NDArray

from sanm.data.types import Labels

Transition = NDArray[np.float64]  # [K, K], rows are true classes and sum to 1


def drawn(labels: Labels, transition: Transition, stream: np.random.RandomState) -> Labels:
    """Given labels ``[n]``, each drawn from its row of ``transition [K, K]``. Advances the stream.

    The convention of Patrini et al. (CVPR 2017) and Co-teaching; the number of wrong labels is not exact.
    """
    rows = list(transition)
    # One draw a sample: the stream that published files were made with cannot be had in one call for all.
    given = [int(stream.multinomial(1, rows[label]).argmax()) for label in labels]
    return np.array(given, dtype=np.int64)


def towards(target: Labels, rate: float) -> Transition:
    """``[K, K]``: class k stays with probability ``1 - rate`` and becomes ``target[k]`` with ``rate``."""
    classes = np.arange(len(target))
    transition: Transition = np.eye(len(target))
    moved = target != classes
    transition[classes[moved], classes[moved]] = 1 - rate
    transition[classes[moved], target[moved]] = rate
    return transition
