"""What a linear fit says of each sample when it has learned from all others: exact, at the cost of one fit."""

from __future__ import annotations

import torch
from torch import Tensor

PENALTIES = tuple(125.0 * 2**step for step in range(10))
"""Of standardised features, among which the error of the left-out samples chooses."""


def left_out(features: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """What ridge regression on all other samples predicts of each, ``[N, K]``.

    ``features [N, D]`` are standardised, ``targets [N, K]``, ``weights [N]`` above 0 say how much a sample counts in
    the fit; the intercept bears no penalty. With ``h`` the diagonal of the hat matrix, the prediction without sample i
    is ``(fitted_i - h_i target_i) / (1 - h_i)``. The penalty is that of PENALTIES with the least weighted squared
    error of these predictions. Computed in double precision.
    """
    x, y, w = features.double(), targets.double(), weights.double()
    total = w.sum()
    y_mean = w @ y / total
    x = x - w @ x / total
    eigenvalues, vectors = torch.linalg.eigh((x * w[:, None]).T @ x)
    turned = x @ vectors
    fitting = turned.T @ ((y - y_mean) * w[:, None])
    squares = turned.square()
    best, least = y, torch.inf
    for penalty in PENALTIES:
        shrunk = 1 / (eigenvalues.clamp(min=0) + penalty)
        hat = (w * (squares @ shrunk + 1 / total))[:, None]
        predicted = (turned @ (fitting * shrunk[:, None]) + y_mean - hat * y) / (1 - hat)
        error = float(w @ (predicted - y).square().sum(1))
        if error < least:
            best, least = predicted, error
    return best
