"""Networks: a file here is a network, its name is the config's ``model.name``.

Each has ``build(settings, channels, num_classes)``, ``SMALLEST`` if it needs images of so many pixels a side, and
``normalisation(settings, channels)`` if it says itself what images are normalised by.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from sanm.errors import InputError
from sanm.network import Network


def build(settings: Mapping[str, Any], channels: int, num_classes: int, size: tuple[int, int] | None = None) -> Network:
    """The network of ``settings["name"]`` for images of ``channels`` channels, freshly initialised.

    Raises InputError when images of ``size`` (height, width) are too small for it.
    """
    module = import_module(f"{__name__}.{settings['name']}")
    smallest = getattr(module, "SMALLEST", 1)
    if size is not None and min(size) < smallest:
        raise InputError(
            f"model={settings['name']} needs images of at least {smallest}x{smallest} pixels, "
            f"these have {size[0]}x{size[1]}: choose another model or larger images"
        )
    network: Network = module.build(settings, channels, num_classes)
    return network


def normalisation(settings: Mapping[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation ``[C]`` that the network asks for, of pixels in [0, 1]; None: the data's are as good."""
    asked = getattr(import_module(f"{__name__}.{settings['name']}"), "normalisation", None)
    return asked(settings, channels) if asked else None
