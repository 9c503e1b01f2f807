"""Of which samples the two networks of a step say different classes."""

from __future__ import annotations

from torch import Tensor

from sanm.step import Batch


class Disagreement:
    """What the networks of a turn say of their batch, from their losses to the share of the same step; no state."""

    def __init__(self) -> None:
        self._said: list[Tensor] = []

    def hear(self, network: int, batch: Batch, logits: Tensor) -> None:
        """Take the classes that a network says of the method's own views, of its ``logits [V, B, K]`` for all."""
        self._said = [*self._said[:network], batch.seen_of_own(logits.softmax(-1)).argmax(-1)]

    def where(self) -> Tensor:
        """``[B]`` bool, once both were heard."""
        first, second = self._said
        return first != second
