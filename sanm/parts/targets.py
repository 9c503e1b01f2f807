"""What a method last believed of every sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sanm.step import Task


class Targets(nn.Module):
    """Target distributions ``[N, K]``; a sample has its given label until another one is remembered."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.rows: Tensor
        self.register_buffer("rows", one_hot(task.given, task.num_classes))

    def remember(self, index: Tensor, targets: Tensor, keep: float = 0.0) -> None:
        """Take the targets ``[B, K]`` of the samples ``index [B]``, without gradient; ``keep`` is kept of the last."""
        taken = targets.detach().to(self.rows.dtype)
        self.rows[index] = torch.lerp(taken, self.rows[index], keep)

    def of(self, index: Tensor) -> Tensor:
        """The targets ``[B, K]`` of the samples ``index [B]``."""
        return self.rows[index]

    def of_labels(self, index: Tensor, labels: Tensor) -> Tensor:
        """The probability ``[B]`` that the targets of the samples ``index [B]`` give to ``labels [B]``."""
        return torch.gather(self.rows[index], 1, labels[:, None])[:, 0]


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels ``[...]`` as distributions ``[..., K]``. Unlike torch's own it does not wait for the device."""
    return (labels[..., None] == torch.arange(num_classes, device=labels.device)).float()
