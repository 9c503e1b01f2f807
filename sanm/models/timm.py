"""A classification model of timm as a network: convolutional, or a vision transformer whose tokens form a map.

Images of one channel are shown three times; images of another size are resized as the model's description says. The
classifier, and for a frozen backbone its head, are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from sanm.errors import InputError
from sanm.machine.backbones import Sight, sight_of, untrained
from sanm.network import Network

MOST_STAGES = 5
STAGES = 4
"""So many blocks, evenly spaced, are stages of a model that has more than MOST_STAGES of them, as transformers do."""
CHANNELS = (1, 3)


class Backbone(nn.Module):
    """A model of timm up to its last map. ``size`` is the side of the images it sees, ``width`` the map's channels."""

    def __init__(self, architecture: str, size: int | None, channels: int) -> None:
        """Raises InputError for a model that timm does not know or that has no map, a size that it does not take, and
        images of other than one or three channels.
        """
        super().__init__()
        if channels not in CHANNELS:
            raise InputError(f"model=timm sees images of 1 or 3 channels, not {channels}: choose another model")
        sight = sight_of(architecture)
        self.size, self.interpolation = size or sight.size, sight.interpolation
        self.body = untrained(architecture)
        body: Any = self.body
        self.width = int(body.num_features)
        depth = len(getattr(body, "feature_info", ()))
        self._stages = [depth * (stage + 1) // STAGES - 1 for stage in range(STAGES)] if depth > MOST_STAGES else None
        self._check(architecture, sight.size)

    def forward(self, x: Tensor) -> Tensor:
        """The last map ``[B, D, h, w]`` of images ``[B, C, H, W]``."""
        *_, last = self.maps(x)
        return last

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """The maps of its stages; the last is what its own classifier sees."""
        body: Any = self.body
        last, stages = body.forward_intermediates(self._as_seen(x), indices=self._stages)
        yield from stages[:-1]
        yield self._as_map(last, stages[-1])

    def _as_seen(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)
        size = (self.size, self.size)
        if x.shape[-2:] == size:
            return x
        smaller = min(x.shape[-2:]) > self.size
        return interpolate(x, size, mode=self.interpolation, align_corners=False, antialias=smaller)

    def _as_map(self, last: Tensor, stage: Tensor) -> Tensor:
        """What the model ends with as ``[B, D, h, w]``: it may have channels last, or be tokens, class tokens first."""
        if last.dim() == 4:
            channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC" or last.shape[1] != self.width
            return last.permute(0, 3, 1, 2) if channels_last else last
        height, width = stage.shape[-2:]
        return last[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))

    @torch.no_grad()
    def _check(self, architecture: str, own: int) -> None:
        """One image, of the device that the weights are drawn on."""
        self.eval()
        try:
            found = self(torch.zeros(1, 3, self.size, self.size))
        except Exception as error:  # each family says in its own way what it does not take
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            if self.size != own:
                raise InputError(
                    f"model.input_size={self.size}: {architecture} does not take images of that size ({reason}): "
                    f"leave it null for its own, {own}"
                ) from error
            raise InputError(_without_map(architecture, reason)) from error
        finally:
            self.train()
        if found.dim() != 4 or found.shape[1] != self.width:
            raise InputError(_without_map(architecture, f"it ends with {list(found.shape[1:])}"))


def _without_map(architecture: str, reason: str) -> str:
    return f"model.architecture={architecture} has no feature map that could be read ({reason}): choose another"


class TimmNetwork(Network):
    """A backbone with a classifier of its mean features."""

    activated: ClassVar[bool] = False

    def __init__(self, architecture: str, size: int | None, channels: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(architecture, size, channels)
        self.resizes_to = self.backbone.size
        self.classifier = nn.Linear(self.backbone.width, num_classes)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        return self.backbone.maps(x)


class FeatureHead(Network):
    """What learns on features ``[B, D, 1, 1]`` of a frozen backbone: linear, or with a layer of ``hidden`` units."""

    def __init__(self, features: int, hidden: int | None, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(features, hidden, 1) if hidden else None
        self.classifier = nn.Linear(hidden or features, num_classes)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        yield x if self.hidden is None else relu(self.hidden(x))


class FrozenBackbone(nn.Module):
    """What brings normalised images to the features that a head learns on: pooled, and standardised by those of the
    training images.
    """

    def __init__(self, settings: Mapping[str, Any], channels: int) -> None:
        super().__init__()
        self.backbone = Backbone(settings["architecture"], settings["input_size"], channels)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(self.backbone.width))
        self.register_buffer("scale", torch.ones(self.backbone.width))
        self.requires_grad_(False).eval()

    def pooled(self, x: Tensor) -> Tensor:
        """Features ``[B, D]`` as the backbone gives them, of images ``[B, C, H, W]``."""
        pooled: Tensor = self.backbone(x).mean((2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[B, D, 1, 1]`` as a head sees them."""
        return ((self.pooled(x) - self.mean) * self.scale)[..., None, None]


def normalisation(settings: Mapping[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation ``[C]`` that the model's description asks for; of one channel, the mean of theirs."""
    sight: Sight = sight_of(settings["architecture"])
    if channels == 1:
        return (sum(sight.mean) / len(sight.mean),), (sum(sight.std) / len(sight.std),)
    return sight.mean, sight.std


def build(settings: Mapping[str, Any], channels: int, num_classes: int) -> Network:
    """``settings``: ``architecture``, ``input_size``, and where ``frozen`` the ``hidden`` units of the head, whose
    ``channels`` are then features. Raises InputError as Backbone does.
    """
    if settings["frozen"]:
        return FeatureHead(channels, settings["hidden"], num_classes)
    return TimmNetwork(settings["architecture"], settings["input_size"], channels, num_classes)
