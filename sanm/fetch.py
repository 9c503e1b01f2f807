"""Downloads: a data set before its run is named, since a run is known by what its files hold.

The weights of a frozen network are known by their name, and so fetched only when a run is to be trained.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sanm.record.identity import holds_files, takes_frozen_masks


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
        source = config["mask_source"]
        _check_weights(source["network"], source["weights"], source["input_size"])


def check_backbone(config: Mapping[str, Any]) -> None:
    """See to it that the network of ``model=timm`` can be built, and that the weights it starts from can be had.

    Raises InputError when timm is not there, or does not know it, or it does not take such images, or where there are
    no weights.
    """
    if config["model"]["name"] == "timm":
        model = config["model"]
        _check_backbone(model["architecture"], model["input_size"], config["pretrain"]["name"])


def fetch_imagenet_weights(config: Mapping[str, Any]) -> None:
    """See to it that the weights of ``pretrain=imagenet`` are there, before images are decoded for a run.

    Raises InputError when they cannot be had.
    """
    if config["pretrain"]["name"] == "imagenet" and not config["pretrain"].get("path"):
        from sanm.machine.weights import imagenet_weights

        imagenet_weights(int(config["model"]["depth"]), "pretrain=imagenet", "pretrain.path")


@cache
def _check_weights(network: str, weights: str | None, size: int) -> None:  # once for all cells of a grid
    from sanm.plugins.sanm.mask_source import frozen_network

    frozen_network({"network": network, "weights": weights, "input_size": size})


@cache
def _check_backbone(architecture: str, size: int | None, pretrain: str) -> None:  # once for all cells of a grid
    import torch

    from sanm.machine.backbones import hub_weights, lite0_weights
    from sanm.models.timm import Backbone

    with torch.random.fork_rng(devices=[]):
        backbone = Backbone(architecture, size, 3)
    if pretrain == "timm":
        hub_weights(architecture)
    elif pretrain == "efficientnet_lite0":
        lite0_weights(backbone.body.state_dict())
