"""A run's data as its networks see it: normalised as they ask for, and where a backbone is frozen, its features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sanm import models
from sanm.data import Data, Images
from sanm.machine.backbones import sight_of
from sanm.machine.several import processes

Encoder = Callable[[], Mapping[str, Tensor] | None]


class Seen(NamedTuple):
    """What the trainer and the scorer are given, and what a prediction needs to bring an image there."""

    config: Mapping[str, Any]
    data: Data
    pixels: Images  # the training images, with what normalises them
    size: tuple[int, int]  # height and width of what is seen of an image
    encoder: Encoder  # gives the weights that its networks start from
    backbone: nn.Module | None = None  # a frozen one, which is no part of them


def as_seen(config: Mapping[str, Any], data: Data, device: torch.device, encoder: Encoder) -> Seen:
    """The run's data for its networks. ``encoder`` gives the weights of a frozen backbone.

    Raises InputError where the network does not take such images.
    """
    height, width = data.train.images.shape[2:]
    crop = config["data"]["augment"].get("crop")
    size = (crop, crop) if crop else (height, width)
    asked = models.normalisation(config["model"], data.train.images.shape[1])
    if asked is not None:
        _warn_of_enlarging(config, min(size))
        data = replace(data, train=replace(data.train, mean=asked[0], std=asked[1]))
    if not config["model"].get("frozen"):
        return Seen(config, data, data.train, size, encoder)
    from sanm.pretraining.frozen import NO_AUGMENT, featured

    weights = encoder() or {}
    found = processes.leader_first("features", lambda: featured(config, data, size, weights, device))
    alone = {**config, "data": {**config["data"], "augment": NO_AUGMENT}}
    return Seen(alone, found.data, data.train, size, lambda: None, found.backbone)


def _warn_of_enlarging(config: Mapping[str, Any], side: int) -> None:
    """Says so when files are decoded at fewer pixels than the backbone sees."""
    model, decoded = config["model"], config["data"].get("image_size")
    wanted = model["input_size"] or sight_of(model["architecture"]).size
    if decoded is not None and side < wanted:
        warnings.warn(
            f"images of {side} pixels a side are enlarged to {wanted} for {model['architecture']}: set "
            f"data.image_size={wanted}, or a lower model.input_size",
            stacklevel=3,
        )
