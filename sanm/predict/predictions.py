"""From image files to a CSV file of predictions, a batch at a time."""

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor
from tqdm import tqdm

from sanm.errors import InputError
from sanm.files import write_atomically
from sanm.formats.spreadsheet import table_text
from sanm.predict.decoding import DecodedBatch, check_input, decoded_batches
from sanm.predict.image_list import ImageFile
from sanm.terminal import output
from sanm.trained_model import TrainedModel

FIXED = ("file", "predicted_label", "predicted_class", "confidence")
"""As in ``label_quality.csv`` and what ``analysis.labels`` writes: a label is a name, a class its number."""
SILENCE = 60
"""Seconds after which a long prediction says how far it is, where there is no bar."""


def predict(
    model: TrainedModel, images: Sequence[ImageFile], out: Path, batch_size: int, top: int | None, skip_bad: bool
) -> int:
    """Write ``out``, whole or not at all: a row an image, in their order. Returns how many were left out.

    ``top`` is how many classes a row names, the most probable first; None gives each class a column of its own. Images
    that cannot be decoded are named, a line each, and left out where they are to be skipped. Raises InputError for the
    first of them otherwise, for one that leaves none, and for an impossible ``top``.
    """
    check_input(model)
    header = columns(model.class_names, top)
    left_out = 0
    emptied: list[ImageFile] = []

    def write(handle: BinaryIO) -> None:
        nonlocal left_out
        handle.write(table_text([header]).encode())
        for batch in _shown(decoded_batches(images, model, batch_size), len(images)):
            _refuse_or_name(batch, skip_bad)
            left_out += len(batch.bad)
            emptied.extend(batch.emptied)
            if batch.images:
                found = rows(batch.images, model.probabilities(batch.pixels), model.class_names, top)
                handle.write(table_text(found).encode())
        if left_out == len(images):
            raise InputError(f"none of the {len(images)} images can be decoded: nothing is written")

    write_atomically(out, write)
    if emptied:
        warnings.warn(
            f"{len(emptied)} of {len(images)} images are of one color as the model sees them, as they are transparent "
            f"(the first: {emptied[0].path}): what is said of them says nothing",
            stacklevel=2,
        )
    return left_out


def columns(class_names: Sequence[str], top: int | None) -> list[str]:
    """What the columns are called: a class by its name, unless another column is called so.

    Raises InputError when ``top`` is not a number of classes that there are.
    """
    if top is None:
        return [*FIXED, *(_column(name, (*FIXED, *class_names)) for name in class_names)]
    if not 1 <= top <= len(class_names):
        raise InputError(f"--top {top}: must be a number of classes, 1 to {len(class_names)}")
    return [*FIXED, *(f"{kind}_{rank + 1}" for rank in range(top) for kind in ("class", "probability"))]


def _column(name: str, taken: Sequence[str]) -> str:
    if name not in FIXED:
        return name
    while name in taken:
        name += " (class)"
    return name


def rows(
    images: Sequence[ImageFile], probabilities: Tensor, class_names: Sequence[str], top: int | None
) -> Iterator[list[Any]]:
    """A row for each image, of its class probabilities ``[B, K]``."""
    ordered = probabilities.sort(dim=-1, descending=True, stable=True)
    for image, own, values, labels in zip(
        images, probabilities.tolist(), ordered.values.tolist(), ordered.indices.tolist(), strict=True
    ):
        if top is None:
            shown = [_number(value) for value in own]
        else:
            ranks = zip(labels[:top], values[:top], strict=True)
            shown = [text for label, value in ranks for text in (class_names[label], _number(value))]
        yield [image.name, class_names[labels[0]], labels[0], _number(values[0]), *shown]


def _number(probability: float) -> str:
    return f"{probability:.6f}"


def _refuse_or_name(batch: DecodedBatch, skip_bad: bool) -> None:
    for image, reason, remedy in batch.bad:
        if not skip_bad:
            raise InputError(f"{image.path} {reason}: {remedy}, or give --skip_bad to leave such out")
        output.complain(f"left out {image.path} {reason}")


def _shown(batches: Iterator[DecodedBatch], total: int) -> Iterator[DecodedBatch]:
    """The batches, with a bar on a terminal and elsewhere a line now and then."""
    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    spoke, done = time.monotonic(), 0
    with tqdm(total=total, unit="image", leave=False, dynamic_ncols=True, disable=not on_terminal) as bar:
        for batch in batches:
            yield batch
            done += len(batch.images) + len(batch.bad)
            bar.update(len(batch.images) + len(batch.bad))
            if not on_terminal and time.monotonic() - spoke > SILENCE:
                output.say(f"predict  {done} of {total} images")
                spoke = time.monotonic()
