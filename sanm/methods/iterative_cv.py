"""INCV (Chen et al.: Understanding and Utilizing Deep Neural Networks Trained with Noisy Labels, ICML 2019).

Two networks learn a half of the samples each, and select of the other half those whose label they predict. Round after
round begins anew, with all that is selected in both halves. Then two networks teach each other on it (Algorithm 1, 2).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sanm.config.phases import in_epochs
from sanm.errors import InputError
from sanm.methods import Method
from sanm.network import Network
from sanm.parts.batches import endless, shuffled
from sanm.parts.best import BestSoFar
from sanm.parts.cross_validation import CANDIDATE, SELECTED, Selection, noise_of_selected
from sanm.parts.some_rows import cross_entropy_of, easiest_for
from sanm.step import Answers, Batch, Draw, Forward, Look, Step, Task
from sanm.survey import Survey

HIGH, LOW = 0.6, 0.3
"""Estimated noise above which networks select by their best epoch in the first round alone, or in the first two."""
ROUNDS_BY_BEST = 4
"""In how many they do otherwise."""


class IterativeCrossValidation(Method):
    turns = ((0, 1),)

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where no round comes before the last phase."""
        super().__init__(settings, task)
        if len(settings["phases"] or [None]) < 2:
            raise InputError("base_method.phases: base_method=iterative_cv needs a round of selection before the last")
        self.symmetric = settings["noise_pattern"] == "symmetric"
        self.selection = Selection(len(task.given), task.num_classes)
        self._rows = torch.empty(0)

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        self.best = nn.ModuleList(map(BestSoFar, networks if self.settings["select_by"] == "best" else ()))

    @property
    def hard(self) -> bool:
        """Whether the noise is such that candidates come late, and memorising has to be feared at once."""
        return not self.symmetric or self.selection.noise > HIGH

    def judged_by(self, step: Step) -> Tensor | None:
        """The candidates, where networks select by their best epoch."""
        by_best = 1 if self.hard else 2 if self.selection.noise > LOW else ROUNDS_BY_BEST
        if step.in_last_phase or not len(self.best) or self.selection.rounds >= by_best:
            return None
        return self.selection.positions(CANDIDATE, step.drawn)

    def judge(self, survey: Survey, step: Step) -> None:
        """Accuracy on the given labels of the half that a network does not learn."""
        for k, (network, best) in enumerate(zip(survey.networks, self.best, strict=True)):
            assert isinstance(best, BestSoFar)
            best.judge(network, self.selection.agreement(survey, k))

    def enter(self, phase: int, survey: Survey) -> None:
        """Select and discard, as the round that is over says."""
        selecting = list(survey.networks)
        for k, best in enumerate(self.best):
            assert isinstance(best, BestSoFar)
            if best.judged:
                selecting[k] = best.network
                best.forget()
        self.selection.end_round(survey.of(selecting), discards=self.symmetric)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor | None:
        """1 of what is selected, 0 of what is discarded; else what the estimate of the noise leaves."""
        if not self.selection.rounds:
            return None
        status = self.selection.status[survey.index]
        return torch.where(status == CANDIDATE, 1 - self.selection.noise, (status == SELECTED).float())

    def batches(self, clean: Tensor, step: Step) -> Sequence[Draw]:
        """A round: a batch for each network. In the end: selected samples, later with some candidates behind them."""
        if step.in_last_phase:
            return self._last_batches(len(clean), step)
        if step.epoch == step.begin:
            self.selection.split(step.random)
        learned = [self.selection.learned_by(k, step.drawn).cpu() for k in (0, 1)]
        first, second = (shuffled(positions, self.batch_size, step.random) for positions in learned)
        return [Draw(torch.cat(pair), len(pair[0])) for pair in zip(first, second, strict=False)]

    def _last_batches(self, count: int, step: Step) -> Sequence[Draw]:
        selected, rest = (self.selection.positions(each, step.drawn).cpu() for each in (SELECTED, CANDIDATE))
        if len(selected) < min(self.batch_size, count):
            warnings.warn(f"epoch {step.epoch + 1}: few labels are selected; learning from all samples", stacklevel=2)
            selected, rest = torch.arange(count), rest[:0]
        size = min(len(rest) * self.batch_size // len(selected), self.batch_size // 2)
        begin = self.settings["candidates_late" if self.hard else "candidates_from"]
        joined = size > 0 and step.epoch - step.begin > in_epochs(begin, step.epochs - step.begin)
        batches = shuffled(selected, self.batch_size, step.random)
        others = endless(rest if joined else rest[:0], max(size, 1), step.random)
        return [Draw(torch.cat(pair), len(pair[0])) for pair in zip(batches, others, strict=False)]

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The given label. In a round the first rows are the first network's; then the peer says which are learned."""
        rows = torch.arange(len(batch.index), device=batch.index.device)
        if step.in_last_phase:
            rows = easiest_for(1 - step.network, rows, self._kept(batch.num_labeled, step), batch, look)
        else:
            rows = rows[: batch.num_labeled] if step.network == 0 else rows[batch.num_labeled :]
        self._rows = rows
        return batch.y[0]

    def _kept(self, selected: int, step: Step) -> int:
        """How many samples of a batch are learned that holds so many ``selected`` ones."""
        ramp_up = in_epochs(self.settings["ramp_up"], step.epochs - step.begin)
        grown = min(1.0, (step.epoch - step.begin) / ramp_up) if ramp_up else 1.0
        wrong = noise_of_selected(self.selection.noise, self.num_classes - 1 if self.symmetric else 1)
        return max(2, round(selected * (1 - wrong * grown)))

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        return cross_entropy_of(self._rows, forward, batch)

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        """Each was tested on its own: the first, or both."""
        return networks if self.settings["ensemble"] else networks[:1]


METHOD = IterativeCrossValidation
