"""Symmetric noise, in the two conventions that go by this name.

``inclusive`` (DivideMix and what descends from it): exactly ``int(rate * n)`` labels are redrawn from all K classes,
so that a share of about ``rate (K - 1) / K`` is wrong. ``exclusive`` (Co-teaching and what descends from it): each
label is wrong with probability ``rate``, uniformly among the K - 1 other classes.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from sanm.data.noise._dividemix import candidates
from sanm.data.noise._transition import drawn
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` by ``rate`` in [0, 1], ``seed`` and ``convention``. Raises InputError for a single class."""
    if task.num_classes < 2:
        raise InputError("noise=symmetric needs two classes or more; set noise=none")
    by_convention = {"inclusive": _inclusive, "exclusive": _exclusive}[settings["convention"]]
    return by_convention(task, settings["rate"], settings["seed"])


def _inclusive(task: LabelTask, rate: float, seed: int) -> Labels:
    stream = random.Random(seed)
    given = task.labels.copy()
    for position in candidates(len(given), rate, stream):
        given[position] = stream.randint(0, task.num_classes - 1)
    return given


def _exclusive(task: LabelTask, rate: float, seed: int) -> Labels:
    transition = np.full((task.num_classes, task.num_classes), rate / (task.num_classes - 1))
    np.fill_diagonal(transition, 1 - rate)
    return drawn(task.labels, transition, np.random.RandomState(seed))
