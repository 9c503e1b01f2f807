"""Downloads: a data set before its run is named, since a run is known by what its files hold.

The weights of a frozen network are known by their name, and so fetched only when a run is to be trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sanm.identity import holds_files, takes_frozen_masks


def fetch(config: Mapping[str, Any]) -> None:
    """Download the data of a checked config where it asks for that and nothing is there yet.

    Raises InputError when the download fails.
    """
    data = config["data"]
    if not data.get("download") or not data.get("root"):
        return
    if holds_files(str(data["root"]), tuple(data["files"])):
        return
    from sanm.data import datasets

    datasets.load(data, Path(config["cache_dir"]).expanduser())


def check_mask_weights(config: Mapping[str, Any]) -> None:
    """See to it that the frozen network of ``mask_source=pretrained`` can be built, where the run needs it.

    Weights that are not given are downloaded. Raises InputError when they cannot be had or do not fit.
    """
    if takes_frozen_masks(config):
        _check_weights(config["mask_source"]["weights"])


def fetch_imagenet_weights(config: Mapping[str, Any]) -> None:
    """See to it that the weights of ``pretrain=imagenet`` are there, before images are decoded for a run.

    Raises InputError when they cannot be had.
    """
    if config["pretrain"]["name"] == "imagenet" and not config["pretrain"].get("path"):
        from sanm.torchvision_weights import imagenet_weights

        imagenet_weights(int(config["model"]["depth"]), "pretrain=imagenet", "pretrain.path")


@cache
def _check_weights(weights: str | None) -> None:  # once for all cells of a grid
    from sanm.components.mask_source import FrozenResNet18

    FrozenResNet18(weights)
