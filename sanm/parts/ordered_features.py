"""Nested dropout (Rippel et al., ICML 2014): features of falling importance, of which the first ones are kept."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor, nn

from sanm.network import Network, OrderedClassifier
from sanm.step import Random

DEARER = 1e-5
"""Accuracy that one more feature has to be worth."""


def order_features(network: Network) -> OrderedClassifier:
    """Give a network a classifier of the same weights that can read the first features alone; returns it."""
    plain = network.classifier
    ordered = OrderedClassifier(plain.in_features, plain.out_features)
    ordered.load_state_dict(plain.state_dict())
    network.classifier = ordered
    return ordered


def with_plain_classifier(network: Network) -> Network:
    """The same network, which shares all but its classifier: a plain one of the weights in use."""
    ordered = network.classifier
    with torch.no_grad():
        plain = nn.utils.skip_init(nn.Linear, ordered.in_features, ordered.out_features, device=ordered.weight.device)
        plain.weight.copy_(network.class_weights())
        plain.bias.copy_(ordered.bias)
    shared = copy(network)
    shared._modules = {**network._modules, "classifier": plain}
    return shared


def draw_kept(features: int, eta: float, random: Random) -> int:
    """How many of the ``features`` a step keeps: k with a probability that falls as ``exp(-(k / eta) ** 2)``."""
    weights = np.exp(-((np.arange(1, features + 1) / eta) ** 2))
    return 1 + int(random.host.choice(features, p=weights / weights.sum()))


@torch.no_grad()
def best_kept(features: Sequence[Tensor], classifiers: Sequence[nn.Linear], given: Tensor) -> tuple[int, float]:
    """The number of features with which networks predict most of the labels ``given [n]``, and the share of them.

    ``features [n, D]`` are those of each network, whose logits are summed. Of equals the smaller number is taken.
    """
    logits = torch.stack([classifier.bias for classifier in classifiers]).sum(0)
    right = []
    for place in range(features[0].shape[1]):
        for own, classifier in zip(features, classifiers, strict=True):
            logits = logits + own[:, place : place + 1] * classifier.weight[:, place]
        right.append((logits.argmax(1) == given).double().mean())
    accuracy = torch.stack(right)
    best = int((accuracy - DEARER * torch.arange(len(accuracy), device=accuracy.device)).argmax())
    return best + 1, float(accuracy[best])
