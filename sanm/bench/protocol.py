"""How long a whole run would take: the config's epochs on 50,000 images, with evaluation and scans of the losses."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from sanm.bench.subject import Config, Stopwatch, Subject, clean_share, learning_epoch
from sanm.methods import method_class
from sanm.quality import clean_probability
from sanm.types import Random, Step

TRAINING, TEST = 50_000, 10_000
"""Images of CIFAR."""
SCANS = 3

Projection = dict[str, Any]


def projected(config: Config, subject: Subject, step: float, warm_up_step: float, stopwatch: Stopwatch) -> Projection:
    """Hours of the config's protocol, from the seconds of a step in the warm-up and after it."""
    scan, evaluation, mixture = _scans(subject, stopwatch)
    epochs, warm_up = int(config["trainer"]["epochs"]), min(learning_epoch(config), int(config["trainer"]["epochs"]))
    networks, trainer = len(subject.trainer.networks), subject.trainer
    measured = sum(trainer._measuring_is_due(epoch) for epoch in range(epochs))
    before, after = steps_of_epoch(config, 0), steps_of_epoch(config, learning_epoch(config))
    seconds = {
        "steps": warm_up * before * warm_up_step + (epochs - warm_up) * after * step,
        "scans": (measured + 1) * networks * (TRAINING * scan + mixture),
        "evaluation": epochs * TEST * evaluation,
    }
    return {
        "epochs": epochs,
        "images": TRAINING,
        "networks": networks,
        "steps_per_epoch_in_warm_up": before,
        "steps_per_epoch": after,
        "labels_kept": clean_share(config),
        "hours": sum(seconds.values()) / 3600,
        "hours_of": {part: value / 3600 for part, value in seconds.items()},
    }


def steps_of_epoch(config: Config, epoch: int) -> int:
    """Steps of all networks in an epoch of 50,000 images, as the method itself divides them."""
    settings, classes = config["base_method"], 10
    method = method_class(settings["name"])(settings, TRAINING, classes, int(config["trainer"]["batch_size"]))
    clean = (torch.linspace(0, 1, TRAINING) < clean_share(config)).float()
    random = Random(0, torch.device("cpu"))
    return sum(len(method.batches(clean, Step(turn[0], epoch, float(epoch), random))) for turn in method.turns)


def _scans(subject: Subject, stopwatch: Stopwatch) -> tuple[float, float, float]:
    """Seconds an image of a scan of the losses and of an evaluation; seconds of the mixture of all images."""
    trainer = subject.trainer
    count = len(trainer.given)
    images = trainer.bank.pixels(torch.arange(count, device=trainer.device)).cpu()
    network = next(trainer._networks()).eval()
    losses = torch.rand(TRAINING, generator=torch.Generator().manual_seed(0)).square().to(trainer.device)

    def scan() -> None:
        for part in trainer._scanned():
            trainer._losses_of(network, trainer.bank.plain(part), part)

    functions = [
        scan,
        lambda: trainer.predict(images),
        lambda: clean_probability(losses, trainer.quality.seed, trainer.quality.iterations),
    ]
    for function in functions[:2]:
        function()
    taken = [[stopwatch.seconds(function, repeats=1) for _ in range(SCANS)] for function in functions]
    scanned, evaluated, fitted = map(median, taken)
    return scanned / count, evaluated / count, fitted
