"""`samples.npz` of a run: a few of its training images as SANM sees them, and the losses behind the clean probability.

`sanm.training.samples` writes it when the run ends; runs that are older have none.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from analysis.records.npz import Array, read_arrays
from sanm.errors import InputError

FILE = "samples.npz"


@dataclass(frozen=True, eq=False)
class Masks:
    """What SANM does to the n examples, with the mean clean probability of all networks, by the first network.

    M is 1 where both regions are masked in one view, else 2: the most activated, then the least.
    """

    masked: Array  # [n, M, C, h, w] uint8, the masked views
    boxes: Array  # [n, 2, 4] top, left, height, width in pixels of `size`: at the most, at the least activated point
    nominal_ratio: Array  # [n, 2] share of the image that was asked for at either point
    share: Array  # [n, M] of the image that is painted
    target: Array  # [n, M, K] what is learned of each view: the belief, softened where the run does so
    masks_trained: Array  # bool: whether the last epoch learned from such views; not when SANM had not set in yet


@dataclass(frozen=True, eq=False)
class Samples:
    """Examples by rising clean probability, and losses of evenly spaced training samples.

    Images are h x w; `shrink` pixels of the original in either direction were averaged into one of theirs.
    """

    class_names: Array  # [K]
    size: Array  # [2] height and width of the images that were trained on
    shrink: Array  # an integer
    index: Array  # [n] position in the full training set, as in label_quality.csv
    key: Array  # [n] name of the sample
    image: Array  # [n, C, h, w] uint8
    given: Array  # [n] class
    predicted: Array  # [n] class that the method as a whole predicts
    clean_probability: Array  # [n] mean over networks
    loss: Array  # [n] cross-entropy of the given label, mean over networks
    belief: Array  # [n, K] what the method believes of the image
    activation: Array  # [n, h, w] Eq. 1, scaled to [0, 1] image by image
    activation_range: Array  # [n, 2] what 0 and 1 stand for
    normalised_losses: Array  # [networks, m] in [0, 1], as the mixture saw them
    clean_probabilities: Array  # [networks, m]
    loss_range: Array  # [networks, 2] least and largest loss of the last scan, of all training samples
    mixture: Array  # [networks, 3, 2] weights, means, variances; the smaller mean first; NaN: losses did not differ
    true: Array | None  # [n] class; None when nobody knows it
    is_wrong: Array | None  # [m] whether the given label is wrong; None when nobody knows it
    masks: Masks | None  # None for a run without SANM

    @property
    def inside(self) -> Array:
        """[n, 2, h, w] which pixels of `image` lie in the box at the most, and at the least, activated point."""
        assert self.masks is not None
        top, left, tall, wide = np.moveaxis(self.masks.boxes, -1, 0)[..., None]
        row, column = (np.arange(0, int(side), int(self.shrink)) for side in self.size)
        rows, columns = (row >= top) & (row < top + tall), (column >= left) & (column < left + wide)
        inside: Array = rows[..., :, None] & columns[..., None, :]
        return inside


OPTIONAL = ("true", "is_wrong", "masks")


def read(run: str | Path) -> Samples:
    """What the run directory's `samples.npz` holds; raises `InputError` that names it when it is missing or damaged."""
    path = Path(run) / FILE
    arrays = read_arrays(path)
    if arrays is None:
        raise InputError(f"{path} is not there: runs that finished before it was written have none")
    own = [field.name for field in fields(Samples) if field.name not in OPTIONAL]
    of_masks = [field.name for field in fields(Masks)] if "masked" in arrays else []
    lacking = [name for name in (*own, *of_masks) if name not in arrays]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}: it is not of this version")
    return Samples(
        **{name: arrays[name] for name in own},
        true=arrays.get("true"),
        is_wrong=arrays.get("is_wrong"),
        masks=Masks(**{name: arrays[name] for name in of_masks}) if of_masks else None,
    )
