"""AugDesc (Nishi, Ding, Rich, Höllerer: Augmentation Strategies for Learning with Noisy Labels, CVPR 2021).

DivideMix that asks for opinions on weakly augmented images, and takes gradients on strongly augmented ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sanm.methods.dividemix import DivideMix
from sanm.survey import Survey


class AugDesc(DivideMix):
    def learns_from(self, epoch: int) -> Sequence[str]:
        """The warm-up has a pool of its own: weak is the paper's WAW, strong its SAW."""
        return [str(self.settings["warm_up_from"])] if self.warming_up(epoch) else super().learns_from(epoch)

    def looks_apart(self, epoch: int) -> bool:
        """Four views of an image, two of them to guess on; else two for both, which the paper calls Runtime."""
        return bool(self.settings["guess_apart"])

    def measured(self, survey: Survey, k: int) -> Tensor:
        pool = str(self.settings["measure_on"])
        return super().measured(survey if pool == "none" else survey.on(pool), k)

    def warm_up_batch(self) -> int:
        return int(self.settings["warm_up_batches"]) * self.batch_size


METHOD = AugDesc
