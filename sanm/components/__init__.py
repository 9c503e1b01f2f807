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
from torch import Tensor, nn

from sanm.components import amg, mask_source, nlr, smr
from sanm.types import Batch, Forward, Look, Network, Step


class SANM(nn.Module):
    """``settings`` is the whole config: its ``components``, ``tau``, ``mask_strategy``, ``mask_source`` and
    ``variant`` are read.

    ``mean`` and ``std`` ``[C]`` undo the normalisation for masks that are painted in image space.
    """

    def __init__(
        self, settings: Mapping[str, Any], networks: Sequence[Network], images: Tensor, mean: Tensor, std: Tensor
    ) -> None:
        """``images [B, C, H, W]``: any few normalised images, from which the decoders learn the shapes."""
        super().__init__()
        self.components = settings["components"]
        self.masking = bool(self.components["amg"])
        self.decoders = nn.ModuleList()
        if not self.masking:
            return
        self.variant = settings["variant"]
        source = mask_source.source_of(settings["mask_source"], mean, std)
        self.masks = amg.Masks(settings["tau"], settings["mask_strategy"], self.variant, mean, std, source)
        pixels = self.variant["reconstruction_space"] == "image"
        self.unit = std[:, None, None] if pixels else torch.ones_like(std)[:, None, None]
        if self.components["smr"]:
            self.decoders.extend(smr.decoder_for(network, images) for network in networks)

    def frozen_networks(self) -> list[Network]:
        """Networks that never learn, and so are no modules of this one."""
        return [self.masks.source.network] if self.masking and self.masks.source else []

    def active(self, epoch: int) -> bool:
        return self.masking and epoch >= self.components["start"]

    def add_views(self, batch: Batch, look: Look, network: Network, step: Step) -> Batch:
        """The batch with its masked views behind the others (Eq. 1 to 5, 7)."""
        if not self.active(step.epoch):
            return batch
        masked, targets = self.masked_views(batch, look, network, step)
        if self.variant["unmasked_views"] == "replaced":
            return replace(batch, x=masked.x, y=targets)
        return batch.with_views(masked.x, targets)

    def masked_views(self, batch: Batch, look: Look, network: Network, step: Step) -> tuple[amg.Masked, Tensor]:
        """The masked views of a batch and what to believe of each, ``[M, B, K]``; for SANM that masks."""
        masked = self.masks(look, network, batch.clean, step)
        predicts = self.variant["masked_target"] == "prediction"
        believed = look.probs(step.network)[0] if predicts else batch.y[0]
        targets = believed.expand(len(masked.x), *believed.shape)
        if self.components["nlr"]:
            targets = nlr.soften(targets, masked.ratio, bounded=self.variant["label_ratio"] == "realised")
        return masked, targets

    def reconstruction(self, forward: Forward, batch: Batch, look: Look, step: Step) -> Tensor:
        """The weighted reconstruction loss of the masked views (Eq. 9 to 11); zero where there are none."""
        if not self.decoders or not self.active(step.epoch):
            return torch.zeros((), device=batch.x.device)
        views = self.masks.num_views
        features = forward.features_of_last(batch.x, views)
        error = smr.reconstruction_error(self.decoders[step.network], features, look.x[0], self.unit)
        weight: float = self.variant["reconstruction_weight"]
        return weight * error
