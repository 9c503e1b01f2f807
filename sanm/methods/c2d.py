"""C2D (Zheltonozhskii et al.: Contrast to Divide, WACV 2022): DivideMix that starts from a self-supervised encoder.

The encoder itself is the config group ``pretrain``. What else its code changes in DivideMix is here.
"""

from __future__ import annotations

from torch import Tensor, nn

from sanm.methods.dividemix import DivideMix
from sanm.network import Network
from sanm.step import Step

MARGIN = 1e-5


class ContrastToDivide(DivideMix):
    measures_each_turn = True

    def needs_clean_probability(self, epoch: int) -> bool:
        return epoch > 0

    def remembers_losses(self, epoch: int) -> bool:
        """From the second epoch on: the history holds losses of the warm-up too."""
        return epoch > 0

    def threshold(self, clean: Tensor) -> Tensor | float:
        """Moved inside the range of the clean probability, so that there is something on either side of it."""
        if not clean.max() - clean.min() > 2 * MARGIN:
            return super().threshold(clean)
        return (clean.min() + MARGIN).clamp(min=self.settings["threshold"]).minimum(clean.max() - MARGIN)

    def learns_from_unlabeled(self) -> bool:
        """Not without a weight for them."""
        return bool(self.settings["lambda_u"])

    def after_backward(self, network: Network, step: Step) -> None:
        if self.warming_up(step.epoch):
            nn.utils.clip_grad_norm_(network.own_parameters(), self.settings["clip_norm"])


METHOD = ContrastToDivide
