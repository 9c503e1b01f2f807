"""The values that travel between a data set, a noise model and a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as shipped, on the host, before any subset or noise.

    Images are uint8 ``[N, C, H, W]``, labels int64 ``[N]`` in ``[0, K)``.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    train_keys: tuple[str, ...]  # a stable name per training sample: its path below the root, or its position
    labels_verified: bool  # whether the shipped labels are the truth, or only what somebody wrote down


@dataclass(frozen=True, eq=False)
class LabelTask:
    """What a noise model may know: the labels to corrupt and where they come from."""

    labels: Labels  # [n] shipped labels of the selected training samples
    index: Labels  # [n] their positions in the full training set, ascending
    full_size: int  # of the training set before selection
    num_classes: int
    class_names: tuple[str, ...]
    dataset: str  # the config's data.name
    images: Callable[[], Tensor]  # gives those of the selected samples, [n, C, H, W] uint8; copied only when asked for
    mean: tuple[float, ...]  # per channel, of the data set's pixels in [0, 1]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Images:
    """Images without labels, and what normalises them."""

    images: Tensor  # [N, C, H, W] uint8
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class TrainingSet(Images):
    """All that training may see; the true labels are not in it."""

    given_labels: Tensor  # [N] int64
    index: Tensor  # [N] int64, positions in the full training set, ascending
    keys: tuple[str, ...]
    num_classes: int
    class_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images ``[N, C, H, W]`` uint8 and labels ``[N]`` int64 to score predictions on."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Data:
    """One run's data."""

    train: TrainingSet
    validation: LabeledImages | None  # with given, so noisy, labels
    test: LabeledImages
    true_labels: Tensor | None  # [N] of the training samples, for scoring only; None when nobody knows them
    realised_noise_rate: float | None  # share of training samples whose given label is wrong
    per_class_noise: list[float] | None  # the same within each true class; 0 for a class without samples
    selected_labels: Tensor  # [n] given labels of all selected samples, held out or not: what a noise file holds
