"""The values that travel between a data set, a noise model and a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanm.data.stored import StoredImages

Labels = NDArray[np.int64]

UNKNOWN = -1
"""A true label that nobody knows. One that is as large as the number of classes is known to be none that is given."""


Pixels = Tensor | StoredImages
"""uint8 ``[N, C, H, W]``: in memory, or on the disk. Both have a shape, and give what is at positions, or all of it.

A frozen backbone's features stand in their place as float ``[N, D, 1, 1]``, in memory.
"""


class LeftOut(NamedTuple):
    """A bad entry of a data set that ``data.skip_bad`` leaves out."""

    key: str
    reason: str


class Copy(NamedTuple):
    """One of several names of an image that is in the data more than once."""

    image: int  # the same number for all names of one
    part: str  # train, validation or test
    key: str
    label: str


class Decoded(NamedTuple):
    """Images of some samples of a part."""

    images: Pixels  # [m, C, H, W]
    positions: Labels  # [m] which of the samples asked for these are, in their order
    left_out: tuple[LeftOut, ...]  # the others
    likeness: tuple[str, ...] = ()  # [m] the same for images that show the same; empty where nobody has looked


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a data set as shipped: labels and names at hand, and a way to its pixels.

    Nothing but ``decode`` opens an image. It is asked for the samples that are really used, so that what is large can
    be decoded in part, or while it is trained on.
    """

    labels: Labels  # [N] in [0, K)
    keys: tuple[str, ...]  # a stable name per sample: its path below the root, or its position
    decode: Callable[[Labels], Decoded]  # of ascending positions

    def images(self) -> Tensor:
        """All images that can be decoded, uint8 ``[N, C, H, W]``, in memory."""
        return self.decode(np.arange(len(self.labels))).images[:]


def in_memory(images: Tensor, labels: Tensor | Labels, keys: tuple[str, ...] | None = None) -> Part:
    """A part whose images ``[N, C, H, W]`` uint8 are there already; keys are positions unless given."""
    found = np.asarray(labels, dtype=np.int64)

    def decode(positions: Labels) -> Decoded:
        return Decoded(rows(images, positions), positions, ())

    return Part(found, keys or tuple(str(position) for position in range(len(found))), decode)


def rows(images: Pixels, positions: Labels) -> Pixels:
    """Those of the images, at ascending positions: in memory, or on the disk as before."""
    if len(positions) == len(images):  # ascending and complete means all rows in place: spare the copy
        return images
    return images.at(positions) if isinstance(images, StoredImages) else images[torch.from_numpy(positions)]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as shipped, on the host, before any subset or noise."""

    train: Part
    class_names: tuple[str, ...]
    test: Part | None = None  # None: nothing was set aside
    mean: tuple[float, ...] | None = None  # per channel, of pixels in [0, 1]; None: of the images trained on
    std: tuple[float, ...] | None = None
    labels_verified: bool = False  # whether the shipped labels are the truth, or only what somebody wrote down
    validation: Part | None = None  # the data set's own, if it has one
    validation_verified: bool = False
    true_labels: Labels | None = None  # [N] of the training samples where labels are not verified; UNKNOWN, K: above
    left_out: tuple[LeftOut, ...] = ()  # bad entries of the lists; positions do not count them


@dataclass(frozen=True, eq=False)
class LabelTask:
    """What a noise model may know: the labels to corrupt and where they come from."""

    labels: Labels  # [n] shipped labels of the selected training samples
    index: Labels  # [n] their positions in the full training set, ascending
    full_size: int  # of the training set before selection
    num_classes: int
    class_names: tuple[str, ...]
    dataset: str  # the config's data.name
    images: Callable[[], Pixels]  # gives those of the selected samples, [n, C, H, W]; copied only when asked for
    mean: tuple[float, ...]  # per channel, of the data set's pixels in [0, 1]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Images:
    """Images without labels, and what normalises them."""

    images: Pixels  # [N, C, H, W]
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class TrainingSet(Images):
    """All that training may see; no true labels are in it but those that ``data.trusted`` says are."""

    given_labels: Tensor  # [N] int64
    index: Tensor  # [N] int64, positions in the full training set, ascending
    keys: tuple[str, ...]
    num_classes: int
    class_names: tuple[str, ...]
    trusted: Tensor | None = None  # [N] bool, whose given label is known to be true; None: of nobody


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images ``[N, C, H, W]`` and labels ``[N]`` int64 to score predictions on."""

    images: Pixels
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Data:
    """One run's data."""

    train: TrainingSet
    validation: LabeledImages | None
    test: LabeledImages | None
    true_labels: Tensor | None  # [N] of the training samples, for scoring only; UNKNOWN and K as in Source; None: none
    realised_noise_rate: float | None  # share of wrong given labels among the training samples with a known truth
    per_class_noise: list[float] | None  # the same within each true class; 0 for a class without samples
    selected_labels: Tensor  # [n] given labels of all selected samples, held out or not: what a noise file holds
    validation_labels: str | None = None  # true | noisy: as the training labels are | given: as shipped, not verified
    left_out: tuple[LeftOut, ...] = ()
    copies: tuple[Copy, ...] = ()  # by image: all that are there more than once, pixel by pixel
