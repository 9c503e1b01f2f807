"""Asymmetric noise: a share of the samples gets the label of the class that theirs is taken for.

``int(rate * n)`` samples of all classes are picked as DivideMix does; those of a class without look-alike keep their
label. On CIFAR-10 half of the classes are mapped, so 0.4 makes about 20 % of all labels wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sanm.data.noise._dividemix import candidates
from sanm.data.noise._settings import rate_of, seed_of
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError

CIFAR100_SUPERCLASSES = (
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
"""Fine classes of each super-class of CIFAR-100."""


def next_in_superclass(superclasses: Iterable[Sequence[int]]) -> dict[int, int]:
    """Each fine class -> the next one of its super-class in ascending order, the last -> the first.

    The literature has five definitions for CIFAR-100; this is the one that Patrini-style papers describe in words.
    """
    return {
        members[place]: members[(place + 1) % len(members)]
        for members in map(sorted, superclasses)
        for place in range(len(members))
    }


CLASS_MAPS: dict[str, dict[int, int]] = {
    "cifar10": {9: 1, 2: 0, 3: 5, 5: 3, 4: 7},  # truck, bird, cat <-> dog, deer
    "cifar100": next_in_superclass(CIFAR100_SUPERCLASSES),
    "digits": {7: 1, 2: 7, 3: 8, 5: 6, 6: 5},  # MNIST's
}


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` by ``rate`` in [0, 1], ``seed`` and ``map`` (true class -> given class, by name or number).

    Without a map the data set's own is used. Raises InputError when it has none, and for bad settings.
    """
    rate, seed = rate_of(settings), seed_of(settings)
    target = np.arange(task.num_classes, dtype=np.int64)
    for true_class, given_class in _class_map(task, settings.get("map")).items():
        target[true_class] = given_class
    chosen = candidates(len(task.labels), rate, random.Random(seed))
    given = task.labels.copy()
    given[chosen] = target[task.labels[chosen]]
    return given


def _class_map(task: LabelTask, wanted: object) -> Mapping[int, int]:
    if wanted is None and task.dataset in CLASS_MAPS:
        return CLASS_MAPS[task.dataset]
    how = "set noise.map={CLASS: CLASS, ...}, true class -> given class, by name or number"
    if wanted is None:
        raise InputError(f"noise=asymmetric: data={task.dataset} has no classes known to be confused; {how}")
    if not isinstance(wanted, Mapping) or not wanted:
        raise InputError(f"noise.map={wanted}: {how}")
    found: dict[int, int] = {}
    for key, value in wanted.items():
        true_class = _class_number(key, task)
        if true_class in found:
            raise InputError(f"noise.map maps {task.class_names[true_class]} twice, by name and by number: keep one")
        found[true_class] = _class_number(value, task)
    return found


def _class_number(wanted: object, task: LabelTask) -> int:
    """Number of a class given by name or number; a name that is a number, like 7 of the digits, is a name first."""
    if isinstance(wanted, str) and wanted in task.class_names:
        return task.class_names.index(wanted)
    is_number = isinstance(wanted, int) and not isinstance(wanted, bool)
    if is_number or (isinstance(wanted, str) and wanted.isdecimal()):
        number = int(str(wanted))
        if 0 <= number < task.num_classes:
            return number
    names = ", ".join(task.class_names[:10]) + (", ..." if task.num_classes > 10 else "")
    raise InputError(f"noise.map: {wanted} is no class; give a number in [0, {task.num_classes}) or one of {names}")
