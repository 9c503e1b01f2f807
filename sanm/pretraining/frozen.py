"""Features of a frozen backbone in the place of a run's images: computed once, kept, and found again.

A file holds the features of one backbone, with its weights and all that is done to an image before it. An image is
found in it by a hash of its pixels, whatever data set, part or split it is in.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sanm.data import Data, LabeledImages, TrainingSet
from sanm.data.augment import center_crop, images_at_once, normalise
from sanm.data.one_writer import alone_with
from sanm.data.stored import StoredImages
from sanm.data.types import Pixels
from sanm.errors import InputError
from sanm.machine.backbones import library
from sanm.machine.precision import set_matrix_precision
from sanm.models.timm import FrozenBackbone, normalisation
from sanm.pretraining.encoders import PREFIX
from sanm.record import checkpoint
from sanm.terminal import output

KIND = 1
"""Counts the ways in which features were computed."""
SAVED_EVERY = 60.0
"""Seconds after which a long computation keeps what it has, and says how far it is."""
READ_AT_ONCE = 512
LENGTH = 4.0
"""Of the vector of an image's standardised features, about: with it heads learn well at the rates of the trainers."""

NO_AUGMENT = {"crop_padding": 0, "flip": False}
"""What a pool may do to features, as ``data.augment``: nothing."""


class Featured(NamedTuple):
    """What a run with a frozen backbone trains and tests on."""

    data: Data  # features, float [N, D, 1, 1], in the place of images; mean and deviation are theirs
    backbone: FrozenBackbone  # brings images, normalised by its own mean and deviation, to what a head sees


def featured(
    config: Mapping[str, Any], data: Data, size: tuple[int, int], weights: Mapping[str, Tensor], device: torch.device
) -> Featured:
    """The run's data as its frozen backbone sees it, with ``weights``; of each image the middle ``size`` counts.

    Raises InputError where the backbone does not fit the images, or gives features that are not finite.
    """
    backbone = _loaded(config["model"], data.train.images.shape[1], weights)
    store = FeatureStore(config, backbone, data.train.images, size, device)
    parts = [data.train.images, *(part.images for part in (data.validation, data.test) if part)]
    train, *others = store.features(parts)
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    std = torch.where(std > 0, std, 1.0) * train.shape[1] ** 0.5 / LENGTH
    backbone.mean.copy_(mean)
    backbone.scale.copy_(1 / std)
    left = iter(others)
    of_train: TrainingSet = replace(
        data.train,
        images=train[..., None, None],
        mean=tuple((mean / 255).tolist()),  # as of pixels, which are 255 times what they stand for
        std=tuple((std / 255).tolist()),
    )
    return Featured(
        replace(data, train=of_train, validation=_part(data.validation, left), test=_part(data.test, left)), backbone
    )


def _part(part: LabeledImages | None, features: Iterator[Tensor]) -> LabeledImages | None:
    return part and replace(part, images=next(features)[..., None, None])


def _loaded(settings: Mapping[str, Any], channels: int, weights: Mapping[str, Tensor]) -> FrozenBackbone:
    with torch.random.fork_rng(devices=[]):
        backbone = FrozenBackbone(settings, channels)
    backbone.backbone.body.load_state_dict(
        {key.removeprefix(PREFIX): value for key, value in weights.items()}, strict=False
    )
    return backbone


class Known(NamedTuple):
    """Features of images, and by the hashes of these in which rows they are."""

    rows: dict[bytes, int]
    features: list[Tensor]  # which make [n, D] one behind the other

    def add(self, keys: Sequence[bytes], features: Tensor) -> None:
        """Those ``[m, D]`` of more images."""
        self.rows.update({key: len(self.rows) + place for place, key in enumerate(keys)})
        self.features.append(features)


class FeatureStore:
    """The kept features of one backbone, beside the decoded images where these are on the disk."""

    def __init__(
        self,
        config: Mapping[str, Any],
        backbone: FrozenBackbone,
        images: Pixels,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._backbone, self._size, self._device = backbone, size, device
        mean, std = normalisation(config["model"], images.shape[1])
        self._mean, self._std = torch.tensor(mean, device=device), torch.tensor(std, device=device)
        self._architecture = str(config["model"]["architecture"])
        elsewhere = Path(config["cache_dir"]).expanduser() / "features"
        place = images.path.parent if isinstance(images, StoredImages) else elsewhere
        self.path = place / f"features-{self._architecture}-{self._identity()}.pt"

    def _identity(self) -> str:
        """A hash of the backbone, and of what is done to an image before it."""
        network = self._backbone.backbone
        told = (KIND, library().__version__, self._architecture, network.size, network.interpolation, self._size)
        found = hashlib.sha256(repr((*told, self._mean.tolist(), self._std.tolist())).encode())
        for key, value in network.body.state_dict().items():
            found.update(key.encode())
            found.update(value.contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    def features(self, parts: Sequence[Pixels]) -> list[Tensor]:
        """Features ``[N, D]`` of the images of each part; what nobody has computed yet is computed, and kept."""
        keys = [_hashes(part) for part in parts]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone_with(self.path, "features"):
                known = self._complete(parts, keys, self._read(), keep=True)
        except OSError as error:
            output.complain(f"warning  {self.path} cannot be written ({error.strerror}): features are not kept")
            known = self._complete(parts, keys, Known({}, []), keep=False)
        features = torch.cat(known.features)
        return [features[torch.tensor([known.rows[key] for key in own])] for own in keys]

    def _complete(self, parts: Sequence[Pixels], keys: Sequence[Sequence[bytes]], known: Known, keep: bool) -> Known:
        every = {key: (part, row) for part, own in enumerate(keys) for row, key in enumerate(own)}
        missing = {key: place for key, place in every.items() if key not in known.rows}
        words = f"{self._backbone.backbone.width} of {self._architecture}"
        if not missing:
            output.say(f"features {words}, as kept in {self.path}")
            return known
        began = saved = time.monotonic()
        done = 0
        for some, features in self._computed(parts, missing):
            known.add(some, features)
            done += len(some)
            if time.monotonic() - saved > SAVED_EVERY and done < len(missing):
                self._write(known, keep)
                output.say(f"features {done} of {len(missing)} images")
                saved = time.monotonic()
        self._write(known, keep)
        output.say(f"features {words}: {len(missing)} images in {time.monotonic() - began:.1f} s")
        return known

    @torch.no_grad()
    def _computed(
        self, parts: Sequence[Pixels], missing: Mapping[bytes, tuple[int, int]]
    ) -> Iterator[tuple[list[bytes], Tensor]]:
        """Some images after another, by their hashes, and the features of each."""
        set_matrix_precision(self._device, "fp32")
        side = self._backbone.backbone.size
        at_once = images_at_once((side, side))
        network = self._backbone.to(self._device).to(memory_format=torch.channels_last)
        try:
            for number, part in enumerate(parts):
                own = [(key, row) for key, (which, row) in missing.items() if which == number]
                for first in range(0, len(own), at_once):
                    some = own[first : first + at_once]
                    pixels = center_crop(part[torch.tensor([row for _, row in some])], self._size)
                    x = normalise(pixels.to(self._device), self._mean, self._std)
                    features = network.pooled(x.contiguous(memory_format=torch.channels_last)).float().cpu()
                    if not features.isfinite().all():
                        raise InputError(
                            f"model.architecture={self._architecture} gives features that are not finite with these "
                            "weights: choose others"
                        )
                    yield [key for key, _ in some], features
        finally:
            network.to("cpu")

    def _read(self) -> Known:
        """What is kept; nothing where the file is not there or is damaged."""
        try:
            found = checkpoint.read(self.path)
            keys, features = found["keys"].numpy(), found["features"]
            if features.shape == (len(keys), self._backbone.backbone.width):
                return Known({key.tobytes(): row for row, key in enumerate(keys)}, [features])
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            pass
        return Known({}, [])

    def _write(self, known: Known, keep: bool) -> None:
        if not keep:
            return
        keys = torch.frombuffer(bytearray(b"".join(known.rows)), dtype=torch.uint8).view(len(known.rows), -1)
        try:
            checkpoint.save(self.path, {"keys": keys, "features": torch.cat(known.features)})
        except InputError as error:  # a disk that takes nothing more: the next run computes them again
            output.complain(f"warning  features are not kept: {error}")


def _hashes(images: Pixels) -> list[bytes]:
    """A hash of the pixels of each image."""
    return [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        for part in images.split(READ_AT_ONCE)
        for image in part.numpy()
    ]
