"""The five noises that the literature calls asymmetric on CIFAR-100; they have little in common."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from sanm.data.noise._dividemix import candidates
from sanm.data.noise._transition import drawn, towards
from sanm.data.types import Labels

SUPERCLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
"""Fine classes of each super-class, ascending."""

CLASSES = np.arange(100)

Definition = Callable[[Labels, float, int], Labels]


def next_in_superclass(superclasses: Iterable[Sequence[int]]) -> dict[int, int]:
    """Each fine class -> the next one of its super-class in ascending order, the last -> the first."""
    return {
        members[place]: members[(place + 1) % len(members)]
        for members in map(sorted, superclasses)
        for place in range(len(members))
    }


def superclass_next(labels: Labels, rate: float, seed: int) -> Labels:
    """The next class of the super-class, as Patrini-style papers put it in words; exact count over all samples."""
    following = next_in_superclass(SUPERCLASSES)
    return _mapped(labels, rate, seed, lambda label, stream: following[label])


def superclass_uniform(labels: Labels, rate: float, seed: int) -> Labels:
    """Any of the four other classes of the super-class; exact count over all samples. Stream of C2D's code."""
    others = {label: [each for each in group if each != label] for group in SUPERCLASSES for label in group}
    return _mapped(labels, rate, seed, lambda label, stream: stream.choice(others[label]))


def block5(labels: Labels, rate: float, seed: int) -> Labels:
    """The next class of the block of five successive numbers; each label on its own. Stream of ELR+'s and PLC's code.

    Numbers follow the alphabet, so only six of the hundred classes stay in their super-class.
    """
    return drawn(labels, towards(5 * (CLASSES // 5) + (CLASSES + 1) % 5, rate), np.random.RandomState(seed))


def pair_100(labels: Labels, rate: float, seed: int) -> Labels:
    """The next class of all hundred, which is pair-flip noise; each label on its own. What DISC's code runs."""
    return drawn(labels, towards((CLASSES + 1) % 100, rate), np.random.RandomState(seed))


def superclass_pair(labels: Labels, rate: float, seed: int) -> Labels:
    """Two classes of each super-class, drawn at random, are taken for each other; each label on its own.

    As the SCE paper (Wang et al., ICCV 2019) says; its code draws the two from blocks of five successive numbers.
    Sixty classes stay clean, so the share of wrong labels is 0.4 ``rate``.
    """
    stream = np.random.RandomState(seed)
    target = CLASSES.copy()
    for group in SUPERCLASSES:
        one, other = stream.choice(group, size=2, replace=False)
        target[one], target[other] = other, one
    return drawn(labels, towards(target, rate), stream)


DEFINITIONS: Mapping[str, Definition] = {
    "superclass_next": superclass_next,
    "superclass_uniform": superclass_uniform,
    "superclass_pair": superclass_pair,
    "block5": block5,
    "pair_100": pair_100,
}
"""By the name in ``noise.definition``: labels ``[n]`` in [0, 100), rate in [0, 1], seed -> given labels ``[n]``."""


def _mapped(labels: Labels, rate: float, seed: int, target: Callable[[int, random.Random], int]) -> Labels:
    """Exactly ``int(rate * n)`` labels replaced by their target, in ascending order of position."""
    stream = random.Random(seed)
    given = labels.copy()
    for position in candidates(len(labels), rate, stream):
        given[position] = target(int(labels[position]), stream)
    return given
