"""Epsilon-softmax (Wang et al.: Approximating One-Hot Vectors for Mitigating Label Noise, NeurIPS 2024).

The likeliest class of a prediction is raised before cross-entropy is taken, so that a sample stops teaching once it is
fitted; the mean absolute error is added.
"""

from __future__ import annotations

from torch import Tensor, nn

from sanm.methods import Method
from sanm.network import Network
from sanm.parts.targets import one_hot
from sanm.step import Batch, Forward, Step
from sanm.survey import Survey

SMALLEST = 1e-8


class EpsilonSoftmax(Method):
    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """The probability of the given label."""
        return survey.probs(k).gather(1, survey.given[:, None])[:, 0]

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """``alpha (-log p'_y) + 2 beta (1 - p_y)``; of a softened label the mean of its classes' losses."""
        probs = forward(batch.x).softmax(-1)
        raised = near_one_hot(probs, float(self.settings["raised_by"]))
        fitted = -(batch.y * raised.clamp(min=SMALLEST).log()).sum(-1)
        absolute = 2 * (1 - (batch.y * probs).sum(-1))
        return float(self.settings["alpha"]) * fitted + float(self.settings["beta"]) * absolute

    def after_backward(self, network: Network, step: Step) -> None:
        nn.utils.clip_grad_norm_(network.parameters(), float(self.settings["clip_norm"]))


def near_one_hot(probs: Tensor, raised_by: float) -> Tensor:
    """Probabilities ``[..., K]`` with the likeliest raised, ``(p + m e) / (m + 1)``: of distance
    ``sqrt(1 - 1 / K) / (m + 1)`` at most to its one-hot vector ``e``, through which no gradient goes.
    """
    likeliest = one_hot(probs.argmax(-1), probs.shape[-1]).to(probs.dtype)
    return (probs + raised_by * likeliest) / (raised_by + 1)


METHOD = EpsilonSoftmax
