"""CIFAR-100 with its 100 fine labels: 50,000 training and 10,000 test images of 32 x 32 (Krizhevsky, 2009)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.data.datasets import _cifar
from sanm.data.types import Source

LAYOUT = _cifar.Layout(
    torchvision_class="CIFAR100",
    folder="cifar-100-python",
    train_md5={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test_md5={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    label_key="fine_labels",
    names_file="meta",
    names_key="fine_label_names",
    default_names=tuple(str(fine_label) for fine_label in range(100)),
    mean=(0.507, 0.487, 0.441),
    std=(0.267, 0.256, 0.276),
)


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, 32, 32]`` in the official order, from ``settings["root"]``.

    Raises InputError when files are missing or unreadable.
    """
    return _cifar.load(settings, LAYOUT)
