"""CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 (Krizhevsky, 2009), the official python pickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.data.datasets import _cifar
from sanm.data.types import Source

LAYOUT = _cifar.Layout(
    torchvision_class="CIFAR10",
    folder="cifar-10-batches-py",
    train_md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test_md5={"test_batch": "40351d587109b95175f43aff81a1287e"},
    label_key="labels",
    names_file="batches.meta",
    names_key="label_names",
    default_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),  # the mean of per-image deviations: not the pixels', but what the field uses
)


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, 32, 32]`` in the official order, from ``settings["root"]``.

    Raises InputError when files are missing or unreadable.
    """
    return _cifar.load(settings, LAYOUT)
