"""What is said of labels that come from a file, and labels that no file has unless it is of another data set.

A label there is a number, so it means what the order of the classes makes of it.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError
from sanm.terminal import output

NAMED = 12
"""Classes that the line on their order names."""
DEVIATIONS = 6
"""Standard deviations of chance that no labels are beyond."""
SAMPLES_A_CLASS = 10
"""Fewer samples of a class, on average, fit some other order by chance."""


def say_order(class_names: Sequence[str], path: object) -> None:
    """One line on which number in the file is which class."""
    named = ", ".join(f"{number} = {name}" for number, name in enumerate(class_names[:NAMED]))
    last = len(class_names) - 1
    more = f", ... {last} = {class_names[last]}" if last >= NAMED else ""
    output.say(f"labels   noise.path={path}: class {named}{more}")


def check_plausible(given: Labels, task: LabelTask, settings: Mapping[str, Any]) -> None:
    """Raises InputError for labels that disagree with those of the data more than chance does, or whose classes are
    in another order; warns of labels that are no better than chance.

    Labels that know nothing of the images are wrong in 1 - 1/K of the cases, more where they are of other classes; what
    ``settings["rate"]`` says of the noise is believed.
    """
    wrong, count, classes = int((given != task.labels).sum()), len(given), task.num_classes
    if not count or wrong / count <= _nominal(settings, count):
        return
    share = f"{100 * wrong / count:.0f} %"
    said = f"noise.path={settings['path']}: {share} of its labels are not those of data={task.dataset}"
    if found := _another_order(given, task, wrong):
        raise InputError(
            f"{said}, and {found}: it numbers the classes in another order (the line above has this one), so "
            "renumber its labels; if they are meant so, say how many are wrong with noise.rate"
        )
    by_chance = _by_chance(given, task)
    if wrong > count * by_chance + _chance(count, by_chance):
        raise InputError(
            f"{said}, more than the {100 * by_chance:.0f} % of labels drawn at random: they are of other images, or in "
            "another order of images or classes; if they are meant so, say how many are wrong with noise.rate"
        )
    if count >= SAMPLES_A_CLASS * classes and wrong > count * by_chance - _chance(count, by_chance) / 2:
        warnings.warn(f"{said}, as of labels drawn at random: are they of these images, in this order?", stacklevel=4)


def _by_chance(given: Labels, task: LabelTask) -> float:
    shares = [np.bincount(labels, minlength=task.num_classes) / len(given) for labels in (given, task.labels)]
    return max(1 - 1 / task.num_classes, 1 - float((shares[0] * shares[1]).sum()))


def _nominal(settings: Mapping[str, Any], count: int) -> float:
    """The largest share of wrong labels that noise of the rate that is said can have; 0 where none is."""
    rate = settings.get("rate")
    return 0.0 if rate is None else float(rate) + _chance(count, float(rate)) / count


def _chance(count: int, share: float) -> float:
    return DEVIATIONS * math.sqrt(count * share * (1 - share))


def _another_order(given: Labels, task: LabelTask, wrong: int) -> str:
    """Which class the file seems to mean by a number of another, if its labels then fit far better; else nothing."""
    from scipy.optimize import linear_sum_assignment

    count, classes = len(given), task.num_classes
    if wrong <= count / 2 or count < SAMPLES_A_CLASS * classes:
        return ""
    together = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(together, (given, task.labels), 1)
    numbers, meant = linear_sum_assignment(together, maximize=True)
    left = count - int(together[numbers, meant].sum())
    if left >= wrong / 2:
        return ""
    first = next(number for number in numbers if meant[number] != number and together[number].any())
    name = task.class_names[int(meant[first])]
    return f"{100 * left / count:.0f} % if {first} meant {name!r}, and so on"
