"""ALASCA (Ko et al., AAAI 2023) as a plug-in: auxiliary classifiers that learn with adaptively smoothed labels.

A classifier after each stage but the last learns the given labels, smoothed the more the less the network has believed
them; its gradient makes the stages smoother. The method's own loss stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.config.phases import in_epochs
from sanm.network import Maps, Network, StageHead
from sanm.plugins import Plugin
from sanm.step import Batch, Forward, Look, Step, Task

NAME = "auxiliary{}"
"""What the classifier after a stage, counted from 1, is called."""


class ALASCA(Plugin):
    """Of the config its ``plugin`` is read. There is one memory of logits a network."""

    reads_levels = True

    def __init__(self, config: Mapping[str, Any], task: Task, mean: Tensor, std: Tensor) -> None:
        super().__init__(config, task, mean, std)
        self.settings: Mapping[str, Any] = config["plugin"]
        self.logits: Tensor
        self.register_buffer("logits", torch.zeros(task.networks, len(task.given), task.num_classes))

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            levels = levels_of(network, example)
            for stage in range(len(levels) - 1):
                network.heads[NAME.format(stage + 1)] = AuxiliaryClassifier(network, stage, levels)
            network.predicting = _predicting(self.settings, levels)

    @classmethod
    def hang_predicting(cls, network: Network, settings: Mapping[str, Any], example: Tensor) -> None:
        levels = levels_of(network, example)
        network.predicting = _predicting(settings, levels)
        for name in network.predicting:
            network.heads[name] = AuxiliaryClassifier(network, len(levels) - 2, levels)

    def extra(self, forward: Forward, batch: Batch, look: Look, step: Step) -> Tensor:
        """The weighted cross-entropy of all auxiliary classifiers with the smoothed given labels.

        Of the method's first view before it mixes or masks anything; of the look's, where masked views stand in the
        place of the method's.
        """
        levels = forward.levels_of_first(batch.x if batch.own else look.x)
        logits = forward.network.head(levels[-1]).detach().float()
        targets = smoothed(batch.given, self._kept_of_labels(batch, logits, step), logits.shape[-1])
        heads = [forward.network.heads[NAME.format(stage + 1)] for stage in range(len(levels) - 1)]
        losses = [
            -(targets * head(maps).float().log_softmax(-1)).sum(-1).mean()
            for head, maps in zip(heads, levels[:-1], strict=True)
        ]
        weight: float = self.settings["weight"]
        return weight * torch.stack(losses).sum()

    def _kept_of_labels(self, batch: Batch, logits: Tensor, step: Step) -> Tensor:
        """How much of each given label is kept ``[B]``: all at first, later what the memory gives it as probability."""
        memory, keep = self.logits[step.network], self.settings["average"]
        averaged = keep * memory[batch.index] + (1 - keep) * logits
        memory[batch.index] = averaged
        believed = (averaged / self.settings["temperature"]).softmax(-1).gather(-1, batch.given[:, None])[:, 0]
        ramp_up = in_epochs(self.settings["ramp_up"], step.epochs)
        grown = min(1.0, step.epoch / ramp_up) if ramp_up else 1.0
        return grown * believed + 1 - grown


class AuxiliaryClassifier(StageHead):
    """Three convolutions, the second of which shrinks the maps to the size of the last stage's, and a classifier."""

    def __init__(self, network: Network, stage: int, levels: Maps) -> None:
        """``levels`` are the maps of all stages of some images."""
        super().__init__()
        self.stage = stage
        channels, out = levels[stage].shape[1], levels[-1].shape[1]
        middle = max(1, out // 4)
        shrink = [max(1, own // last) for own, last in zip(levels[stage].shape[2:], levels[-1].shape[2:], strict=True)]
        self.layers = nn.Sequential(
            *([] if network.activated else [nn.BatchNorm2d(channels), nn.ReLU()]),
            *activated(nn.Conv2d(channels, middle, 1, bias=False)),
            *activated(nn.Conv2d(middle, middle, (shrink[0], shrink[1]), (shrink[0], shrink[1]), bias=False)),
            *activated(nn.Conv2d(middle, out, 1, bias=False)),
        )
        self.classifier = nn.Linear(out, network.classifier.out_features)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits ``[B, K]`` of the maps ``[B, D, h, w]`` of the stage."""
        logits: Tensor = self.classifier(self.layers(maps).mean((2, 3)))
        return logits


def activated(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()


def smoothed(given: Tensor, kept: Tensor, num_classes: int) -> Tensor:
    """Targets ``[B, K]``: ``kept [B]`` on the labels ``given [B]``, the rest in equal parts on all other classes."""
    on, off = kept[:, None], (1 - kept[:, None]) / (num_classes - 1)
    return torch.where(given[:, None] == torch.arange(num_classes, device=given.device), on, off)


@torch.no_grad()
def levels_of(network: Network, example: Tensor) -> Maps:
    """The maps of all stages of a few images; the network stays as it is."""
    learning = network.training
    levels = network.eval().levels(example)
    network.train(learning)
    return levels


def _predicting(settings: Mapping[str, Any], levels: Maps) -> tuple[str, ...]:
    return (NAME.format(len(levels) - 1),) if settings["prediction"] == "mean" else ()


PLUGIN = ALASCA
