"""Cross-validation on noisy labels: how many are wrong, and which are right (Chen et al., ICML 2019, Algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sanm.step import Random
from sanm.survey import Survey

CANDIDATE, SELECTED, DISCARDED = 0, 1, 2
"""What a sample can be: not decided, one whose label is believed, one that has no part any more."""
MOST_DISCARDED = 2
BELOW_CHANCE = 0.01


class Selection(nn.Module):
    """What is known of N samples after some rounds, in each of which two networks learn a fold of the candidates each.

    ``noise`` is the share of wrong labels that the first round has told, ``rounds`` how many are over.
    """

    def __init__(self, samples: int, classes: int) -> None:
        super().__init__()
        self.classes, self.rounds, self.noise = classes, 0, 0.0
        self.status: Tensor
        self.fold: Tensor  # which network learns a candidate
        self.register_buffer("status", torch.full((samples,), CANDIDATE, dtype=torch.int8))
        self.register_buffer("fold", (torch.arange(samples) % 2).to(torch.int8))

    def get_extra_state(self) -> dict[str, Any]:
        return {"rounds": self.rounds, "noise": self.noise}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.rounds, self.noise = state["rounds"], state["noise"]

    def split(self, random: Random) -> None:
        """Two folds of the candidates, by chance, of equal size or one apart."""
        candidates = self.positions(CANDIDATE)
        order = torch.from_numpy(random.host.permutation(len(candidates))).to(candidates.device)
        second = torch.arange(len(order), device=order.device) >= len(order) // 2
        self.fold[candidates[order]] = second.to(torch.int8)

    def positions(self, status: int, drawn: Tensor | None = None) -> Tensor:
        """Of the samples of a status; in ``drawn [n]``, where these are positions of an epoch's samples."""
        every = self.status if drawn is None else self.status[drawn]
        return (every == status).nonzero()[:, 0]

    def learned_by(self, network: int, drawn: Tensor | None = None) -> Tensor:
        """Positions of what a network learns in a round: its fold, and all that is selected."""
        there: Any = slice(None) if drawn is None else drawn
        status, fold = self.status[there], self.fold[there]
        return ((status == SELECTED) | ((status == CANDIDATE) & (fold == network))).nonzero()[:, 0]

    def agreement(self, survey: Survey, network: int) -> float:
        """The share of the candidates of the other fold, among the survey's, whose given label a network predicts."""
        asked, agreed = self._asked(survey, network)
        return float(agreed.sum() / asked.sum().clamp(min=1))

    def end_round(self, survey: Survey, discards: bool) -> None:
        """Select the candidates whose given label is predicted by the network that has not learned it.

        The first network of the first round tells the noise. Of each fold the largest losses are discarded on request,
        a multiple of what is selected, unless they are selected too.
        """
        if not self.rounds:
            self.noise = noise_of_agreement(self.agreement(survey, 0), self.classes)
        folds = [self._asked(survey, k) for k in range(len(survey.networks))]
        if discards:
            for k, (asked, agreed) in enumerate(folds):
                self.status[survey.index[unlikely(survey.losses(k), asked, int(agreed.sum()), self.noise)]] = DISCARDED
        for _, agreed in folds:
            self.status[survey.index[agreed]] = SELECTED
        self.rounds += 1

    def _asked(self, survey: Survey, network: int) -> tuple[Tensor, Tensor]:
        asked = (self.status[survey.index] == CANDIDATE) & (self.fold[survey.index] != network)
        return asked, asked & (survey.logits(network).argmax(1) == survey.given)


def noise_of_agreement(agreement: float, classes: int) -> float:
    """The share of wrong labels, by the share of held-out labels that a network which learned such labels predicts.

    The smallest, in thousandths, with ``(1 - noise)^2 + noise^2 / (K - 1)`` at most the agreement; a hundredth below
    noise that hides all, ``(K - 1) / K``, at the greatest.
    """
    most = (classes - 1) / classes - BELOW_CHANCE
    for thousandths in range(1, int(1000 * most) + 1):
        noise = thousandths / 1000
        if (1 - noise) ** 2 + noise**2 / (classes - 1) <= agreement:
            return noise
    return most


def noise_of_selected(noise: float, others: int) -> float:
    """The share of wrong labels among those that were selected, where a wrong label is one of ``others``."""
    return noise**2 / (noise**2 + others * (1 - noise) ** 2)


def unlikely(losses: Tensor, asked: Tensor, agreed: int, noise: float) -> Tensor:
    """Places of the largest ``losses [n]`` among the samples that were ``asked [n]``.

    There are ``noise / (1 - noise)`` of them, two at most, for each of those that ``agreed``.
    """
    count = min(int(min(MOST_DISCARDED, noise / (1 - noise)) * agreed), int(asked.sum()))
    return losses.masked_fill(~asked, -torch.inf).topk(count).indices
