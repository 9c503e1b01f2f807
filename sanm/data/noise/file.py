"""Labels from a file in the DivideMix format: a bare JSON array of whole numbers, position = training sample."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sanm import given_files
from sanm.data.noise._from_file import check_plausible, say_order
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` from ``settings["path"]``, which has one for each sample of the full training set, or of
    the selected subset.

    Says which number is which class. Raises InputError that names the file for any other length, for values that are
    not classes, and for labels that can only be of another data set or another order of classes.
    """
    given = settings.get("path")
    if not given:
        raise InputError(
            "noise.path is not set: set noise.path=FILE, a JSON array with a label for each training sample"
        )
    path = Path(given).expanduser()
    labels = _read_list(path)
    _check_length(labels, task, path)
    _check_values(labels, task.num_classes, path)
    say_order(task.class_names, path)
    found = np.array(labels, dtype=np.int64)
    chosen = found[task.index] if len(found) == task.full_size else found
    check_plausible(chosen, task, settings)
    return chosen


def _read_list(path: Path) -> list[Any]:
    try:
        found = json.loads(given_files.read_bytes(path))
    except OSError as error:
        raise InputError(f"noise.path={path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"noise.path={path} is not JSON ({error}): give a bare array of labels") from error
    if not isinstance(found, list):
        raise InputError(f"noise.path={path} holds a {type(found).__name__}, not a bare JSON array of labels")
    return found


def _check_length(labels: list[Any], task: LabelTask, path: Path) -> None:
    selected = len(task.labels)
    if len(labels) in (task.full_size, selected):
        return
    expected = f"{task.full_size} (training set of {task.dataset})"
    if selected != task.full_size:
        expected += f" or {selected} (data.subset)"
    raise InputError(f"noise.path={path} has {len(labels)} labels, expected {expected}")


def _check_values(labels: list[Any], num_classes: int, path: Path) -> None:
    for position, value in enumerate(labels):
        if type(value) is not int or not 0 <= value < num_classes:
            shown = json.dumps(value)[:40]
            raise InputError(
                f"noise.path={path}: label {shown} at position {position} is not a whole number in [0, {num_classes})"
            )
