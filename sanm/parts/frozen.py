"""Parts of a network that do not learn for a while."""

from __future__ import annotations

from sanm.network import Network


def freeze_encoder(network: Network) -> None:
    """Leave a gradient to the classifier and the heads alone, whatever asked the encoder for one."""
    learning = {id(parameter) for parameter in (*network.classifier.parameters(), *network.heads.parameters())}
    for parameter in network.parameters():
        if id(parameter) not in learning:
            parameter.grad = None


def freeze_classifier(network: Network) -> None:
    """Leave no gradient to the classifier."""
    for parameter in network.classifier.parameters():
        parameter.grad = None
