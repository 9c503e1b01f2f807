"""ProMix (Xiao et al.: ProMix, Combating Label Noise via Maximizing Clean Sample Utility, IJCAI 2023).

Two networks learn from as many labels as they can trust: those of small loss, as many of each class, those that are
predicted for sure, later also what both agree on. A second head learns the same and guesses of the rest. Logits are
freed from what a network says of all samples on average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sanm.config.phases import epochs_of
from sanm.methods import Method, soft_cross_entropy
from sanm.methods.dividemix import negative_entropy, sharpen
from sanm.network import Network
from sanm.parts.balanced import BestOfEachClass
from sanm.parts.batches import shuffled, whole_batches
from sanm.parts.fmix import low_frequency_mask
from sanm.parts.mixture import min_max
from sanm.parts.mixup import Mix, draw_mix_within
from sanm.parts.some_rows import in_front, mean_over
from sanm.parts.targets import one_hot
from sanm.step import Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

PSEUDO = "pseudo"
CHOSEN, OTHERS = 0, 1
"""Places of the bias: of samples that are learned with a label, and of all others."""
MOST_CHOSEN = 0.9
"""Share of a batch up to which agreement fills it."""


class ProMix(Method):
    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0, 1),)
    divides_after_warm_up = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self.best = BestOfEachClass(task)
        self.small: Tensor
        self.chosen: Tensor
        self.bias: Tensor
        nobody = torch.zeros(2, len(task.given), dtype=torch.bool)
        self.register_buffer("small", nobody.clone())  # whose loss is small for each network, at the epoch's begin
        self.register_buffer("chosen", nobody.clone())  # who was chosen when last seen
        self.register_buffer("bias", torch.full((2, 2, task.num_classes), 1 / task.num_classes))

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        for network in networks:
            network.heads[PSEUDO] = nn.Linear(network.classifier.in_features, self.num_classes)

    def learns_from(self, epoch: int) -> Sequence[str]:
        pools = super().learns_from(epoch)
        return pools[:1] if self.warming_up(epoch) else pools

    # ---- which samples

    def needs_clean_probability(self, epoch: int) -> bool:
        return not self.warming_up(epoch)

    def measured(self, survey: Survey, k: int) -> Tensor:
        """Of the peer: it is the one that reads this estimate, and each network is to learn by its own losses."""
        return survey.losses(1 - k)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """What the normalised loss leaves of 1. Whose loss is small is noted for the network that reads it."""
        self.best.remember(survey.index)
        clean = 1 - min_max(self.measured(survey, k))
        self.small[1 - k, survey.index] = self._small(clean)
        return clean

    def _small(self, clean: Tensor) -> Tensor:
        return self.best(clean, math.ceil(self.settings["kept_share"] * len(clean) / self.num_classes))

    def keeps_label(self, clean: Tensor, epoch: int) -> Tensor:
        """Of each class as many, those of smallest loss."""
        return super().keeps_label(clean, epoch) if self.warming_up(epoch) else self._small(clean)

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        cut = shuffled if self.warming_up(step.epoch) else whole_batches
        return [Draw(index, len(index)) for index in cut(len(clean), self.batch_size, step.random)]

    # ---- what is true

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label where it is trusted; where both networks agree, the predicted class; else a guess."""
        if self.warming_up(step.epoch):
            return batch.y[0]
        k, given = step.network, batch.y[0]
        logits, probs, peer = look.logits(k)[0], look.probs(k)[0], look.probs(1 - k)[0]
        kept = self.small[k, batch.index] | ((probs * given).sum(-1) > self.settings["sure_above"])
        predicted = one_hot((logits - self._shift(k)[CHOSEN]).argmax(-1), self.num_classes)
        chosen = kept
        if step.epoch >= epochs_of(self.settings["agreed_from"], step.epochs):
            chosen = kept | self._agreed(probs, peer, kept)
        self.chosen[k, batch.index] = chosen
        guessed = sharpen((logits - self._shift(k)[OTHERS]).softmax(-1), self.settings["temperature"])
        label = torch.where(kept[:, None], given, predicted.to(given.dtype))
        return torch.where(chosen[:, None], label, guessed.to(given.dtype))

    def _agreed(self, probs: Tensor, peer: Tensor, kept: Tensor) -> Tensor:
        """Of those that are not kept ``[B]``, of what class both are sure; the surest, until the batch is filled."""
        (own_sure, own), (peer_sure, others) = probs.max(-1), peer.max(-1)
        sure = torch.minimum(own_sure, peer_sure) > self.settings["sure_above"]
        agreed = sure & (own == others) & ~kept
        order = (own_sure + peer_sure).masked_fill(~agreed, -1).argsort(descending=True, stable=True)
        return agreed & (order.argsort() < int(MOST_CHOSEN * len(kept)) - kept.sum())

    def _shift(self, k: int) -> Tensor:
        """What is added to the logits of network k that learn, and taken from those that guess, ``[2, K]``."""
        return float(self.settings["debias"]) * self.bias[k].log()

    # ---- how wrong

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Of both heads; a scalar, for every row of every view."""
        if self.warming_up(step.epoch):
            return self._warm_up_losses(forward, batch)
        chosen, shift = self.chosen[step.network, batch.index], self._shift(step.network)
        masked = list(self._of_masked(forward, batch, shift[CHOSEN]))
        if not batch.own:
            self._follow(step.network, chosen, batch.seen)
            return torch.stack(masked).mean().expand(batch.x.shape[:2])
        y, grown = batch.y[0], self._grown(step, 1)
        weak, strong = self._heads(forward, batch.x[0]), self._heads(forward, batch.x[1])
        total = weak[0].new_zeros(())
        for head in range(2):
            plain = mean_over(chosen, soft_cross_entropy(weak[head] + shift[CHOSEN], y))
            plain = plain if head else torch.stack([plain, *masked]).mean()
            strongly = mean_over(chosen, soft_cross_entropy(strong[head] + shift[CHOSEN], y))
            total = total + plain + grown * (strongly + self._mixed(forward, batch, chosen, head, step))
        rest = [mean_over(~chosen, soft_cross_entropy(each[1] + shift[OTHERS], y)) for each in (weak, strong)]
        total = total + self._weight_of_guesses(step) * (rest[0] + grown * rest[1])
        self._follow(step.network, chosen, weak[0].detach().softmax(-1))
        return total.expand(batch.x.shape[:2])

    def _heads(self, forward: Forward, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B, K]`` of both heads, of images ``[B, C, H, W]``."""
        return forward.own(x[None])[0], forward.head(PSEUDO)[0]

    def _mixed(self, forward: Forward, batch: Batch, chosen: Tensor, head: int, step: Step) -> Tensor:
        """The loss of chosen weak views mixed with one another, and that of patches of one beside another's."""
        x, y, shift = batch.x[0], batch.y[0], self._shift(step.network)[CHOSEN]
        rows, first = in_front(chosen)
        drawn = draw_mix_within(chosen[None], float(self.settings["alpha"]), step.random)
        mix = Mix(max(drawn.coefficient, 1 - drawn.coefficient), drawn.partner)
        logits = self._heads(forward, mix(x[None])[0, rows])[head] + shift
        mixed = mean_over(first, soft_cross_entropy(logits, mix(y[None])[0, rows]))

        patches = draw_mix_within(chosen[None], 1.0, step.random)
        mask = low_frequency_mask(x, patches.coefficient, step.random)
        images = mask * x + (1 - mask) * x[patches.partner]
        logits = self._heads(forward, images[rows])[head] + shift
        return mixed + mean_over(first, soft_cross_entropy(logits, patches(y[None])[0, rows]))

    def _of_masked(self, forward: Forward, batch: Batch, shift: Tensor) -> Tensor:
        """The losses of the main head for a plug-in's views, ``[M]``."""
        views = batch.x[batch.own :]
        if not len(views):
            return views.new_zeros(0)
        return soft_cross_entropy(forward(views) + shift, batch.y[batch.own :]).mean(1)

    def _grown(self, step: Step, times: int) -> float:
        """From 0 to 1 over so many times ``ramp_up``."""
        return min(1.0, step.epoch / (times * epochs_of(self.settings["ramp_up"], step.epochs)))

    def _weight_of_guesses(self, step: Step) -> float:
        """It grows twice as long; its code then sets it to nothing."""
        grown = self._grown(step, 2)
        ended = grown == 1 and self.settings["guesses_end"]
        return 0.0 if ended else float(self.settings["guess_weight"]) * grown

    @torch.no_grad()
    def _follow(self, k: int, chosen: Tensor, probs: Tensor | None) -> None:
        """Move the bias of network k towards what it says of a batch on average, ``probs [B, K]``."""
        assert probs is not None
        for place, rows in ((CHOSEN, chosen), (OTHERS, ~chosen)):
            mean = (probs * rows[:, None]).sum(0) / rows.sum().clamp(min=1)
            moved = torch.lerp(mean.to(self.bias.dtype), self.bias[k, place], float(self.settings["bias_average"]))
            self.bias[k, place] = torch.where(rows.any(), moved, self.bias[k, place])

    def _warm_up_losses(self, forward: Forward, batch: Batch) -> Tensor:
        logits = forward(batch.x)
        losses = soft_cross_entropy(logits, batch.y)
        return losses + negative_entropy(logits) if self.settings["confidence_penalty"] else losses


METHOD = ProMix
