"""What is measured: a trainer on synthetic images, in the middle of its training, taking full steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sanm.data import TrainingSet
from sanm.step import Draw
from sanm.training.trainer import Trainer

DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)
CLASSES = {"cifar100": 100}
TRUSTED, DOUBTED = 0.95, 0.05

Config = Mapping[str, Any]
Turn = tuple[int, ...]


def synthetic(config: Config, count: int) -> TrainingSet:
    """``count`` smooth random images in the shape that the config's data have, with random labels."""
    data, generator = config["data"], torch.Generator().manual_seed(0)
    channels, height, width = DIGITS if data["name"] == "digits" else CIFAR
    height, width = data.get("image_size", height), data.get("image_size", width)
    classes = CLASSES.get(data["name"], 10)
    coarse = torch.rand(count, channels, max(2, height // 4), max(2, width // 4), generator=generator)
    return TrainingSet(
        images=(interpolate(coarse, (height, width), mode="bilinear") * 255).to(torch.uint8),
        given_labels=torch.randint(classes, (count,), generator=generator),
        index=torch.arange(count),
        keys=tuple(map(str, range(count))),
        num_classes=classes,
        class_names=tuple(map(str, range(classes))),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )


def learning_epoch(config: Config) -> int:
    """The first epoch in which the method divides and SANM masks."""
    components, warm_up = config["components"], int(config["base_method"]["warm_up"])
    return max(warm_up, int(components["start"])) if components["amg"] else warm_up


class Subject:
    """A trainer and its steps, one after another: each turn of the method in its turn, full batches alone.

    As many labels are trusted as the config's noise would leave right.
    """

    def __init__(self, config: Config, data: TrainingSet, device: torch.device, epoch: int) -> None:
        self.trainer = Trainer(config, data, device)
        self.epoch = epoch
        probability = self.trainer.quality.probability
        rank = torch.linspace(0, 1, probability.shape[1], device=device).expand_as(probability)
        right = 1 - float(config["noise"].get("rate") or 0.0)
        probability.copy_(torch.where(rank < right, TRUSTED, DOUBTED))
        self.turns = len(self.trainer.method.turns)
        drawn = self._drawn()
        self.samples = len(drawn[0][1].positions)  # in a step
        self._draws = self._again_and_again(drawn)

    def step(self) -> Tensor:
        """One step, as the trainer takes it."""
        turn, draw = next(self._draws)
        for k, network in enumerate(self.trainer.networks):
            network.train(k in turn)
        return self.trainer._train_step(turn, draw, self.epoch, self.epoch + 0.5)

    def whole_turns(self, count: int) -> None:
        """So many times as many steps as it takes until every network has learned once."""
        for _ in range(count * self.turns):
            self.step()

    def _again_and_again(self, drawn: list[tuple[Turn, Draw]]) -> Iterator[tuple[Turn, Draw]]:
        """An epoch's draws: drawing them is no part of a step."""
        while True:
            self.trainer.bank.announce([draw.positions for _, draw in drawn])
            yield from drawn

    def _drawn(self) -> list[tuple[Turn, Draw]]:
        trainer, found = self.trainer, []
        for turn in trainer.method.turns:
            begin = trainer._step(turn[0], self.epoch, float(self.epoch))
            draws = trainer.method.batches(trainer.quality.for_network(turn[0]), begin)
            full = max(len(draw.positions) for draw in draws)
            found.append([(turn, draw) for draw in draws if len(draw.positions) == full])
        return [each for together in zip(*found, strict=False) for each in together]
