"""The Beta mixture against scipy's densities a sample at a time, and on losses of which all is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from sanm.parts.beta_mixture import BetaMixture, _by_moments, fitted, scaled


def drawn(count: int = 20_000, wrong: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Losses of right and of wrong labels, and which are wrong."""
    generator = np.random.default_rng(0)
    is_wrong = generator.random(count) < wrong
    return np.where(is_wrong, generator.beta(8, 2, count), generator.beta(2, 8, count)), is_wrong


def test_a_step_is_that_of_a_slow_loop() -> None:
    values = np.random.default_rng(1).uniform(0.01, 0.99, 40)
    found = BetaMixture(np.array([1.5, 3.0]), np.array([4.0, 2.0]), np.array([0.7, 0.3]))
    shares = found.shares(values)
    for n, value in enumerate(values):
        density = [found.weights[k] * beta.pdf(value, found.alphas[k], found.betas[k]) for k in (0, 1)]
        assert shares[:, n] == pytest.approx(np.array(density) / sum(density))
    moved = _by_moments(values, shares)
    for k in (0, 1):
        mean = sum(shares[k, n] * values[n] for n in range(40)) / shares[k].sum()
        variance = sum(shares[k, n] * (values[n] - mean) ** 2 for n in range(40)) / shares[k].sum()
        alpha = mean * (mean * (1 - mean) / variance - 1)
        assert moved.alphas[k] == pytest.approx(alpha)
        assert moved.betas[k] == pytest.approx(alpha * (1 - mean) / mean)
        assert moved.weights[k] == pytest.approx(shares[k].sum() / 40)


def test_from_two_means_and_with_many_steps_the_share_of_wrong_labels_is_found() -> None:
    """Ten steps from the published start overestimate it, which is why they are a setting."""
    losses, is_wrong = drawn()
    best, low, high = fitted(losses, "means", 100)
    published, _, _ = fitted(losses, "published", 10)
    assert best.weights[1] == pytest.approx((0.2 - 0.05) / 0.9, abs=0.01), "without the largest and smallest losses"
    assert published.weights[1] > best.weights[1] + 0.03
    place = (scaled(losses, low, high) * 100).astype(int)
    assert np.abs(best.table()[place] - is_wrong).mean() < 0.05
    assert best.means[0] < best.means[1]


def test_the_posterior_never_falls_again() -> None:
    for start in ("published", "means"):
        table = fitted(drawn()[0], start, 10)[0].table()
        assert ((table >= 0) & (table <= 1)).all()
        top = int(table.argmax())
        assert (table[top:] == table[top]).all()


def test_losses_that_are_all_alike_are_no_error() -> None:
    found, _, _ = fitted(np.full(50, 0.7), "means", 10)
    assert np.isfinite(found.table()).all()
