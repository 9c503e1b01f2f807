"""Clean probability."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from sanm.parts.mixture import CLEAR_GAP, CleanProbability, clean_probability, min_max


def two_groups(count: int = 500) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    low = 0.1 + 0.05 * torch.randn(count, generator=generator)
    high = 2.0 + 0.5 * torch.randn(count, generator=generator)
    return torch.cat([low, high])


def test_posterior_of_the_component_with_the_smaller_mean() -> None:
    losses = min_max(two_groups())
    found, fitted = clean_probability(losses, seed=3, iterations=10)
    values = losses.double().numpy().reshape(-1, 1)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=3).fit(values)
    expected = mixture.predict_proba(values)[:, int(np.argmin(mixture.means_))]
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert fitted is not None
    assert fitted.means[0] < fitted.means[1]
    density = [
        weight * np.exp(-((values[:, 0] - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        for weight, mean, variance in zip(*fitted, strict=True)
    ]
    assert np.allclose(found.numpy(), density[0] / (density[0] + density[1]), atol=1e-6), "the mixture explains it"
    assert float(found[:500].mean()) > 0.95
    assert float(found[500:].mean()) < 0.05


def test_losses_that_do_not_differ_trust_every_label() -> None:
    probability, mixture = clean_probability(min_max(torch.full((20,), 2.3)), 0, 10)
    assert torch.equal(probability, torch.ones(20))
    assert mixture is None


def test_two_values_and_outliers_do_not_break_the_mixture() -> None:
    for losses in (torch.tensor([0.0, 1.0] * 10), torch.tensor([0.0] * 50 + [1000.0])):
        found, _ = clean_probability(min_max(losses), 0, 10)
        assert found.isfinite().all()
        assert found[0] > 0.9
        assert found[-1] < 0.1


def test_window_averages_remembered_losses_only() -> None:
    quality = CleanProbability(num_networks=1, num_samples=1000, window=2, seed=0, iterations=10)
    first, second, third = (two_groups()[torch.randperm(1000)] for _ in range(3))
    quality.update(0, first, remember=False)
    assert torch.equal(quality.probability[0], clean_probability(min_max(first), 0, 10)[0])
    quality.update(0, first, remember=True)
    quality.update(0, second, remember=True)
    quality.update(0, third, remember=True)
    mean = (min_max(second) + min_max(third)) / 2
    assert torch.allclose(quality.probability[0], clean_probability(mean, 0, 10)[0], atol=1e-6)
    estimate = quality.estimates[0]
    assert estimate is not None
    assert torch.equal(estimate.losses, third)
    assert torch.allclose(estimate.normalised, mean), "what the mixture saw"
    assert set(quality.state_dict()) == {"probability", "history", "filled"}, "no part of a checkpoint"


def test_a_network_of_a_pair_learns_with_its_peers_estimate() -> None:
    quality = CleanProbability(2, 3, 1, 0, 10)
    quality.probability.copy_(torch.tensor([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9]]))
    assert torch.equal(quality.for_network(0), torch.tensor([0.7, 0.8, 0.9]))
    assert torch.equal(quality.for_network(1), torch.tensor([0.1, 0.2, 0.3]))


def test_a_mixture_says_how_far_apart_its_components_lie() -> None:
    apart, within = CleanProbability(1, 400, 1, 0, 100), CleanProbability(1, 400, 1, 0, 100)
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(400, generator=generator)
    apart.update(0, torch.cat([torch.full((200,), 0.2), torch.full((200,), 0.8)]) + noise, remember=False)
    within.update(0, noise, remember=False)
    (clear,), (unclear,) = apart.clarity(), within.clarity()
    assert clear["gap"] == pytest.approx(0.6 / 0.05, rel=0.2), "deviations between the means"
    assert clear["undecided"] == 0
    assert unclear["gap"] is not None
    assert unclear["gap"] < CLEAR_GAP < clear["gap"]
    assert unclear["undecided"] > 0.3


def test_trust_of_a_methods_own_stands_in_the_mixtures_place() -> None:
    quality, own = CleanProbability(1, 5, 1, 0, 10), torch.tensor([0.5, 0.25])
    quality.update(0, torch.rand(2), remember=False, scanned=torch.tensor([1, 3]), trust=own)
    assert quality.probability[0].tolist() == [1, 0.5, 1, 0.25, 1]
    quality.update(0, torch.rand(5), remember=False, trust=torch.zeros(5))
    assert quality.probability.sum() == 0
    assert quality.clarity() == [{"gap": None, "undecided": 0.0}]
