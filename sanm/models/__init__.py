"""Networks: a file here is a network, its name is the config's ``model.name``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from sanm.types import Network


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """The network of ``settings["name"]`` for images of ``channels`` channels, freshly initialised."""
    module = import_module(f"{__name__}.{settings['name']}")
    network: Network = module.build(settings, channels, num_classes)
    return network
