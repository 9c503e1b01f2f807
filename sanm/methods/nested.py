"""Nested Co-teaching (Chen et al.: Boosting Co-teaching with Compression Regularization, CVPR workshops 2021).

Of the features the first k are kept, k drawn for each step: what matters comes first, and what only noise asks for has
no place. Two networks learn so on their own, then teach each other. They predict with the first K features; held-out
labels choose K.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.errors import InputError
from sanm.methods.coteaching import CoTeaching
from sanm.network import Network, own_norms
from sanm.parts.best import BestSoFar
from sanm.parts.ordered_features import best_kept, draw_kept, order_features, with_plain_classifier
from sanm.parts.some_rows import cross_entropy_of, easiest_for
from sanm.step import Answers, Batch, Forward, Look, Step, Task
from sanm.survey import Survey

ALONE = 0
"""The phase in which each network learns by itself."""


class NestedCoTeaching(CoTeaching):
    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        super().__init__(settings, task)
        self._trusted, self._rows = task.trusted, torch.empty(0)
        self.held_out: Tensor
        self.register_buffer("held_out", torch.zeros(len(task.given), dtype=torch.bool))

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        """Trusted samples are held out; where there are none, others by chance, with their given labels.

        Raises InputError where that leaves nothing to learn from.
        """
        count = len(self.held_out)
        chosen = torch.randperm(count)[: round(self.settings["held_out"] * count)]
        if self._trusted is not None:
            chosen = self._trusted.cpu().nonzero()[:, 0]
        self.held_out[chosen] = True
        if self.held_out.all():
            raise InputError("data.trusted: base_method=nested does not learn these, and here they are all; lower it")
        self._classifiers = tuple(order_features(network) for network in networks)  # no parameters of the method's
        self._best_kept = [classifier.kept for classifier in self._classifiers]
        self.best = nn.ModuleList(map(BestSoFar, networks if self.settings["goes_on_from"] == "best" else ()))

    def get_extra_state(self) -> dict[str, Any]:
        kept = [classifier.kept for classifier in self._classifiers]
        return {**super().get_extra_state(), "kept": kept, "best_kept": list(self._best_kept)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._best_kept = list(state["best_kept"])
        for classifier, kept in zip(self._classifiers, state["kept"], strict=True):
            classifier.kept = kept

    def learned_from(self, clean: Tensor, step: Step) -> Tensor:
        """What is not held out."""
        held_out = self.held_out if step.drawn is None else self.held_out[step.drawn]
        return (~held_out).cpu().nonzero()[:, 0]

    def enter(self, phase: int, survey: Survey) -> None:
        """The networks go back to their best epochs, before they teach each other."""
        if phase != ALONE + 1 or not len(self.best):
            return
        for network, best, classifier, kept in zip(
            survey.networks, self.best, self._classifiers, self._best_kept, strict=True
        ):
            assert isinstance(best, BestSoFar)
            network.load_state_dict(best.network.state_dict(), strict=False)
            classifier.kept = kept

    def judged_by(self, step: Step) -> Tensor:
        return (self.held_out if step.drawn is None else self.held_out[step.drawn]).nonzero()[:, 0]

    def judge(self, survey: Survey, step: Step) -> None:
        """Choose K: for each network while it learns alone, later for both together."""
        features = [survey.features(k) for k in range(len(survey.networks))]
        if step.phase != ALONE:
            kept, _ = best_kept(features, self._classifiers, survey.given)
            for classifier in self._classifiers:
                classifier.kept = kept
            return
        for k, classifier in enumerate(self._classifiers):
            classifier.kept, right = best_kept(features[k : k + 1], [classifier], survey.given)
            best = self.best[k] if len(self.best) else None
            if isinstance(best, BestSoFar) and best.judge(survey.networks[k], right):
                self._best_kept[k] = classifier.kept

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label. Which samples a network learns from is its peer's choice, in the half that is its own."""
        rows = torch.arange(len(batch.index), device=batch.index.device)
        if step.phase != ALONE:
            half = len(rows) // 2
            if self.settings["halves"]:
                rows = rows[half : 2 * half] if step.network == 0 else rows[:half]
            count = max(2, int((1 - self.forget(step.epoch)) * len(rows)))
            rows = easiest_for(1 - step.network, rows, count, batch, look)
        self._rows = rows
        return batch.y[0]

    def forget(self, epoch: int) -> float:
        """The same share from the first epoch on."""
        return self.estimated_rate if self.known_rate is None else self.known_rate

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """Cross-entropy with the first k features; norms are frozen while the networks teach each other."""
        classifier = self._classifiers[step.network]
        if self._freezes(step):
            for norm in own_norms(forward.network):
                norm.eval()
        with classifier.reading(draw_kept(classifier.in_features, self.settings["eta"], step.random)):
            return cross_entropy_of(self._rows, forward, batch)

    def share(self, losses: Sequence[Tensor], batches: Sequence[Batch], step: Step) -> list[Tensor]:
        """Who learns what has been said by the losses."""
        return [each.mean() for each in losses]

    def after_backward(self, network: Network, step: Step) -> None:
        if self._freezes(step):
            for norm in own_norms(network):
                for parameter in norm.parameters():
                    parameter.grad = None  # an optimizer passes it over, decay and momentum too

    def _freezes(self, step: Step) -> bool:
        return step.phase != ALONE and bool(self.settings["freezes_norms"])

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """With the first K features. The modules among them are plain networks, as ``model.pt`` keeps them."""
        chosen = super().predictors(networks)
        return [with_plain_classifier(each) if isinstance(each, Network) else each for each in chosen]


METHOD = NestedCoTeaching
