"""Masks by another network than the one that learns: a frozen ImageNet ResNet-18 (SANM, Table 4), or a smaller one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sanm.errors import InputError
from sanm.formats.safetensors_file import is_safetensors, read_safetensors
from sanm.machine.backbones import LITE0, lite0_weights
from sanm.machine.weights import imagenet_weights
from sanm.models.timm import TimmNetwork
from sanm.network import Network
from sanm.record import checkpoint
from sanm.step import Look

CLASSES = 1000
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of pixels in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
NAMED_KEYS = 3


class FrozenResNet18(Network):
    """torchvision's ResNet-18 with its 1000 ImageNet classes: in eval mode, and no gradient ever."""

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, weights: str | None) -> None:
        """``weights`` as in ``weights_file``. Raises InputError when they are not there or are another network's."""
        super().__init__()
        whole = _resnet18_of(weights)
        stem = (whole.conv1, whole.bn1, whole.relu, whole.maxpool)
        self.body = nn.Sequential(*stem, whole.layer1, whole.layer2, whole.layer3, whole.layer4)
        self.classifier = whole.fc
        self.requires_grad_(False).eval()

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        yield self.body(x)


class FrozenLite0(TimmNetwork):
    """timm's EfficientNet-Lite0 with its 1000 ImageNet classes, frozen like the other; ``size`` as images come."""

    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, size: int) -> None:
        """Raises InputError when timm or the package of its weights is not there."""
        with torch.random.fork_rng(devices=[]):
            super().__init__(LITE0, size, 3, CLASSES)
        body, last = self.backbone.body.state_dict(), self.classifier.state_dict()
        weights = lite0_weights({**body, **{f"classifier.{key}": value for key, value in last.items()}})
        self.backbone.body.load_state_dict({key: weights[key] for key in body})
        self.classifier.load_state_dict({key: weights[f"classifier.{key}"] for key in last})
        self.requires_grad_(False).eval()


def frozen_network(settings: Mapping[str, Any]) -> FrozenResNet18 | FrozenLite0:
    """The network that the config's ``mask_source`` names. Raises InputError when its weights are not there or do not
    fit.
    """
    if settings["network"] == "efficientnet_lite0":
        return FrozenLite0(int(settings["input_size"]))
    return FrozenResNet18(settings["weights"])


class FrozenSource:
    """The frozen network beside a run: no module, so that no optimizer and no checkpoint ever holds it.

    ``settings`` is the config's ``mask_source``. Images come normalised by ``mean`` and ``std [C]``, with one channel
    or three. Raises InputError for other images, and for weights that are not there or do not fit.
    """

    def __init__(self, settings: Mapping[str, Any], mean: Tensor, std: Tensor) -> None:
        if len(mean) not in (1, 3):
            raise InputError(f"mask_source=pretrained sees images of 1 or 3 channels, not {len(mean)}: set it to self")
        self.size = int(settings["input_size"])
        self.network = frozen_network(settings).to(mean.device).to(memory_format=torch.channels_last)
        imagenet_mean, imagenet_std = (mean.new_tensor(each) for each in (self.network.mean, self.network.std))
        self.scale = (std / imagenet_std)[:, None, None]
        self.shift = ((mean - imagenet_mean) / imagenet_std)[:, None, None]

    def look(self, images: Tensor) -> Look:
        """What the frozen network, number 0 of the look, sees in normalised images ``[B, C, H, W]``.

        They are normalised as it wants them and resized bilinearly; a single channel is shown three times.
        """
        renormalised = images * self.scale + self.shift  # to three channels, where there is one
        size = (self.size, self.size)
        resized = interpolate(renormalised, size, mode="bilinear", align_corners=False, antialias=True)
        return Look([self.network], resized[None], "eval")


def source_of(settings: Mapping[str, Any], mean: Tensor, std: Tensor) -> FrozenSource | None:
    """The frozen network that the config's ``mask_source`` asks for; None where masks come from the learning one."""
    return FrozenSource(settings, mean, std) if settings["name"] == "pretrained" else None


def weights_file(weights: str | None) -> Path:
    """The file ``weights``; for None torchvision's own in torch's cache, fetched into it when it is not there.

    Raises InputError that says where to put which file.
    """
    if weights:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise InputError(
                f"mask_source.weights={weights} is not a file: give torchvision's resnet18 as a state dict"
            )
        return path
    return imagenet_weights(18, "mask_source=pretrained", "mask_source.weights")


def _resnet18_of(weights: str | None) -> Any:
    from torchvision.models import resnet18

    path = weights_file(weights)
    remedy = "give mask_source.weights=FILE, a state dict of torchvision's resnet18"
    state = _read(path, remedy if weights else f"delete it, to have it fetched again, or {remedy}")
    with torch.random.fork_rng(devices=[]):  # what the learning networks are drawn from stays as it was
        network = resnet18(weights=None)
    misfit = _misfit(network.state_dict(), state)
    if misfit:
        raise InputError(f"{path} is not of the ImageNet ResNet-18 (it {misfit}): {remedy}")
    network.load_state_dict(state)
    return network


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        state = read_safetensors(path) if is_safetensors(path) else checkpoint.read(path, own=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as weights ({reason}): {remedy}") from error
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, no state dict: {remedy}")
    return {str(key): value for key, value in state.items()}


def _misfit(expected: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """How a state dict differs from the expected one; empty where it does not."""
    counters = {key for key in expected if key.endswith("num_batches_tracked")}  # files of old versions lack them
    wrong = [key for key in expected if key in state and getattr(state[key], "shape", None) != expected[key].shape]
    kinds = {
        "lacks": [key for key in expected if key not in state and key not in counters],
        "also has": [key for key in state if key not in expected],
        "has other shapes of": wrong,
    }
    return ", ".join(f"{kind} {_first(keys)}" for kind, keys in kinds.items() if keys)


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - NAMED_KEYS} more" if len(keys) > NAMED_KEYS else ""
    return ", ".join(keys[:NAMED_KEYS]) + more
