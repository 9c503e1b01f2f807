"""SCE (Wang et al.: Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019).

Cross-entropy, and the same with label and prediction exchanged, where the logarithm of 0 is a constant (Eq. 7).
"""

from __future__ import annotations

import math

from torch import Tensor

from sanm.methods import Method
from sanm.step import Batch, Forward, Step

LOG_OF_ZERO = math.log(1e-4)
"""As released; the paper's A = -4 is the logarithm to base 10."""


class SymmetricCrossEntropy(Method):
    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Reversed, cross-entropy is ``-A (1 - p_y)``; of a softened label the mean of its classes' losses."""
        log_probs = forward(batch.x).log_softmax(-1)
        forwards = -(batch.y * log_probs).sum(-1)
        reverse = -LOG_OF_ZERO * (1 - (batch.y * log_probs.exp()).sum(-1))
        return float(self.settings["alpha"]) * forwards + float(self.settings["beta"]) * reverse


METHOD = SymmetricCrossEntropy
