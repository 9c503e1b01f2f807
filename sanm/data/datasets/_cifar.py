"""Reader of the official CIFAR python pickles, shared by CIFAR-10 and CIFAR-100."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanm import given_files
from sanm.data.datasets._torchvision import folder_of
from sanm.data.types import Source, in_memory
from sanm.errors import InputError
from sanm.formats.array_pickle import load_plain

SIDE = 32
PIXELS = 3 * SIDE * SIDE  # a row of a batch: all red, all green, all blue values, each row by row


@dataclass(frozen=True)
class Layout:
    """Where one of the two data sets keeps what."""

    torchvision_class: str  # downloads it
    folder: str
    train_md5: Mapping[str, str]  # file -> checksum of the published one
    test_md5: Mapping[str, str]
    label_key: str
    names_file: str
    names_key: str
    default_names: tuple[str, ...]  # used when the names file is not there
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(settings: Mapping[str, Any], layout: Layout) -> Source:
    """Read the batches below ``settings["root"]``: the folder of the batches or the one that holds it.

    Batches may have any number of rows. Files that differ from the published ones are named in one warning. With
    ``settings["download"]`` absent files are fetched first. Raises InputError that names the key or the file.
    """
    folder = folder_of(settings, layout.folder, lambda root: _present(root, layout), layout.torchvision_class)
    names = _class_names(folder, layout)
    altered: list[str] = []
    train_images, train_labels = _read_split(folder, layout.train_md5, layout.label_key, len(names), altered)
    test_images, test_labels = _read_split(folder, layout.test_md5, layout.label_key, len(names), altered)
    if altered:
        warnings.warn(f"{folder}: not the published files (md5 differs): {', '.join(altered)}", stacklevel=2)
    return Source(
        train=in_memory(train_images, train_labels),
        test=in_memory(test_images, test_labels),
        class_names=names,
        mean=layout.mean,
        std=layout.std,
        labels_verified=True,
    )


def _present(root: Path, layout: Layout) -> Path | None:
    files = (*layout.train_md5, *layout.test_md5)
    candidates = (root / layout.folder, root)
    return next((folder for folder in candidates if any((folder / file).is_file() for file in files)), None)


def _read_split(
    folder: Path, md5: Mapping[str, str], label_key: str, num_classes: int, altered: list[str]
) -> tuple[Tensor, Tensor]:
    """Images ``[N, 3, 32, 32]`` and labels ``[N]`` of the files in order; appends the names of altered ones."""
    rows, labels = [], []
    for name, published in md5.items():
        content = _content(folder / name)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != published:
            altered.append(name)
        batch = _unpickled(content, folder / name)
        rows.append(_batch_rows(batch, folder / name))
        labels.append(_batch_labels(batch, label_key, len(rows[-1]), num_classes, folder / name))
    images = np.concatenate(rows).reshape(-1, 3, SIDE, SIDE)
    return torch.from_numpy(images), torch.from_numpy(np.concatenate(labels))


def _content(path: Path) -> bytes:
    try:
        return given_files.read_bytes(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore this file of the data set") from error


def _unpickled(content: bytes, path: Path) -> dict[str, Any]:
    try:
        found = load_plain(content)
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is not an intact CIFAR pickle ({reason}): fetch it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, not the dict of a CIFAR batch")
    return {_text(key): value for key, value in found.items()}


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _entry(batch: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in batch:
        raise InputError(f"{path} has no {key!r} (only {', '.join(sorted(batch)) or 'nothing'})")
    return batch[key]


def _batch_rows(batch: Mapping[str, Any], path: Path) -> NDArray[np.uint8]:
    rows = _entry(batch, "data", path)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != PIXELS:
        found = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InputError(f"{path}: 'data' must be uint8 [images, {PIXELS}], not {found}")
    if len(rows) == 0:
        raise InputError(f"{path} holds no image")
    return rows


def _batch_labels(batch: Mapping[str, Any], key: str, count: int, num_classes: int, path: Path) -> NDArray[np.int64]:
    try:
        labels = np.asarray(_entry(batch, key, path))
    except ValueError as error:  # rows of unequal length
        raise InputError(f"{path}: {key!r} must be a list of whole numbers") from error
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(f"{path}: {key!r} must be a list of whole numbers")
    if len(labels) != count:
        raise InputError(f"{path} has {count} images but {len(labels)} {key}")
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        position = int(outside[0])
        raise InputError(f"{path}: label {labels[position]} of image {position} is not in [0, {num_classes})")
    return labels.astype(np.int64)


def _class_names(folder: Path, layout: Layout) -> tuple[str, ...]:
    path = folder / layout.names_file
    if not path.is_file():
        return layout.default_names
    found = _entry(_unpickled(_content(path), path), layout.names_key, path)
    if not isinstance(found, list | tuple) or len(found) != len(layout.default_names):
        raise InputError(f"{path}: {layout.names_key!r} must be a list of {len(layout.default_names)} names")
    return tuple(_text(name) for name in found)
