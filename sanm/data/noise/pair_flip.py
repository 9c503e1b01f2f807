"""Pair-flip noise: each label becomes the next class, the last the first, with probability ``rate``.

As in Co-teaching (Han et al., NeurIPS 2018), where 0.45 is the usual rate. From 0.5 on a class has as many wrong
labels as right ones, so that nothing can tell which is which.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sanm.data.noise._transition import drawn, towards
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` by ``rate`` in [0, 1] and ``seed``. Raises InputError for a single class.

    The stream is Co-teaching's, so the same seed gives the same labels.
    """
    if task.num_classes < 2:
        raise InputError("noise=pair_flip needs two classes or more; set noise=none")
    following = (np.arange(task.num_classes) + 1) % task.num_classes
    return drawn(task.labels, towards(following, settings["rate"]), np.random.RandomState(settings["seed"]))
