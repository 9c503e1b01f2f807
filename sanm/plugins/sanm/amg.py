"""Adversarial mask generation: SANM Eq. 1 to 5. Where to mask, how much, and what to paint there.

The regions that matter most and least to the network are painted over; the less a label is trusted, the larger they
are. Each choice that the paper leaves open, or that its released code makes differently, is a value of ``variant``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sanm.network import Network
from sanm.plugins.sanm.mask_source import FrozenSource
from sanm.step import Look, Step


class Masked(NamedTuple):
    """Masked views of a batch."""

    x: Tensor  # [M, B, C, H, W]
    ratio: Tensor  # [M, B] share of the image that the label pays for, see variant.label_ratio
    activation: Tensor  # [B, H, W] of Eq. 1
    nominal: Tensor  # [2, B] of Eq. 2: at the most and at the least activated point
    boxes: Tensor  # [2, B, H, W] bool: what is painted around each of the two


class Masks:
    """Makes the masked views of a batch; holds settings and constants, no state.

    ``source`` is the frozen network whose activation counts; None: that of the network that learns. ``start`` is the
    epoch in which masks begin.
    """

    def __init__(
        self,
        tau: Mapping[str, Any],
        strategy: Mapping[str, Any],
        variant: Mapping[str, Any],
        mean: Tensor,
        std: Tensor,
        source: FrozenSource | None = None,
        start: int = 0,
    ) -> None:
        self.tau, self.strategy, self.variant, self.start = float(tau["value"]), strategy, variant, start
        self.mean, self.std = mean[:, None, None], std[:, None, None]
        self.source = source
        self.num_views = 1 if variant["masked_views"] == "joint" else 2
        self._a_color_a_box = self.num_views == 1 and variant["fill"] == "box_color"

    def __call__(self, look: Look, network: Network, clean: Tensor, step: Step) -> Masked:
        """Masks for the first view of the look, by the network that is about to learn from them or by the source."""
        images, generator = look.x[0], step.random.device
        if self.variant["activation"] == "random":
            activation = uniform(images[:, 0], generator)
        else:
            activation = self.activation(look, network, step.network)
        nominal = self.ratios(clean, generator) * self.grown(step.progress)
        if self.variant["masked_part"] < 1:
            nominal = nominal * (uniform(clean, generator) < self.variant["masked_part"])
        peaks = torch.stack([activation.flatten(1).argmax(1), activation.flatten(1).argmin(1)])
        boxes = self.boxes(peaks, nominal, activation.shape[1:], generator)
        painted, asked = boxes, nominal
        if self.num_views == 1:
            painted, asked = boxes.any(0, keepdim=True), nominal.sum(0, keepdim=True)
        ratio = asked if self.variant["label_ratio"] == "nominal" else painted.flatten(2).float().mean(2)
        views = self.paint(images, boxes if self._a_color_a_box else painted, generator)
        return Masked(views, ratio, activation, nominal, boxes)

    def activation(self, look: Look, network: Network, k: int) -> Tensor:
        """Eq. 1: ``[B, H, W]``, of network k or of the source, for the first view of the look."""
        kind = self.variant["activation"]
        if self.source is None:
            return activation_map(look, network, k, kind)
        frozen_look = self.source.look(look.x[0])
        return activation_map(frozen_look, self.source.network, 0, kind, look.x.shape[-2:])

    def grown(self, progress: float) -> float:
        """What share of their size masks have by now, after ``progress`` epochs."""
        ramp = float(self.variant["tau_ramp"])
        return min((progress - self.start) / ramp, 1.0) if ramp else 1.0

    def ratios(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Eq. 2: mask ratio ``[2, B]`` at the most and at the least activated point, as shares of the image."""
        name, tau = self.strategy["name"], self.tau
        if name == "fixed":
            return torch.full_like(clean, tau).expand(2, -1)
        if name == "random":
            return (2 * tau * uniform(clean, generator)).expand(2, -1)
        at_maximum = self._adaptive(self.variant["ratio_at_maximum"], clean, generator)
        if self.variant["ratio_at_minimum"] == "as_maximum":
            return at_maximum.expand(2, -1)
        return torch.stack([at_maximum, self._adaptive(self.variant["ratio_at_minimum"], clean, generator)])

    def _adaptive(self, formula: str, clean: Tensor, generator: torch.Generator) -> Tensor:
        if formula == "two_minus_w":
            return self.tau * (2 - clean)
        if formula == "one_minus_w":
            return self.tau * (1 - clean)
        if formula == "one_minus_half_w":
            return self.tau * (1 - clean / 2)
        if formula == "half_one_minus_w":
            return self.tau * (1 - clean) / 2
        if formula == "none":
            return torch.zeros_like(clean)
        return 0.02 + 0.05 * uniform(clean, generator) + 0.03 * (1 - clean)  # "released"

    def boxes(self, peaks: Tensor, nominal: Tensor, size: torch.Size, generator: torch.Generator) -> Tensor:
        """Eq. 3 and 4: which pixels to mask, ``[2, B, H, W]`` bool, for points ``peaks [2, B]`` in raster order."""
        height, width = size
        ratio = nominal * self.variant["painted_part"]
        lowest = float(self.strategy["aspect"])
        # one aspect a sample: in the released code the two boxes of a sample are of one shape
        aspect = lowest + (1 / lowest - lowest) * uniform(nominal[0], generator)
        tall = (ratio * height * width * aspect).sqrt().round().clamp(max=height)
        wide = (ratio * height * width / aspect).sqrt().round().clamp(max=width)
        top, left = peaks // width, peaks % width
        if self.variant["anchor"] == "center":
            top, left = top - (tall / 2).floor(), left - (wide / 2).floor()
        rows = inside(top, tall, height)
        columns = inside(left, wide, width)
        return rows[..., :, None] & columns[..., None, :]

    def paint(self, images: Tensor, boxes: Tensor, generator: torch.Generator) -> Tensor:
        """Eq. 5: the images ``[B, C, H, W]`` with uniform random values inside the boxes ``[M, B, H, W]``.

        With ``fill=box_color`` and a joint view the boxes are painted one after another into that view.
        """
        if self.variant["fill"] == "box_color":  # one color a box, drawn in the normalised space
            shape = (len(boxes), *images.shape[:2], 1, 1)
            paint = torch.rand(shape, generator=generator, device=images.device)
            if self._a_color_a_box:
                for box, color in zip(boxes, paint, strict=True):
                    images = torch.where(box[:, None], color, images)
                return images[None]
        else:
            shape = (len(boxes), *images.shape)
            paint = torch.rand(shape, generator=generator, device=images.device).sub_(self.mean).div_(self.std)
        return torch.where(boxes[:, :, None], paint, images)


def activation_map(look: Look, network: Network, k: int, kind: str, size: torch.Size | None = None) -> Tensor:
    """Eq. 1: ``[B, H, W]``, the map of the first view, bilinear to ``size``: by default that of the images looked at.

    ``class``: the class activation map of the class with the largest prediction. ``energy``: the sum over channels
    of squares, which knows no class.
    """
    features = look.maps(k)[0].float()
    size = size or look.x.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):  # in bf16 several points would share the largest value
        if kind == "class":
            weights = network.class_weights()[look.probs(k)[0].argmax(-1)].detach()
            activation = torch.einsum("bdhw,bd->bhw", features, weights.float())
        else:
            activation = features.square().sum(1)
        return interpolate(activation[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from [0, 1) in the shape of ``like``."""
    return torch.rand(like.shape, generator=generator, device=like.device)


def inside(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Which of ``size`` places lie in an interval of whole ``length [...]`` from ``start [...]``, shifted to fit."""
    start = start.clamp(min=0).minimum(size - length)[..., None]
    place = torch.arange(size, device=start.device)
    return (place >= start) & (place < start + length[..., None])
