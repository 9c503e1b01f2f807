"""A mixture of two Beta distributions over losses (Arazo et al.: Unsupervised Label Noise Modeling, ICML 2019).

Losses are scaled by two of their percentiles. The posterior of the component of large losses is looked up in a table,
so that a loss that is met later, in a step, has one too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

Floats = NDArray[np.float64]

BINS = 100
LOWEST, HIGHEST = 5, 95
"""Percentiles that losses are scaled by, and beyond which they have no part in the fit."""
OUTSIDE, EDGE, TABLE_EDGE = 1e-3, 1e-4, 1e-12
"""Scaled losses beyond 0 and 1 count as so far within. None is nearer than the second in a fit or the third in a table,
since Beta distributions may be infinite at 0 and 1."""
SMALLEST_DENSITY = 1e-12
SMALLEST_VARIANCE = 1e-6
TOO_CLOSE = 0.05
"""Means of components that lie nearer tell nothing apart."""


class BetaMixture(NamedTuple):
    """Two Beta distributions, that of the smaller losses first."""

    alphas: Floats  # [2]
    betas: Floats  # [2]
    weights: Floats  # [2]

    @property
    def means(self) -> Floats:
        return self.alphas / (self.alphas + self.betas)

    def shares(self, values: Floats) -> Floats:
        """Each component's share ``[2, n]`` in the density at values ``[n]`` in (0, 1)."""
        alphas, betas = self.alphas[:, None], self.betas[:, None]
        log_density = (alphas - 1) * np.log(values) + (betas - 1) * np.log1p(-values) - betaln(alphas, betas)
        density = self.weights[:, None] * np.exp(log_density)
        found: Floats = density / (density.sum(0) + SMALLEST_DENSITY)
        return found

    def table(self) -> Floats:
        """The posterior ``[BINS]`` that a label is wrong, by scaled loss; it never falls again behind its maximum."""
        posterior = self.shares(np.linspace(TABLE_EDGE, 1 - TABLE_EDGE, BINS))[1]
        top = int(posterior.argmax())
        posterior[top:] = posterior[top]
        return posterior


def scaled(losses: Floats, low: float, high: float) -> Floats:
    """Losses moved and scaled to between 0 and 1, neither of which is reached."""
    found: Floats = (losses - low) / max(high - low, np.finfo(np.float64).tiny)
    found = np.where(found <= 0, OUTSIDE, np.where(found >= 1, 1 - OUTSIDE, found))
    return np.clip(found, EDGE, 1 - EDGE)


def fitted(losses: Floats, start: str, steps: int) -> tuple[BetaMixture, float, float]:
    """The mixture of losses ``[n]``, and the percentiles that scale them.

    ``start``: ``published`` values for the distributions, or two ``means``: a split of the losses by 2-means.
    """
    low, high = (float(each) for each in np.percentile(losses, (LOWEST, HIGHEST)))
    values = scaled(losses[(losses >= low) & (losses <= high)], low, high)
    if start == "published":
        mixture = BetaMixture(np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5]))
    else:
        mixture = _by_moments(values, _split(values))
    for _ in range(steps):
        mixture = _by_moments(values, mixture.shares(values))
    order = np.argsort(mixture.means, kind="stable")
    return BetaMixture(*(part[order] for part in mixture)), low, high


def _split(values: Floats) -> Floats:
    """Shares of 0.95 and 0.05 on either side of the border that 2-means finds."""
    border = float(values.mean())
    for _ in range(BINS):
        above = values > border
        if above.all() or not above.any():
            break
        moved = (values[above].mean() + values[~above].mean()) / 2
        if abs(moved - border) < SMALLEST_VARIANCE:
            break
        border = float(moved)
    large = np.where(values > border, 0.95, 0.05)
    return np.stack([1 - large, large])


def _by_moments(values: Floats, shares: Floats) -> BetaMixture:
    """The distributions of which values have these means and variances, weighed by ``shares [2, n]``."""
    total = np.maximum(shares.sum(1), np.finfo(np.float64).tiny)
    means = np.clip((shares * values).sum(1) / total, EDGE, 1 - EDGE)
    variances = (shares * (values - means[:, None]) ** 2).sum(1) / total
    variances = np.clip(variances, SMALLEST_VARIANCE, 0.99 * means * (1 - means))
    alphas = means * (means * (1 - means) / variances - 1)
    return BetaMixture(alphas, alphas * (1 - means) / means, total / total.sum())
