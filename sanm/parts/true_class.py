"""How probable it is that a given label is the true one, from what the classes of samples look like without it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ROUNDS = 20
LEAST = 1e-12


def probability_given_is_true(looks: Tensor, given: Tensor) -> Tensor:
    """Posterior ``[N]`` that the given label is the true class.

    ``looks [N, K]`` is the probability of each class by other evidence than the given label, ``given [N]`` the label.
    The share of each true class that is given each label is estimated together with the posteriors, by expectation
    maximisation (Dawid and Skene 1979, with one annotator and ``looks`` as each sample's prior).
    """
    looks = looks.double()
    posterior = looks
    for _ in range(ROUNDS):
        counts = torch.zeros(looks.shape[1], looks.shape[1], dtype=torch.double).index_add_(0, given, posterior)
        called = counts / counts.sum(0).clamp(min=LEAST)  # [given, true]
        posterior = looks * called[given] + LEAST
        posterior = posterior / posterior.sum(1, keepdim=True)
    return posterior.gather(1, given[:, None])[:, 0]


def calibrated(score: Tensor, probability: Tensor) -> Tensor:
    """``score [N]`` in [0, 1] brought to the scale of ``probability [N]``, its order kept.

    Platt's scaling: a logistic regression of the probability on the score's log odds, of two numbers.
    """
    from sklearn.linear_model import LogisticRegression

    odds = score.double().clamp(LEAST, 1 - LEAST).logit().numpy()[:, None]
    right = probability.double().numpy()
    count = len(odds)
    fit = LogisticRegression(C=np.inf, max_iter=1000).fit(
        np.concatenate([odds, odds]),
        np.repeat([1, 0], count),
        sample_weight=np.concatenate([right, 1 - right]),
    )
    if fit.coef_[0, 0] <= 0:  # the probability does not rise with the score: too few samples to say
        return score.double()
    return torch.from_numpy(fit.predict_proba(odds)[:, 1])
