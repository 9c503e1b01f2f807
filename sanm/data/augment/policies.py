"""AutoAugment and RandAugment: which operation at which strength, drawn for each sample of a batch on its own.

AutoAugment (Cubuk et al., CVPR 2019): the 25 sub-policies found on CIFAR-10, ten magnitudes. RandAugment (Cubuk et al.,
NeurIPS 2020): two operations at magnitude 10 of 30. Operations, magnitudes and signs are torchvision's (AutoAugment and
RandAugment of transforms.v2 on uint8 tensors, nearest neighbor, black outside).
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanm.data.augment import operations
from sanm.data.augment.groups import apply_drawn

CIFAR10_POLICY: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
"""Sub-policies: twice (operation, probability, magnitude of 0..9; 0 where it has none)."""
CIFAR10_BINS = 10

RANDAUGMENT = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
    *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
RANDAUGMENT_TURNS, RANDAUGMENT_MAGNITUDE, RANDAUGMENT_BINS = 2, 10, 31

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
BLENDS = {
    "Brightness": operations.brightness,
    "Color": operations.color,
    "Contrast": operations.contrast,
    "Sharpness": operations.sharpness,
}
FUNCTIONS = {
    **dict.fromkeys(GEOMETRIC, operations.warp),
    **BLENDS,
    "Posterize": operations.posterize,
    "Solarize": operations.solarize,
    "Invert": operations.solarize,  # at threshold 0
    "AutoContrast": operations.autocontrast,
    "Equalize": operations.equalize,
}
DISTINCT = tuple(dict.fromkeys(FUNCTIONS.values()))
"""The functions once each: samples that share one are computed together, whatever the operation is called."""

Size = tuple[int, int]
"""Height and width."""


class Drawn(NamedTuple):
    """What one turn does to each sample of a batch."""

    operation: NDArray[np.int64]  # [B] position in DISTINCT; its length: none
    numbers: NDArray[np.float64]  # [B, 6] what the operation is given


class Table(NamedTuple):
    """What can be drawn, for images of one size; leading dimensions ``...`` as the policy's."""

    operation: NDArray[np.int64]  # [...] as in Drawn
    numbers: NDArray[np.float64]  # [..., 2, 6] as in Drawn, for a negative sign and for a positive one
    probability: NDArray[np.float64]  # [...] that the operation is applied once it is drawn


def autoaugment(images: Tensor, random: np.random.Generator) -> Tensor:
    """One sub-policy for each of the uint8 images ``[B, C, H, W]``; returns new images like them."""
    return _changed(images, draw_autoaugment(len(images), (images.shape[2], images.shape[3]), random))


def randaugment(images: Tensor, random: np.random.Generator) -> Tensor:
    """Two operations for each of the uint8 images ``[B, C, H, W]``; returns new images like them."""
    return _changed(images, draw_randaugment(len(images), (images.shape[2], images.shape[3]), random))


def draw_autoaugment(batch: int, size: Size, random: np.random.Generator) -> list[Drawn]:
    """A sub-policy for each sample: its two turns."""
    table = _autoaugment_table(size)
    chosen = random.integers(len(CIFAR10_POLICY), size=batch)
    applied = random.random((batch, 2)) < table.probability[chosen]
    sign = random.integers(2, size=(batch, 2))
    operation = np.where(applied, table.operation[chosen], len(DISTINCT))
    return [Drawn(operation[:, turn], table.numbers[chosen, turn, sign[:, turn]]) for turn in range(2)]


def draw_randaugment(batch: int, size: Size, random: np.random.Generator) -> list[Drawn]:
    """Operations for each sample, drawn with replacement."""
    table, shape = _randaugment_table(size), (RANDAUGMENT_TURNS, batch)
    chosen, sign = random.integers(len(RANDAUGMENT), size=shape), random.integers(2, size=shape)
    return [Drawn(table.operation[own], table.numbers[own, signed]) for own, signed in zip(chosen, sign, strict=True)]


def _changed(images: Tensor, turns: list[Drawn]) -> Tensor:
    out = images.clone(memory_format=torch.contiguous_format)
    for turn in turns:
        apply_drawn(out, turn.operation, turn.numbers, DISTINCT)
    return out


# ---- tables: a pure function of the image size


@cache
def _autoaugment_table(size: Size) -> Table:
    return _table(np.array(CIFAR10_POLICY, dtype=object), CIFAR10_BINS, size)


@cache
def _randaugment_table(size: Size) -> Table:
    rows = [(name, 1.0, RANDAUGMENT_MAGNITUDE) for name in RANDAUGMENT]
    return _table(np.array(rows, dtype=object), RANDAUGMENT_BINS, size)


def _table(entries: NDArray[np.object_], bins: int, size: Size) -> Table:
    """``entries [..., 3]`` of name, probability and magnitude."""
    shape = entries.shape[:-1]
    operation, numbers = np.empty(shape, np.int64), np.zeros((*shape, 2, 6))
    for place in np.ndindex(shape):
        name, _, level = entries[place]
        operation[place] = DISTINCT.index(FUNCTIONS[name]) if name in FUNCTIONS else len(DISTINCT)
        strength = magnitude(name, level, bins, size)
        for column, sign in enumerate((-1, 1)):
            given = numbers_for(name, sign * strength, size)
            numbers[(*place, column)][: len(given)] = given
    return Table(operation, numbers, entries[..., 1].astype(np.float64))


def magnitude(name: str, level: int, bins: int, size: Size) -> float:
    """The strength of ``level`` in 0..``bins - 1``, without sign.

    A slope for shears, pixels for translations, degrees, bits to keep, a gray value from which to invert, or what is
    added to a factor of 1; 0 for operations that have no strength. In single precision, as torchvision's are.
    """
    height, width = size
    match name:
        case "ShearX" | "ShearY":
            last = 0.3
        case "TranslateX":
            last = 150 / 331 * width
        case "TranslateY":
            last = 150 / 331 * height
        case "Rotate":
            last = 30.0
        case "Posterize":
            return round(8 - level / ((bins - 1) / 4))
        case "Solarize":
            return 255 * float(torch.linspace(1, 0, bins)[level])
        case _:
            last = 0.9 if name in BLENDS else 0.0
    return float(torch.linspace(0, last, bins)[level])


def numbers_for(name: str, strength: float, size: Size) -> tuple[float, ...]:
    """What the operation's function is given, at most six numbers, for a strength with its sign.

    Posterize and Solarize have no sign: they take the absolute value.
    """
    height, width = size
    match name:
        case "ShearX":
            return 1, strength, strength * height / 2, 0, 1, 0
        case "ShearY":
            return 1, 0, 0, strength, 1, strength * width / 2
        case "TranslateX":
            return 1, 0, -int(strength), 0, 1, 0
        case "TranslateY":
            return 1, 0, 0, 0, 1, -int(strength)
        case "Rotate":
            cosine, sine = math.cos(math.radians(strength)), math.sin(math.radians(strength))
            return cosine, -sine, 0, sine, cosine, 0
        case "Posterize":
            return (256 - 2 ** (8 - round(abs(strength))),)
        case "Solarize":
            return (abs(strength),)
        case _ if name in BLENDS:
            return 1 + strength, 1 - (1 + strength)
    return ()
