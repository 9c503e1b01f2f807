"""Images decoded as training decodes them, a batch ahead of whoever asks."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanm.data.datasets._decoded import Array, DecodedImage, decode, why_bad
from sanm.errors import InputError
from sanm.formats.misnamed import Misnamed
from sanm.predict.image_list import ImageFile, Line
from sanm.trained_model import TrainedModel

CHANNELS = (1, 3)


class BadImage(NamedTuple):
    """An image that cannot be decoded, why, and what to do about it."""

    image: ImageFile
    reason: str
    remedy: str = "repair or remove it"


class DecodedBatch(NamedTuple):
    """The images of a batch that can be decoded, and those that cannot."""

    images: list[ImageFile]
    pixels: Tensor  # [m, C, H, W] uint8
    bad: list[BadImage]
    emptied: list[ImageFile]  # of the decoded ones: transparent, and of one color as the model sees them


def check_input(model: TrainedModel) -> None:
    """Raises InputError for a model whose input cannot come from image files."""
    height, width = model.image_size
    if height != width or model.channels not in CHANNELS:
        raise InputError(
            f"the model takes images [{model.channels}, {height}, {width}]: image files give squares of 1 or 3 channels"
        )


def decoded_batches(images: Sequence[ImageFile], model: TrainedModel, batch_size: int) -> Iterator[DecodedBatch]:
    """All images in their order, in batches that fit the model's input; two batches at most are in memory."""
    misnamed = cache(Misnamed)
    with ThreadPoolExecutor() as threads:

        def start(first: int) -> list[Future[DecodedImage]]:
            return [threads.submit(_one, image, model) for image in images[first : first + batch_size]]

        underway = start(0)
        try:
            for first in range(0, len(images), batch_size):
                current, underway = underway, start(first + batch_size)
                yield _gathered(images[first : first + batch_size], current, model, misnamed)
        finally:
            threads.shutdown(cancel_futures=True)


def _one(image: ImageFile, model: TrainedModel) -> DecodedImage:
    decoded = decode(image.path, model.image_size[0], model.background)
    if model.channels == 1:
        gray = Image.fromarray(np.ascontiguousarray(decoded.pixels.transpose(1, 2, 0))).convert("L")
        return decoded._replace(pixels=np.asarray(gray)[None])
    return decoded


def _gathered(
    images: Sequence[ImageFile],
    decoding: Sequence[Future[DecodedImage]],
    model: TrainedModel,
    misnamed: Callable[[Path], Misnamed],
) -> DecodedBatch:
    good: list[ImageFile] = []
    pixels: list[Array] = []
    bad: list[BadImage] = []
    emptied: list[ImageFile] = []
    for image, result in zip(images, decoding, strict=True):
        try:
            decoded = result.result()
            pixels.append(decoded.pixels)
            good.append(image)
            if decoded.emptied:
                emptied.append(image)
        except Exception as error:  # a damaged image raises nearly anything
            bad.append(_bad(image, error, misnamed))
    empty = np.empty((0, model.channels, *model.image_size), dtype=np.uint8)
    return DecodedBatch(good, torch.from_numpy(np.stack(pixels) if pixels else empty), bad, emptied)


def _bad(image: ImageFile, error: Exception, misnamed: Callable[[Path], Misnamed]) -> BadImage:
    if isinstance(error, FileNotFoundError | NotADirectoryError) and image.line:
        return _not_there(image, image.line, misnamed(image.line.root).hint(image.name))
    return BadImage(image, why_bad(error))


def _not_there(image: ImageFile, line: Line, hint: str) -> BadImage:
    seen = f"; {hint}" if hint else ""
    if Path(image.name).is_absolute():
        return BadImage(image, f"is not there ({line}{seen})", "mend the table")
    remedy = "give --root PATH if names are relative to another folder"
    return BadImage(image, f"is not there ({line}, looked for relative to {line.root}{seen})", remedy)
