"""Label noise: a file here is a noise model, its name is the config's ``noise.name``.

Each has ``corrupt(task, settings) -> labels``: a pure function of its arguments, which it never changes.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sanm.data.types import Labels, LabelTask
from sanm.files import write_bytes


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` of the task by the noise model that ``settings["name"]`` names, as a new array.

    Raises InputError for settings that the task does not fit.
    """
    given: Labels = import_module(f"{__name__}.{settings['name']}").corrupt(task, settings)
    return given


def write_dividemix_json(path: Path, labels: ArrayLike) -> None:
    """Write labels ``[n]`` atomically in the DivideMix format: a bare JSON array, position = sample.

    ``noise=file`` reads it back. Raises InputError when the file cannot be written.
    """
    write_bytes(path, json.dumps(np.asarray(labels).tolist()).encode())
