"""Labels that people gave: CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022).

Read from the published ``CIFAR-10_human.pt`` and ``CIFAR-100_human.pt``, from the ``*_human_ordered.npy`` beside them,
or from an ``.npz`` of the same arrays. All of them hold the clean labels too, by which the order is checked.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sanm import given_files
from sanm.data.noise._from_file import say_order
from sanm.data.types import Labels, LabelTask
from sanm.errors import InputError
from sanm.files import check_sums
from sanm.formats.array_pickle import load_plain

CLEAN = ("clean_label",)
NAMES = {
    "aggre": ("aggre_label",),
    "random1": ("random_label1",),
    "random2": ("random_label2",),
    "random3": ("random_label3",),
    "worse": ("worse_label",),
    "fine": ("noisy_label", "noise_label"),  # of CIFAR-100N; the ordered file calls it by the second name
}


def corrupt(task: LabelTask, settings: Mapping[str, Any]) -> Labels:
    """Given labels ``[n]`` from ``settings["path"]``, those that ``settings["key"]`` chooses (``NAMES``).

    ``settings["order"]``: a file of positions, ``image_order_c10.npy`` or ``image_order_c100.npy``, for labels in
    TensorFlow's order. Says which number is which class. Raises InputError that names the file for another length,
    labels that are no classes, and clean labels that are not those of the data set.
    """
    path, key = Path(settings["path"]).expanduser(), settings["key"]
    arrays = _arrays(path)
    clean, given = _vector(arrays, CLEAN, task, path), _vector(arrays, NAMES[key], task, path)
    if settings.get("order"):
        order = _order(Path(str(settings["order"])).expanduser(), task.full_size)
        clean, given = _put_back(clean, order), _put_back(given, order)
    say_order(task.class_names, path)
    _check_order(clean, task, path)
    found: Labels = given[task.index]
    return found


def _arrays(path: Path) -> dict[str, Any]:
    """The named arrays of the file, whichever of its formats it has; nothing in it is executed."""
    readers = {".npz": _npz, ".npy": _npy}
    try:
        given_files.status_of(path)
        found = readers.get(path.suffix, _torch)(path)
    except OSError as error:
        raise InputError(f"noise.path={path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged file raises nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"noise.path={path} is no intact file of human labels ({reason}): fetch it again") from error
    if not isinstance(found, Mapping):
        raise InputError(f"noise.path={path} holds a {type(found).__name__}, not arrays by name")
    return {str(name): value for name, value in found.items()}


def _npz(path: Path) -> dict[str, Any]:
    check_sums(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _npy(path: Path) -> Any:
    with open(path, "rb") as handle:
        np.lib.format.read_magic(handle)
        shape, _, kind = np.lib.format.read_array_header_1_0(handle)
        if kind != np.dtype(object) or shape not in ((), (1,)):
            raise ValueError(f"one array {list(shape)} of {kind} without names")
        found = load_plain(handle.read())
    return found.item() if isinstance(found, np.ndarray) else found


def _torch(path: Path) -> Any:
    """A torch file of tensors, or of NumPy arrays as published, which torch itself loads only with all its code."""
    import torch

    check_sums(path, required=False)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return load_plain(archive.read(name))


def _vector(arrays: Mapping[str, Any], names: tuple[str, ...], task: LabelTask, path: Path) -> Labels:
    """The labels of that name for the whole training set."""
    name = next((name for name in names if name in arrays), None)
    if name is None:
        there = ", ".join(key for key, own in NAMES.items() if any(each in arrays for each in own)) or "nothing known"
        raise InputError(f"noise.path={path} has no {names[0]}: its keys are {there}; set noise.key")
    found = np.asarray(arrays[name])
    if found.dtype.kind not in "iu" or found.ndim != 1 or len(found) != task.full_size:
        raise InputError(
            f"noise.path={path}: {name} is {found.dtype} {list(found.shape)}, expected {task.full_size} whole numbers "
            f"(training set of {task.dataset})"
        )
    outside = np.flatnonzero((found < 0) | (found >= task.num_classes))
    if len(outside):
        raise InputError(
            f"noise.path={path}: {name} {found[outside[0]]} at position {outside[0]} is not in [0, {task.num_classes})"
        )
    return found.astype(np.int64)


def _order(path: Path, count: int) -> Labels:
    try:
        given_files.status_of(path)
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"noise.order={path} cannot be read as an array of positions") from error
    if not isinstance(found, np.ndarray) or found.shape != (count,) or not (np.sort(found) == np.arange(count)).all():
        raise InputError(f"noise.order={path} does not hold each position from 0 to {count - 1} once")
    return found.astype(np.int64)


def _put_back(labels: Labels, order: Labels) -> Labels:
    found = np.empty_like(labels)
    found[order] = labels
    return found


def _check_order(clean: Labels, task: LabelTask, path: Path) -> None:
    different = np.flatnonzero(clean[task.index] != task.labels)
    if len(different):
        first = int(different[0])
        raise InputError(
            f"noise.path={path}: its clean labels are not those of data={task.dataset} at {len(different)} of "
            f"{len(task.labels)} images (the first: {clean[task.index[first]]} for {task.labels[first]} at position "
            f"{task.index[first]}): they are of other images, or in another order (*_ordered.npy is in TensorFlow's: "
            "give the .pt file, or noise.order=image_order_c10.npy)"
        )
