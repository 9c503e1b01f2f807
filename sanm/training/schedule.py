"""Optimizers and learning-rate schedules: what the published methods of the field train with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from sanm.network import Network

SHARE = "share"
"""The key of a group of parameters that says what part of the learning rate is theirs."""


def groups_of(network: Network, share: float) -> Iterable[Any]:
    """A network's parameters; in two groups where all but its classifier and heads learn at a ``share`` of the rate."""
    if share == 1:
        return network.parameters()
    backbone: list[nn.Parameter] = [each for module in network.own_modules() for each in module.parameters()]
    others: list[nn.Parameter] = [*network.classifier.parameters(), *network.heads.parameters()]
    return [{"params": others}, {"params": backbone, SHARE: share}]


def optimizer_for(parameters: Iterable[Any], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """SGD, or Adam whose first beta is the momentum, by the config's group ``trainer``; of ``groups_of`` a network."""
    rate, momentum, decay = settings["lr"], settings["momentum"], settings["weight_decay"]
    if settings["optimizer"] == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=(momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)


def set_epoch(optimizer: torch.optim.Optimizer, epoch: int, settings: Mapping[str, Any]) -> float:
    """Set learning rate and momentum of an epoch, counted from 0; returns the learning rate of the classifier."""
    rate, momentum = learning_rate(epoch, settings), momentum_of(epoch, settings)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(SHARE, 1.0)
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
    return rate


def learning_rate(epoch: int, settings: Mapping[str, Any]) -> float:
    """Learning rate of an epoch, counted from 0.

    ``steps``: multiplied by ``decay`` at each milestone. ``linear``: constant to the first milestone, then straight to
    zero behind the last epoch. ``cosine``: from ``lr`` towards ``lr_min``, starting again every ``restart_every``
    epochs (Loshchilov and Hutter, ICLR 2017). ``waves``: the same, but it rises again as it fell.
    """
    rate, milestones = float(settings["lr"]), settings["milestones"]
    if settings["schedule"] == "linear":
        begin, end = milestones[0], settings["epochs"]
        return rate * min(1.0, (end - epoch) / (end - begin))
    if settings["schedule"] in ("cosine", "waves"):
        lowest, period = float(settings["lr_min"]), settings["restart_every"]
        since = epoch if settings["schedule"] == "waves" else epoch % period
        return lowest + (rate - lowest) * (1 + math.cos(math.pi * since / period)) / 2
    passed = sum(epoch >= milestone for milestone in milestones)
    return rate * float(settings["decay"]) ** passed


def momentum_of(epoch: int, settings: Mapping[str, Any]) -> float:
    """Momentum (Adam: first beta) of an epoch: ``late_momentum``, where there is one, from the first milestone on."""
    late, milestones = settings.get("late_momentum"), settings["milestones"]
    return float(settings["momentum"] if late is None or not milestones or epoch < milestones[0] else late)
