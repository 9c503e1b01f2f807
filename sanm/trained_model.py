"""``model.pt``: the networks that a finished run predicts with, and all that a prediction needs beside an image.

The file holds plain values and tensors, so that ``torch.load(..., weights_only=True)`` takes it and nothing in it is
executed. The weights are those of the last epoch: the best one is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanm import given_files, models
from sanm.data import Images
from sanm.data.augment import center_crop, images_at_once, normalise
from sanm.errors import InputError
from sanm.formats.background import Color, as_text, background_of, color_of
from sanm.machine.precision import autocast, set_matrix_precision
from sanm.methods import summed
from sanm.models.timm import FrozenBackbone
from sanm.network import Network
from sanm.plugins import plugin_class
from sanm.record import checkpoint

FILE_NAME = "model.pt"
FORMAT, VERSION = "sanm model", 1
WEIGHTS = "of the last epoch"
BACKBONE = "backbone"
PREPARATION = (
    "turned as the EXIF says, RGB (gray where channels is 1), transparency {background}, resized to image_size, "
    "bilinear with antialiasing, whatever its aspect; the middle crop_size of it; pixels / 255 minus mean, divided by "
    "std"
)
OUTPUT = "softmax of the sum of the logits of the networks"

Plain = dict[str, Any]


def described(
    config: Mapping[str, Any], images: Images, crop_size: tuple[int, int], class_names: Sequence[str]
) -> Plain:
    """What a prediction needs beside weights: the network, its input, and what its outputs are called.

    ``config`` is the run's; ``images`` are what it was trained on, of which ``crop_size`` (height, width) is seen.
    """
    _, channels, *image_size = images.images.shape
    background = background_of(config["data"])
    color = color_of(background)
    return {
        "model": dict(config["model"]),
        "plugin": {key: value for key, value in config["plugin"].items() if key != "tables"},
        "class_names": list(class_names),
        "input": {
            "channels": channels,
            "image_size": image_size,
            "crop_size": list(crop_size),
            "mean": list(images.mean),
            "std": list(images.std),
            "precision": config["trainer"]["precision"],
            "background": background,
            "preparation": PREPARATION.format(background="dropped" if color is None else f"on {as_text(color)}"),
        },
        "output": OUTPUT,
    }


def write_model(
    path: Path, networks: Iterable[nn.Module], description: Plain, record: Plain, backbone: nn.Module | None = None
) -> None:
    """Write ``model.pt``, whole or not at all: networks, what ``described`` says, and where they come from.

    A frozen ``backbone``, whose features are what the networks see, is kept once for all of them.
    """
    weights: Plain = {"networks": [_plain_state(network) for network in networks]}
    if backbone is not None:
        weights[BACKBONE] = _plain_state(backbone)
    checkpoint.save(path, {"format": FORMAT, "version": VERSION, **description, **record, **weights})


def _plain_state(network: nn.Module) -> dict[str, Any]:
    """Weights and statistics, without heads that only learn."""
    kept = tuple(f"heads.{name}." for name in getattr(network, "predicting", ()))
    return {
        key: _on_host(value) if isinstance(value, Tensor) else value
        for key, value in network.state_dict().items()
        if not key.startswith("heads.") or key.startswith(kept)
    }


def _on_host(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


class TrainedModel(nn.Module):
    """The networks of a ``model.pt``, in eval mode. ``about`` is all else that the file holds."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """Raises whatever a content that is not of a ``model.pt`` leads to."""
        super().__init__()
        self.about: Plain = {key: value for key, value in content.items() if key not in ("networks", BACKBONE)}
        self.class_names = tuple(str(name) for name in content["class_names"])
        given = content["input"]
        self.channels, self.precision = int(given["channels"]), str(given["precision"])
        self.image_size, self.crop_size = _size(given["image_size"]), _size(given["crop_size"])
        self.background: Color | None = color_of(given.get("background"))  # a file that is older drops transparency
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(given["mean"]))
        self.register_buffer("std", torch.tensor(given["std"]))
        self.backbone = self._frozen_backbone(content) if BACKBONE in content else None
        self.networks = nn.ModuleList(self._network(content["model"], weights) for weights in content["networks"])
        self.requires_grad_(False).eval()

    def _network(self, settings: Mapping[str, Any], weights: Mapping[str, Any]) -> Network:
        with torch.random.fork_rng(devices=[]):
            channels = self.channels if self.backbone is None else len(self.backbone.mean)
            network = models.build(settings, channels, len(self.class_names), self.crop_size)
            if any(key.startswith("heads.") for key in weights):
                plugin, example = self.about["plugin"], torch.zeros(2, self.channels, *self.crop_size)
                plugin_class(plugin["name"]).hang_predicting(network, plugin, example)
        network.load_state_dict(weights)
        return network

    def _frozen_backbone(self, content: Mapping[str, Any]) -> FrozenBackbone:
        with torch.random.fork_rng(devices=[]):
            backbone = FrozenBackbone(content["model"], self.channels)
        backbone.load_state_dict(content[BACKBONE])
        return backbone

    def _logits(self, x: Tensor) -> Tensor:
        return summed(self.networks, x if self.backbone is None else self.backbone(x))

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities ``[B, K]`` of images ``[B, C, H, W]`` of values in [0, 1], in single precision."""
        x = (center_crop(images, self.crop_size) - self.mean[:, None, None]) / self.std[:, None, None]
        return self._logits(x).softmax(-1)

    @torch.no_grad()
    def probabilities(self, pixels: Tensor) -> Tensor:
        """Class probabilities ``[B, K]`` of uint8 images ``[B, C, H, W]``, by the arithmetic that the run was tested
        with, on the device that the model is on.
        """
        device = self.mean.device
        set_matrix_precision(device, self.precision)
        x = normalise(center_crop(pixels, self.crop_size).to(device), self.mean, self.std)
        with autocast(device, self.precision):
            logits = self._logits(x.contiguous(memory_format=torch.channels_last))
        return logits.softmax(-1)

    @property
    def at_once(self) -> int:
        """How many images a pass takes, whose maps are all in memory."""
        first = next(iter(self.networks))
        side = (
            self.backbone.backbone.size if self.backbone else first.resizes_to if isinstance(first, Network) else None
        )
        return images_at_once((side, side) if side else self.crop_size)

    def line(self) -> str:
        """Whose weights these are, for a line on the screen."""
        accuracy = self.about["accuracy"]
        on_validation = f"accuracy on validation images ({accuracy['validation_labels']} labels)"
        figures = {"test accuracy": accuracy["test_accuracy"], on_validation: accuracy["validation_accuracy"]}
        known = [f"{name} {value:.2f} %" for name, value in figures.items() if value is not None]
        run = self.about["run"]
        return ", ".join([f"{run['name']}: last epoch ({run['epochs']})", *known])


def _size(given: Sequence[int]) -> tuple[int, int]:
    height, width = given
    return int(height), int(width)


def model_path(given: str) -> Path:
    """The model file that a command line names: itself, or by the folder of its run. Raises InputError without one."""
    place = Path(given).expanduser()
    if not given_files.is_folder(place):
        if not place.exists():
            raise InputError(f"{place} is not there: give a {FILE_NAME}, or the folder of a finished run")
        return place
    if (place / FILE_NAME).exists():
        return place / FILE_NAME
    if (place / "result.json").exists():
        raise InputError(
            f"{place} has no {FILE_NAME}: it was run with trainer.save_model=false, or before there were such; "
            "its command with another runs_dir makes one"
        )
    raise InputError(f"{place} has no {FILE_NAME}: give the folder of a finished run")


def read_model(path: Path) -> TrainedModel:
    """The model of a file that ``write_model`` wrote, on the host. Raises InputError for any other."""
    try:
        content = checkpoint.read(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path} is no {FILE_NAME} of a run: give one, or the folder of a finished run")
        if content["version"] > VERSION:
            raise InputError(f"{path} was written by a newer version of this program ({content['versions']['sanm']})")
        return TrainedModel(content)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # what is not as it was written raises nearly anything
        reason = str(error).partition("\n")[0].rstrip(":. ")
        raise InputError(f"{path} is no intact {FILE_NAME} ({reason}): copy it again, or give another") from error
