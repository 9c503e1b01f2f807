"""Instance-dependent noise of Xia et al. (NeurIPS 2020, part-dependent label noise): the image decides.

Each sample has a flip rate of its own, from N(rate, 0.1^2) truncated to [0, 1], and a random projection for each true
class turns the image into probabilities of the other classes. The pixels' scale is a part of the definition: the
logits grow with the norm of the image, so that the target is all but determined by it, and where pixels have a common
mean (``raw``, ``unit``) most images of a class go to the same one or two classes.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError

RATE_DEVIATION = 0.1  # of the samples' flip rates, as in all published settings
PIXELS_AT_ONCE = 2**22  # 32 MiB in float64

Numbers = NDArray[np.float64]


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` by ``rate`` in [0, 1], ``seed`` and ``scale``. Raises InputError for a single class.

    ``scale`` is what a pixel is to the projection: ``raw`` 0 to 255, ``unit`` 0 to 1, ``normalised`` by the data set's
    mean and deviation per channel. Draws come from one stream in the order of the authors' code, flip rates,
    projections, labels, so that a seed gives its labels but for rounding. Memory is for float64 ``[n, K]`` and
    ``[C H W, K]``, time in proportion to ``(n + K) C H W K``.
    """
    if task.num_classes < 2:
        raise InputError("noise=instance needs two classes or more; set noise=none")
    stream = np.random.RandomState(settings["seed"])
    flip_rates = truncated_normal(settings["rate"], len(task.labels), stream)
    probabilities = flip_rates[:, None] * other_classes(task, settings["scale"], stream)
    probabilities[np.arange(len(task.labels)), task.labels] = 1 - flip_rates
    return _drawn(probabilities, stream)


def truncated_normal(mean: float, count: int, stream: np.random.RandomState) -> Numbers:
    """``count`` draws of N(mean, 0.1^2) truncated to [0, 1], by inversion. Advances the stream.

    The truncation moves their mean towards a half: 0.08 for 0, 0.129 for 0.1, 0.2055 for 0.2, 0.871 for 0.9.
    """
    normal = NormalDist(mean, RATE_DEVIATION)
    low, high = normal.cdf(0), normal.cdf(1)
    shares = low + (high - low) * stream.random_sample(count)
    inner = np.clip(shares, np.finfo(float).tiny, np.nextafter(1, 0))  # the inverse has no ends
    return np.clip([normal.inv_cdf(share) for share in inner.tolist()], 0, 1)


def other_classes(task: LabelTask, scale: str, stream: np.random.RandomState) -> Numbers:
    """``[n, K]``: probabilities of the classes a sample is taken for, 0 for its own; rows sum to 1.

    The softmax of the flattened image times its class's matrix ``[C H W, K]`` of N(0, 1). Advances the stream.
    """
    from scipy.special import softmax

    images = task.images()
    size = math.prod(images.shape[1:])
    found = np.zeros((len(task.labels), task.num_classes))
    for label in range(task.num_classes):
        projection = stream.standard_normal((size, task.num_classes))
        for members in _batches(np.flatnonzero(task.labels == label), size):
            logits = _pixels(images[torch.from_numpy(members)], scale, task) @ projection
            logits[:, label] = -np.inf
            found[members] = softmax(logits, axis=1)
    return found


def _batches(members: Labels, size: int) -> Iterator[Labels]:
    count = max(1, PIXELS_AT_ONCE // size)
    for start in range(0, len(members), count):
        yield members[start : start + count]


def _pixels(images: torch.Tensor, scale: str, task: LabelTask) -> Numbers:
    """``[B, C H W]`` float64: rounding must not decide a label on one machine and not on another."""
    pixels = images.double()
    if scale != "raw":
        pixels = pixels / 255
    if scale == "normalised":
        mean, std = (torch.tensor(each, dtype=torch.float64).view(-1, 1, 1) for each in (task.mean, task.std))
        pixels = (pixels - mean) / std
    return pixels.flatten(1).numpy()


def _drawn(probabilities: Numbers, stream: np.random.RandomState) -> Labels:
    """A class ``[n]`` for each row, with the draws of ``RandomState.choice`` for one row after another."""
    cumulative = probabilities.cumsum(axis=1)
    cumulative /= cumulative[:, -1:]
    draws = stream.random_sample(len(probabilities))
    return (cumulative <= draws[:, None]).sum(axis=1)
