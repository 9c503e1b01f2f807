"""An epoch: how far it has come, so that it can be left in the middle, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sanm.step import Draw


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training leaves for the record."""

    epoch: int
    loss: float
    labeled_fraction: float  # share of the training samples that kept their given label, mean over networks
    learning_rate: float
    images: int  # training images drawn, views not counted
    seconds: float
    measured: bool  # whether the clean probability was estimated anew
    drawn: Tensor | None  # positions of the samples that the epoch is of; None: all
    phase: int = 0


@dataclass
class EpochUnderway:
    """An epoch between its first step and its last: part of the checkpoint."""

    measured: bool
    seconds: float = 0.0  # spent by earlier processes
    images: int = 0  # drawn in the turns that are over
    turns_over: int = 0
    draws: list[Draw] | None = None  # of the present turn; None before it has begun
    losses: list[Tensor] = field(default_factory=list)  # of every step of the epoch
    steps: int = 0  # taken in the present turn

    def begin_turn(self, draws: Sequence[Draw]) -> None:
        self.draws, self.steps = list(draws), 0

    def end_turn(self) -> None:
        self.images += sum(len(draw.positions) for draw in self.draws or [])
        self.draws, self.turns_over = None, self.turns_over + 1

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        draws = None if self.draws is None else [(draw.positions, draw.num_labeled) for draw in self.draws]
        losses = torch.stack(self.losses) if self.losses else None
        return {**vars(self), "draws": draws, "losses": losses}

    @classmethod
    def load(cls, state: Mapping[str, Any], device: torch.device) -> EpochUnderway:
        """Go on from a ``state()``."""
        saved = state["draws"]
        draws = None if saved is None else [Draw(positions, num_labeled) for positions, num_labeled in saved]
        losses = [] if state["losses"] is None else list(state["losses"].to(device).unbind())
        return cls(**{**state, "draws": draws, "losses": losses})
