"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 (Xiao et al., 2017), the idx files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.data.datasets import _idx
from sanm.data.types import Source

NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 1, 28, 28]`` from ``settings["root"]``; statistics are those of the training pixels."""
    return _idx.load(settings, "FashionMNIST", NAMES)
