"""Plug-ins: a module here lifts any base method; ``plugin.name`` names it, SANM's own switch is ``components``.

A plug-in adds views to a batch before the method's loss, or a loss beside it. No method is known here and no method
knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sanm.network import Network
from sanm.step import Batch, Forward, Look, Step, Task


class Plugin(nn.Module):
    """The contract of a plug-in, and one that does nothing.

    ``config`` is the whole config of the run; ``mean`` and ``std`` ``[C]`` undo the normalisation of images. What must
    survive a crash is a parameter in a network's ``heads``, or a buffer.
    """

    reads_trust: ClassVar[bool] = False
    """Whether its steps read the clean probability."""

    reads_levels: ClassVar[bool] = False
    """Whether its loss reads the maps of all stages: those of the method's own pass are then remembered."""

    def __init__(self, config: Mapping[str, Any], task: Task, mean: Tensor, std: Tensor) -> None:
        super().__init__()

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """Hang heads on the freshly made networks, as ``Method.attach``."""

    @classmethod
    def hang_predicting(cls, network: Network, settings: Mapping[str, Any], example: Tensor) -> None:
        """Hang the heads on a network that predict with it, and no others: ``model.pt`` holds their weights alone.

        ``settings`` are the plug-in's own; ``example`` as in ``attach``.
        """

    def active(self, epoch: int) -> bool:
        """Whether it has a part in the epoch's steps."""
        return True

    def add_views(self, batch: Batch, look: Look, step: Step) -> Batch:
        """The batch with views and beliefs of the plug-in's, behind the method's or in their place."""
        return batch

    def extra(self, forward: Forward, batch: Batch, look: Look, step: Step) -> Tensor:
        """A loss, a scalar, that is added to the method's."""
        return torch.zeros((), device=batch.x.device)

    def frozen_networks(self) -> Sequence[Network]:
        """Networks that never learn, and so are no modules of the plug-in."""
        return ()


def plugin_class(name: str) -> type[Plugin]:
    """The plug-in of ``sanm/plugins/<name>``: the class it calls PLUGIN."""
    found: type[Plugin] = import_module(f"{__name__}.{name}").PLUGIN
    return found


def chosen(config: Mapping[str, Any]) -> list[str]:
    """The names of the plug-ins that a config asks for, in the order in which they act."""
    names = ["sanm"] if config["components"]["amg"] else []
    named = (config.get("plugin") or {"name": "none"})["name"]
    return names if named == "none" else [*names, named]
