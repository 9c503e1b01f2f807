"""Label noise: a file here is a noise model, its name is the config's ``noise.name``.

Each has ``corrupt(task, settings) -> labels``: a pure function of its arguments, which it never changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sanm.data.modules import named_module
from sanm.data.types import Labels, LabelTask
from sanm.files import write_atomically


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` of the task by the noise model that ``settings["name"]`` names, as a new array.

    Raises InputError for an unknown name or bad settings.
    """
    given: Labels = named_module(sys.modules[__name__], settings["name"], "noise").corrupt(task, settings)
    return given


def write_dividemix_json(path: Path, labels: ArrayLike) -> None:
    """Write labels ``[n]`` atomically in the DivideMix format: a bare JSON array, position = sample.

    ``noise=file`` reads it back. Raises InputError when the file cannot be written.
    """
    text = json.dumps(np.asarray(labels).tolist())
    write_atomically(path, lambda handle: handle.write(text.encode()))
