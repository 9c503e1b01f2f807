"""What a finished run keeps for figures that need images: a few training images as SANM sees them, and the losses.

``samples.npz`` is read by ``analysis.records.samples``, which says what each array is. Nothing learns from it and
nothing moves: masks are drawn by a generator of their own, and the method that is asked what it believes is a copy.
"""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot

from sanm.data import Data
from sanm.machine.precision import autocast
from sanm.network import Network
from sanm.parts.mixture import Estimate
from sanm.plugins.sanm import SANM
from sanm.plugins.sanm.amg import Masked, activation_map
from sanm.step import Batch, Look, Predictions, Random, Step
from sanm.training.trainer import Trainer

EACH = 12
"""Examples of the lowest clean probability, and as many of the highest."""
BETWEEN = 8
LARGEST_SIDE = 64
"""Pixels of an image that is kept as it is; a larger one is kept smaller by a whole factor."""
MOST_LOSSES = 20_000
SEED = 40_000  # plus the run's: the masks of the examples

Arrays = dict[str, Any]  # of numpy


def packed(trainer: Trainer, data: Data, predicted: Predictions) -> bytes:
    """The content of ``samples.npz``, after the last measurement, with what is predicted of all training samples.
    The same run gives the same bytes.
    """
    file = io.BytesIO()  # the disk is somebody else's: numpy's writer does not say that it is full
    np.savez_compressed(file, **_examples(trainer, data, predicted.classes), **_losses(trainer, data))
    return file.getvalue()


def chosen(clean: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the examples, by rising clean probability ``[N]``, the first of equals first.

    EACH from either end, and those closest to BETWEEN evenly spaced probabilities; all where there are no more.
    """
    order = np.argsort(clean, kind="stable")
    if len(order) <= 2 * EACH + BETWEEN:
        return order
    between, rest = [], order[EACH:-EACH]
    for wanted in np.linspace(0, 1, BETWEEN + 2)[1:-1]:
        closest = int(np.abs(clean[rest] - wanted).argmin())
        between.append(rest[closest])
        rest = np.delete(rest, closest)
    middle = np.sort(between)
    return np.concatenate([order[:EACH], middle[np.argsort(clean[middle], kind="stable")], order[-EACH:]])


def _examples(trainer: Trainer, data: Data, predicted: Tensor) -> Arrays:
    train, clean = data.train, trainer.quality.probability.mean(0)
    positions = torch.from_numpy(chosen(clean.cpu().numpy()))
    pixels = train.images[positions]
    shrink = -(-max(pixels.shape[2:]) // LARGEST_SIDE)
    arrays: Arrays = {
        "class_names": np.array(train.class_names, dtype=np.str_),
        "size": np.array(pixels.shape[2:], dtype=np.int32),
        "shrink": np.array(shrink, dtype=np.int32),
        "index": train.index[positions].numpy(),
        "key": np.array([train.keys[position] for position in positions.tolist()], dtype=np.str_),
        "image": _smaller(pixels, shrink).numpy(),
        "given": train.given_labels[positions].numpy(),
        "predicted": predicted.cpu()[positions].numpy(),
        "clean_probability": clean.cpu()[positions].numpy(),
        "loss": torch.stack([each.losses for each in _estimates(trainer)]).mean(0).cpu()[positions].numpy(),
        **_seen(trainer, positions.to(trainer.device), clean, shrink, pixels.shape[2:]),
    }
    if data.true_labels is not None and _complete(data, data.true_labels):
        arrays["true"] = data.true_labels[positions].numpy()
    return arrays


@torch.no_grad()
def _seen(trainer: Trainer, positions: Tensor, clean: Tensor, shrink: int, size: torch.Size) -> Arrays:
    """What the first network, in eval mode and without augmentation, sees in the samples ``positions [n]`` and would
    learn of them, given the clean probability ``clean [N]``. Features of a frozen backbone have no map: what is active
    in their images of height and width ``size`` is the same everywhere.
    """
    networks = [network for network in trainer.networks.eval() if isinstance(network, Network)]
    random = Random(int(trainer.config["seed"]) + SEED, trainer.device)
    phase, epochs = trainer.phase, trainer.settings["epochs"]
    where = (phase.number, phase.begin, epochs, None, phase.end)
    step = Step(0, trainer.epochs_done - 1, float(trainer.epochs_done), random, *where)
    with autocast(trainer.device, trainer.settings["precision"]):
        batch, look, order = _believed(trainer, networks, positions, clean, step)
        masking = next((each for each in trainer.plugins if isinstance(each, SANM)), None)
        featured = size if trainer.config["model"].get("frozen") else None
        views = masking.masked_views(batch, look, step) if masking else None
        activation = views[0].activation if views else activation_map(look, networks[0], 0, "class", featured)
    rows = {"belief": batch.y[0], **_scaled(activation, shrink)}
    if views:
        masked, targets = views
        small = _smaller(trainer.bank.pixels(batch.index), shrink)
        rows["target"] = targets.transpose(0, 1)
        rows |= _of_masks(masked, trainer.bank.as_pixels(masked.x), small, shrink)
    back = order.argsort()
    found: Arrays = {name: values[back].cpu().numpy() for name, values in rows.items()}
    if masking:
        found["masks_trained"] = np.array(masking.active(step.epoch))
    return found


def _believed(
    trainer: Trainer, networks: list[Network], positions: Tensor, clean: Tensor, step: Step
) -> tuple[Batch, Look, Tensor]:
    """The samples as a step's batch with the method's belief, the look at them, and which place each row has in
    ``positions [n]``.
    """
    method = deepcopy(trainer.method)  # one that remembers what it was asked
    keeps = method.keeps_label(clean, step.epoch)[positions]
    order = keeps.to(torch.uint8).argsort(descending=True, stable=True)  # methods want the labeled rows first
    index = positions[order]
    look = Look(networks, trainer.bank.plain(index)[None], "eval")
    y = one_hot(trainer.given[index], trainer.num_classes).float()
    labeled = int(keeps.sum())
    batch = Batch(index, look.x, y[None], clean[index], keeps[order], labeled, trainer.given[index], own=1)
    return batch.believing(method.believe(batch, look, step)), look, order


def _scaled(activation: Tensor, shrink: int) -> dict[str, Tensor]:
    """Maps ``[n, H, W]``, each scaled to [0, 1], and what its 0 and its 1 stand for."""
    least, most = activation.float().flatten(1).aminmax(dim=1)
    span = (most - least).clamp(min=torch.finfo(torch.float32).tiny)
    scaled = (activation - least[:, None, None]) / span[:, None, None]
    return {"activation": scaled[:, ::shrink, ::shrink].half(), "activation_range": torch.stack([least, most], 1)}


def _of_masks(masked: Masked, views: Tensor, images: Tensor, shrink: int) -> dict[str, Tensor]:
    painted = masked.boxes if len(masked.x) > 1 else masked.boxes.any(0, keepdim=True)
    inside = painted[:, :, None, ::shrink, ::shrink]
    return {
        "masked": torch.where(inside, views[..., ::shrink, ::shrink], images).transpose(0, 1),
        "boxes": _corners(masked.boxes).transpose(0, 1),
        "nominal_ratio": masked.nominal.T,
        "share": painted.flatten(2).float().mean(2).T,
    }


def _corners(boxes: Tensor) -> Tensor:
    """Top, left, height and width ``[..., 4]`` in pixels of full rectangles ``[..., H, W]``."""
    rows, columns = boxes.any(-1), boxes.any(-2)
    top, left = (each.to(torch.uint8).argmax(-1) for each in (rows, columns))
    return torch.stack([top, left, rows.sum(-1), columns.sum(-1)], -1).to(torch.int32)


def _smaller(pixels: Tensor, shrink: int) -> Tensor:
    """Images uint8 ``[n, C, H, W]`` with the mean of each ``shrink`` x ``shrink`` pixels in their place."""
    if shrink == 1:
        return pixels
    return avg_pool2d(pixels.float(), shrink, ceil_mode=True).round().to(torch.uint8)


def _losses(trainer: Trainer, data: Data) -> Arrays:
    """The losses as each network's mixture saw them, of evenly spaced samples, and the mixtures."""
    count = len(data.train.given_labels)
    some = slice(None, None, -(-count // MOST_LOSSES))
    estimates = _estimates(trainer)
    unknown = ((np.nan, np.nan),) * 3
    arrays: Arrays = {
        "normalised_losses": np.stack([each.normalised[some].half().cpu().numpy() for each in estimates]),
        "clean_probabilities": trainer.quality.probability[:, some].half().cpu().numpy(),
        "loss_range": np.stack([[float(each.losses.min()), float(each.losses.max())] for each in estimates]),
        "mixture": np.array([each.mixture or unknown for each in estimates], dtype=np.float64),
    }
    if data.true_labels is not None and _complete(data, data.true_labels):
        arrays["is_wrong"] = (data.true_labels != data.train.given_labels)[some].numpy()
    return arrays


def _complete(data: Data, truth: Tensor) -> bool:
    """Whether the true class of every sample is known, and one of those that are given."""
    return bool(((truth >= 0) & (truth < data.train.num_classes)).all())


def _estimates(trainer: Trainer) -> list[Estimate]:
    return [estimate for estimate in trainer.quality.estimates if estimate is not None]
