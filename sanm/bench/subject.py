"""What is measured: a trainer on synthetic images, in the middle of its training, taking full steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sanm.bench.settings import Settings
from sanm.data import TrainingSet
from sanm.trainer import Trainer
from sanm.types import Draw, Step

DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)
CLASSES = {"cifar100": 100}
ENOUGH_BATCHES = 8
TRUSTED, DOUBTED = 0.95, 0.05

Config = Mapping[str, Any]


def synthetic(config: Config, count: int) -> TrainingSet:
    """``count`` smooth random images in the shape that the config's data have, with random labels."""
    generator = torch.Generator().manual_seed(0)
    channels, height, width = shape_of(config)
    classes = CLASSES.get(config["data"]["name"], 10)
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


def shape_of(config: Config) -> tuple[int, int, int]:
    """Channels, height and width of the config's images."""
    data = config["data"]
    if data["name"] == "digits":
        return DIGITS
    return (3, data["image_size"], data["image_size"]) if "image_size" in data else CIFAR


def clean_share(config: Config) -> float:
    """Share of labels that count as right: what the config's noise would leave, were it found without error."""
    return 1 - float(config["noise"].get("rate") or 0.0)


def learning_epoch(config: Config) -> int:
    """The first epoch in which the method divides and SANM masks."""
    begins = [int(config["base_method"]["warm_up"])]
    if config["components"]["amg"]:
        begins.append(int(config["components"]["start"]))
    return max(begins)


class Subject:
    """A trainer and its steps, one after another: each turn of the method in its turn, full batches alone."""

    def __init__(self, config: Config, data: TrainingSet, device: torch.device, epoch: int) -> None:
        self.trainer = Trainer(config, data, device)
        self.epoch = epoch
        probability = self.trainer.quality.probability
        rank = torch.linspace(0, 1, probability.shape[1], device=device).expand_as(probability)
        probability.copy_(torch.where(rank < clean_share(config), TRUSTED, DOUBTED))
        drawn = self._drawn()
        self.samples = len(drawn[0][1].positions)  # in a step
        self._draws = self._again_and_again(drawn)

    def step(self) -> Tensor:
        """One step, as the trainer takes it."""
        turn, draw = next(self._draws)
        for k, network in enumerate(self.trainer.networks):
            network.train(k in turn)
        return self.trainer._train_step(turn, draw, self.epoch, self.epoch + 0.5)

    def _again_and_again(self, drawn: list[tuple[tuple[int, ...], Draw]]) -> Iterator[tuple[tuple[int, ...], Draw]]:
        """An epoch's draws: drawing them is no part of a step."""
        while True:
            self.trainer.bank.announce([draw.positions for _, draw in drawn])
            yield from drawn

    def whole_turn(self) -> int:
        """Steps until every network has learned once: turns of the method."""
        return len(self.trainer.method.turns)

    def _drawn(self) -> list[tuple[tuple[int, ...], Draw]]:
        trainer, found = self.trainer, []
        for turn in trainer.method.turns:
            begin = Step(turn[0], self.epoch, float(self.epoch), trainer.random)
            draws = trainer.method.batches(trainer.quality.for_network(turn[0]), begin)
            full = max(len(draw.positions) for draw in draws)
            found.append([(turn, draw) for draw in draws if len(draw.positions) == full])
        return [each for together in zip(*found, strict=False) for each in together]


class Stopwatch:
    """Time on the clock of the settings; a GPU is waited for at both ends, so that its work is in it."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self.now = time.process_time if settings.clock == "cpu" and not self._cuda else time.perf_counter
        self.repeats = 10 if self._cuda else 1  # a GPU's steps overlap with the host: many in a row are one measurement

    def wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._device)

    def seconds(self, function: Callable[[], object], repeats: int | None = None) -> float:
        """Seconds of one call."""
        count = repeats or self.repeats
        self.wait()
        began = self.now()
        for _ in range(count):
            function()
        self.wait()
        return (self.now() - began) / count

    def in_turn(self, functions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
        """Seconds of each function in each round, one after another, so that what disturbs one disturbs all."""
        taken = [[self.seconds(function) for function in functions] for _ in range(rounds)]
        return [list(column) for column in zip(*taken, strict=True)]
