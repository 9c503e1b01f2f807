"""Reader of idx files, the format of MNIST and of its successors (LeCun, Cortes, Burges, 1998)."""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sanm import given_files
from sanm.data.datasets._torchvision import folder_of
from sanm.data.pixels import mean_and_std
from sanm.data.types import Source, in_memory
from sanm.errors import InputError

BYTES = 8
"""The code of unsigned bytes in an idx file, which images and labels are."""


def load(settings: Mapping[str, Any], torchvision_class: str, class_names: tuple[str, ...]) -> Source:
    """Images ``[N, 1, 28, 28]`` in the official order, below ``settings["root"]``.

    The four files lie in torchvision's layout (``MNIST/raw``), or in the folder itself, packed with gzip or not. With
    ``settings["download"]`` absent files are fetched first. Raises InputError that names the key or the file.
    """
    place = f"{torchvision_class}/raw"
    folder = folder_of(settings, place, lambda root: _present(root, place), torchvision_class)
    train, test = (_part(folder, part, len(class_names)) for part in ("train", "t10k"))
    mean, std = mean_and_std(train[0])
    return Source(
        train=in_memory(*train),
        test=in_memory(*test),
        class_names=class_names,
        mean=mean,
        std=std,
        labels_verified=True,
    )


def _present(root: Path, place: str) -> Path | None:
    return next((folder for folder in (root / place, root) if _file(folder, "train-images-idx3-ubyte")), None)


def _file(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _part(folder: Path, part: str, num_classes: int) -> tuple[Tensor, Tensor]:
    images = _read(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _read(folder, f"{part}-labels-idx1-ubyte", 1)
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{folder}: {part} has {len(images)} images but {len(labels)} labels; fetch it again")
    if int(labels.max()) >= num_classes:
        raise InputError(f"{folder}: a label of {part} is {int(labels.max())}, and there are {num_classes} classes")
    return images[:, None], labels.long()


def _read(folder: Path, name: str, dimensions: int) -> Tensor:
    path = _file(folder, name)
    if path is None:
        raise InputError(f"{folder} has no {name} and no {name}.gz: fetch it again")
    try:
        content = given_files.read_bytes(path)
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it again") from error
    head = 4 * (1 + dimensions)
    sizes = np.frombuffer(content[4:head], dtype=">u4").astype(int).tolist()
    if content[:4] != bytes((0, 0, BYTES, dimensions)) or len(content) != head + math.prod(sizes):
        raise InputError(f"{path} is no intact idx file of bytes in {dimensions} dimensions: fetch it again")
    return torch.from_numpy(np.frombuffer(content[head:], dtype=np.uint8).reshape(sizes).copy())
