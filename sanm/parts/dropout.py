"""Dropout whose draws are a run's own: the same however often it is interrupted, and in however many processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sanm.machine.several.passes import part_of

LARGEST_SEED = 2**63 - 1


class ChannelDropout(nn.Module):
    """Dropout of whole channels of ``[B, C, ...]``, in training alone, by a generator that is in the state dict.

    The generator's seed comes from torch's generator at the time of construction, as initial weights do.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self._seed = int(torch.randint(LARGEST_SEED, (), device="cpu"))
        self._generator: torch.Generator | None = None
        self._loaded: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        rows, whole = part_of(len(x))
        shape = (whole, x.shape[1], *[1] * (x.dim() - 2))
        kept = torch.rand(shape, generator=self._generator_on(x.device), device=x.device)[rows]
        return x * ((kept >= self.probability) / (1 - self.probability)).to(x.dtype)

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self._seed)
            if self._loaded is not None:
                self._generator.set_state(self._loaded)
        return self._generator

    def get_extra_state(self) -> Tensor | None:
        return self._loaded if self._generator is None else self._generator.get_state()

    def set_extra_state(self, state: Tensor | None) -> None:
        self._generator, self._loaded = None, None if state is None else state.cpu()
