"""SANM (Tu et al., CVPR 2023) as a plug-in: it adds masked views to a batch, and a reconstruction to its loss.

``amg`` says where and how much to mask, ``nlr`` what to believe of the masked views, ``smr`` rebuilds the unmasked
image; ``mask_source`` is a frozen network that can say where in place of the one that learns. No method is known here
and no method knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sanm.network import Network
from sanm.plugins import Plugin
from sanm.plugins.sanm import amg, mask_source, nlr, smr
from sanm.step import Batch, Forward, Look, Step, Task

DECODER = "decoder"
"""What the reconstruction's head is called."""


class SANM(Plugin):
    """Of the config its ``components``, ``tau``, ``mask_strategy``, ``mask_source`` and ``variant`` are read."""

    reads_trust = True

    def __init__(self, config: Mapping[str, Any], task: Task, mean: Tensor, std: Tensor) -> None:
        """Masks are painted in image space, for which ``mean`` and ``std`` undo the normalisation."""
        super().__init__(config, task, mean, std)
        self.components, self.variant = config["components"], config["variant"]
        source = mask_source.source_of(config["mask_source"], mean, std)
        self.masks = amg.Masks(
            config["tau"],
            config["mask_strategy"],
            self.variant,
            mean,
            std,
            source,
            int(self.components.get("start", 0)),
        )
        pixels = self.variant["reconstruction_space"] == "image"
        self.unit = std[:, None, None] if pixels else torch.ones_like(std)[:, None, None]

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """A decoder for each network, where the reconstruction has a part."""
        for network in networks if self.components["smr"] else ():
            network.heads[DECODER] = smr.decoder_for(network, example)

    def frozen_networks(self) -> Sequence[Network]:
        return [self.masks.source.network] if self.masks.source else []

    def active(self, epoch: int) -> bool:
        return epoch >= int(self.components["start"])

    def add_views(self, batch: Batch, look: Look, step: Step) -> Batch:
        """The batch with its masked views behind the others, or in their place (Eq. 1 to 5, 7)."""
        masked, targets = self.masked_views(batch, look, step)
        apart = len(masked.x) if self.variant["masked_statistics"] == "separate" else 0
        if self.variant["unmasked_views"] == "replaced":
            seen = look.probs(step.network).mean(0)
            return replace(batch, x=masked.x, y=targets, own=0, seen=seen, apart=apart)
        return replace(batch.with_views(masked.x, targets), apart=apart)

    def masked_views(self, batch: Batch, look: Look, step: Step) -> tuple[amg.Masked, Tensor]:
        """The masked views of a batch and what to believe of each, ``[M, B, K]``."""
        masked = self.masks(look, look.networks[step.network], batch.clean, step)
        believed = self._believed(batch, look, step)
        targets = believed.expand(len(masked.x), *believed.shape)
        if self.components["nlr"]:
            targets = nlr.soften(targets, masked.ratio, bounded=self.variant["label_ratio"] == "realised")
        return masked, targets

    def _believed(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """What of an image is believed before its view is softened, ``[B, K]``."""
        kind = self.variant["masked_target"]
        if kind == "method":
            return batch.y[0]
        predicted = look.probs(step.network)[0]
        if kind == "prediction":
            return predicted
        trust = batch.clean[:, None]
        return trust * batch.y[0] + (1 - trust) * predicted

    def extra(self, forward: Forward, batch: Batch, look: Look, step: Step) -> Tensor:
        """The weighted reconstruction loss of the masked views (Eq. 9 to 11); zero without the reconstruction."""
        if not self.components["smr"]:
            return super().extra(forward, batch, look, step)
        features = forward.features_of_last(batch.x, self.masks.num_views)
        error = smr.reconstruction_error(forward.network.heads[DECODER], features, look.x[0], self.unit)
        weight: float = self.variant["reconstruction_weight"]
        return weight * error


PLUGIN = SANM
