"""Masks and views against the image-by-image code that they replace, on the same images and the same clock."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import yaml
from torch import Tensor

from sanm.bench.references import as_pil, mask_as_released, mask_one_by_one, pil_pipelines
from sanm.bench.subject import Stopwatch
from sanm.components import SANM, nlr
from sanm.config import CONF
from sanm.trainer import Trainer
from sanm.types import Look, Network, Step

ROUNDS = 5
VIEWED = 256
"""Images of a pool that are timed together."""

Compared = dict[str, Any]


def compare(trainer: Trainer, stopwatch: Stopwatch) -> list[Compared]:
    """Seconds an image of each batched piece and of its reference, and how many times as fast it is."""
    images = trainer.settings["batch_size"]
    found = [
        _row("masks and targets, loop over the images", *_masks(trainer, "paper"), images, stopwatch),
        _row("masks and targets of the released code, its loop", *_masks(trainer, "released"), images, stopwatch),
    ]
    size, padding = trainer.bank.size, trainer.bank.padding
    pipelines = pil_pipelines(size, padding, trainer.bank.mean.cpu(), trainer.bank.std.cpu())
    index = torch.arange(VIEWED, device=trainer.device) % len(trainer.given)
    pictures, batch = as_pil(trainer.bank.pixels(index).cpu()), trainer.bank.find(index)
    for pool, pipeline in pipelines.items():
        found.append(
            _row(
                f"{pool}, PIL image by image",
                lambda pool=pool: trainer.bank.views(pool, 1, batch, trainer.random),  # type: ignore[misc]
                lambda pipeline=pipeline: torch.stack([pipeline(each) for each in pictures]),  # type: ignore[misc]
                VIEWED,
                stopwatch,
            )
        )
    return found


def _row(
    name: str, batched: Callable[[], object], reference: Callable[[], object], images: int, stopwatch: Stopwatch
) -> Compared:
    batched(), reference()
    fast, slow = stopwatch.in_turn([batched, reference], ROUNDS)
    return {
        "name": name,
        "seconds_per_image": median(fast) / images,
        "reference_seconds_per_image": median(slow) / images,
        "times_as_fast": median(there / here for here, there in zip(fast, slow, strict=True)),
    }


def _masks(trainer: Trainer, variant: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Both from a look that has been taken already: the network's own time is not in them."""
    network = next(trainer._networks())
    look, clean, targets = looked_at(trainer, network)
    sanm = adaptive_masks(trainer, variant)
    step, bounded = Step(0, trainer.epochs_done, 0.0, trainer.random), variant == "paper"

    def batched() -> tuple[Tensor, Tensor]:
        masked = sanm.masks(look, network, clean, step)
        return masked.x, nlr.soften(targets.expand(len(masked.x), *targets.shape), masked.ratio, bounded)

    tau, aspect = float(trainer.config["tau"]["value"]), float(trainer.config["mask_strategy"]["aspect"])
    given = (look.x[0], look.maps(0)[0].float(), look.probs(0)[0], network.classifier.weight.detach(), clean, targets)
    images, maps, probs, weight, trust, believed = (each.cpu() for each in given)
    mean, std = (each.cpu()[:, None, None] for each in (trainer.bank.mean, trainer.bank.std))

    def reference() -> object:
        if variant == "released":
            return mask_as_released(images, maps, trust, believed)
        return mask_one_by_one(images, maps, probs, weight, trust, believed, mean, std, tau, aspect)

    return batched, reference


def adaptive_masks(trainer: Trainer, variant: str) -> SANM:
    """The plug-in with masks and softened targets as the option ``variant`` has them, whatever the config's own is."""
    config = dict(trainer.config)
    config["components"] = {"amg": True, "nlr": True, "smr": False, "start": 0}
    config["mask_strategy"] = {**config["mask_strategy"], "name": "adaptive"}
    config["mask_source"] = {"name": "self"}
    config["variant"] = yaml.safe_load((CONF / "variant" / f"{variant}.yaml").read_text())
    bank = trainer.bank
    example = bank.plain(torch.arange(2, device=trainer.device))
    return SANM(config, list(trainer._networks()), example, bank.mean, bank.std)


@torch.no_grad()
def looked_at(trainer: Trainer, network: Network) -> tuple[Look, Tensor, Tensor]:
    """A look at a batch of the bank, the clean probability of its samples, and targets ``[B, K]``."""
    index = torch.arange(trainer.settings["batch_size"], device=trainer.device)
    look = Look([network], trainer.bank.plain(index)[None], "eval")
    look.probs(0)
    targets = torch.nn.functional.one_hot(trainer.given[index], trainer.num_classes).float()
    return look, trainer.quality.for_network(0)[index], targets
