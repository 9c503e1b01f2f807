"""The random stream of DivideMix's noise, so that the same seed gives the same samples as its code does."""

import random

import numpy as np
from numpy.typing import NDArray


def candidates(count: int, rate: float, stream: random.Random) -> NDArray[np.int64]:
    """Ascending positions of the ``int(rate * count)`` samples whose label is replaced. Advances the stream."""
    positions = list(range(count))
    stream.shuffle(positions)
    return np.sort(np.array(positions[: int(rate * count)], dtype=np.int64))
