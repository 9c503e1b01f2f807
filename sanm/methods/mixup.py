"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: Beyond Empirical Risk Minimization, ICLR 2018), Eq. 1 and 2.

The loss of a mixed image is mixed as its label is: cross-entropy is linear in the label, so against the mixed label.
"""

from __future__ import annotations

from torch import Tensor

from sanm.methods import Method
from sanm.parts.mixup import mixup
from sanm.step import Batch, Forward, Step


class Mixup(Method):
    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Either image of a pair may prevail, unlike in MixMatch."""
        mixed = mixup(batch, self.settings["alpha"], step.random, first_prevails=False)
        return super().losses(forward, mixed, step)


METHOD = Mixup
