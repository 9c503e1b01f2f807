"""Asymmetric noise: a share of the samples gets the label of the class that theirs is taken for.

``int(rate * n)`` samples of all classes are picked as DivideMix does; those of a class without look-alike keep their
label. On CIFAR-10 half of the classes are mapped, so 0.4 makes about 20 % of all labels wrong. For CIFAR-100 the
literature has five definitions (``_cifar100.py``), to be chosen by ``definition``.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from sanm.data.noise._cifar100 import DEFINITIONS, SUPERCLASSES, next_in_superclass
from sanm.data.noise._dividemix import candidates
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError

CLASS_MAPS: dict[str, dict[int, int]] = {
    "cifar10": {9: 1, 2: 0, 3: 5, 5: 3, 4: 7},  # truck, bird, cat <-> dog, deer
    "cifar100": next_in_superclass(SUPERCLASSES),
    "digits": {7: 1, 2: 7, 3: 8, 5: 6, 6: 5},  # MNIST's
}


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` by ``rate`` in [0, 1], ``seed``, ``definition`` (a name, for CIFAR-100 alone) and ``map``
    (true class -> given class, by name or number).

    A map goes before a definition; without either the data set's own map is used. Raises InputError when it has none,
    for a definition of another data set, and for a map of what is no class.
    """
    rate, seed, definition = settings["rate"], settings["seed"], settings.get("definition")
    if definition is not None and settings.get("map") is None:
        if task.dataset != "cifar100":
            raise InputError(
                f"noise.definition={definition} is for data=cifar100, not data={task.dataset}: "
                "set noise.definition=null"
            )
        return DEFINITIONS[definition](task.labels, rate, seed)
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
