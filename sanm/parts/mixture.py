"""Per-sample losses -> probability that the given label is right.

A two-component Gaussian mixture on the min-max normalised losses; the answer is the posterior of the component with
the smaller mean (Arazo et al., ICML 2019; settings of DivideMix, ICLR 2020).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

SMALLEST_RANGE = 1e-8
UNDECIDED = (0.1, 0.9)
"""Clean probabilities between which a label counts as undecided."""
CLEAR_GAP = 2.0
"""Of two components' means, in their deviations: less of it, and they lie on one another (Ashman et al., 1994)."""


class Mixture(NamedTuple):
    """Two Gaussians over normalised losses, the one with the smaller mean first."""

    weights: tuple[float, float]
    means: tuple[float, float]
    variances: tuple[float, float]

    @property
    def gap(self) -> float:
        """Between the means, in units of the two components' mean deviation (Ashman's D)."""
        low, high = self.means
        return float((high - low) / np.sqrt(np.mean(self.variances)))


class Estimate(NamedTuple):
    """What a network's clean probability was last read from."""

    losses: Tensor  # [N] of the scan
    normalised: Tensor  # [N] in [0, 1], as the mixture saw them: maybe a mean over several scans
    mixture: Mixture | None  # None where losses did not differ, or where the method has a trust of its own


def min_max(losses: Tensor) -> Tensor:
    """Losses ``[N]`` moved and scaled into [0, 1]; all zero when they are all the same."""
    low, high = losses.min(), losses.max()
    return (losses - low) / (high - low).clamp(min=SMALLEST_RANGE)


def clean_probability(normalised: Tensor, seed: int, iterations: int) -> tuple[Tensor, Mixture | None]:
    """Posterior ``[N]`` in [0, 1] of the low-loss component, for normalised losses ``[N]``, and the mixture.

    ``iterations`` is what the fit may take at most; the published budgets end before it has converged.
    Losses that do not differ carry no evidence against any label: the answer is then 1 for all, and no mixture.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    values = normalised.double().cpu().numpy().reshape(-1, 1)
    if np.ptp(values) < SMALLEST_RANGE:
        return torch.ones_like(normalised), None
    mixture = GaussianMixture(2, max_iter=iterations, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values)
    low = int(mixture.means_.argmin())
    posterior = mixture.predict_proba(values)[:, low]
    return torch.from_numpy(posterior).to(normalised), _in_order(mixture, low)


def _in_order(mixture: Any, low: int) -> Mixture:
    parts = (mixture.weights_, mixture.means_, mixture.covariances_)
    return Mixture(*((float(part[low].item()), float(part[1 - low].item())) for part in parts))


class CleanProbability(nn.Module):
    """The clean probability of every training sample, by each network, with the losses it was read from.

    With ``window`` > 1 the mixture sees the mean of the last ``window`` normalised loss vectors (DivideMix at 90 %).
    """

    def __init__(self, num_networks: int, num_samples: int, window: int, seed: int, iterations: int) -> None:
        super().__init__()
        self.seed, self.iterations = seed, iterations
        self.estimates: list[Estimate | None] = [None] * num_networks  # for the record; nothing is learned from them
        self.probability: Tensor
        self.history: Tensor
        self.filled: Tensor
        self.register_buffer("probability", torch.ones(num_networks, num_samples))
        self.register_buffer("history", torch.zeros(num_networks, window, num_samples))
        self.register_buffer("filled", torch.zeros(num_networks, dtype=torch.int64))

    def update(
        self,
        network: int,
        losses: Tensor,
        remember: bool,
        scanned: Tensor | None = None,
        trust: Tensor | None = None,
    ) -> None:
        """Take the losses of one scan; ``remember`` adds them to the history that later scans average over.

        ``scanned`` are the positions of the samples whose losses these are, all N if None. What was known of the others
        stays; there is then no history, so ``window`` has to be 1. ``trust``, of the same samples, is taken in the
        place of the mixture's answer.
        """
        normalised = min_max(losses)
        if trust is not None:
            self.probability[network, slice(None) if scanned is None else scanned] = trust
            if scanned is None:
                self.estimates[network] = Estimate(losses, normalised, None)
            return
        if scanned is not None:
            self.probability[network, scanned], _ = clean_probability(normalised, self.seed, self.iterations)
            return
        if remember:
            self.history[network] = self.history[network].roll(1, 0)
            self.history[network, 0] = normalised
            self.filled[network] = (self.filled[network] + 1).clamp(max=self.history.shape[1])
            normalised = self.history[network, : int(self.filled[network])].mean(0)
        probability, mixture = clean_probability(normalised, self.seed, self.iterations)
        self.probability[network] = probability
        self.estimates[network] = Estimate(losses, normalised, mixture)

    def clarity(self) -> list[dict[str, float | None]]:
        """How clearly each network's last mixture told labels apart: the gap of its means, the share undecided."""
        low, high = UNDECIDED
        undecided = ((self.probability > low) & (self.probability < high)).float().mean(1).tolist()
        mixtures = [estimate and estimate.mixture for estimate in self.estimates]
        return [
            {"gap": mixture.gap if mixture else None, "undecided": share}
            for mixture, share in zip(mixtures, undecided, strict=True)
        ]

    def for_network(self, network: int) -> Tensor:
        """What a network learns with, ``[N]``: its peer's estimate when it has one, else its own."""
        return self.probability[self.peer(network)]

    def peer(self, network: int) -> int:
        """Whose estimate a network learns with."""
        return (network + 1) % len(self.probability)
