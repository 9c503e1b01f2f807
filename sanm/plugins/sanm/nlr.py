"""Noisy label regularisation: SANM Eq. 7. A masked view is believed less, by as much as is masked."""

from __future__ import annotations

import torch
from torch import Tensor


def soften(targets: Tensor, ratio: Tensor, bounded: bool) -> Tensor:
    """Move ``ratio [M, B]`` of belief from the top class of ``targets [M, B, K]`` to the others in equal parts.

    Sums are kept. ``bounded`` moves no more than the top class has, so that nothing becomes negative; the released
    code does not bound it.
    """
    top_value, top = targets.max(-1, keepdim=True)
    moved = ratio[..., None]
    if bounded:
        moved = moved.minimum(top_value)
    gain = moved / (targets.shape[-1] - 1)
    return torch.scatter(targets + gain, -1, top, top_value - moved)
