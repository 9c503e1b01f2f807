"""Evidence against its definitions, by torch's own Dirichlet distribution."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from sanm.parts.evidence import evidential_losses, log_expected


def slow(logits: Tensor, label: int) -> Tensor:
    classes = len(logits)
    alpha = logits.exp() + 10 / classes
    rest = torch.stack([torch.ones_like(a) if c == label else a * classes / 10 for c, a in enumerate(alpha)])
    divergence = kl_divergence(Dirichlet(rest), Dirichlet(torch.ones_like(rest)))
    return (alpha.sum() / alpha[label]).log() + divergence / (2 * classes)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_losses_and_gradients_by_their_definition(classes: int) -> None:
    logits = (
        2 * torch.randn(classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).requires_grad_()
    found = evidential_losses(logits)
    for label in range(0, classes, max(1, classes // 5)):
        expected = slow(logits, label)
        assert float(found[label].detach()) == pytest.approx(float(expected.detach()), abs=1e-10)
        ours, theirs = (torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (found[label], expected))
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize(
    ("classes", "raised", "by", "likelihood", "divergence"),
    [
        (10, 0, 0, 2.302585, 0.056882),
        (10, 0, 2, 1.146021, 0.056882),
        (10, 3, 2, 2.579802, 0.154614),
        (100, 0, 0, 4.605170, 0.405168),
    ],
)
def test_figures_of_the_loss_of_the_first_class(
    classes: int, raised: int, by: float, likelihood: float, divergence: float
) -> None:
    logits = torch.zeros(classes)
    logits[raised] = by
    assert float(-log_expected(logits)[0]) == pytest.approx(likelihood, abs=1e-5)
    assert float(evidential_losses(logits)[0]) == pytest.approx(likelihood + divergence, abs=1e-5)


def test_expected_probabilities() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [3.0, 3.0, 3.0]])
    alpha = logits.exp() + 10 / 3
    assert torch.allclose(log_expected(logits).exp(), alpha / alpha.sum(-1, keepdim=True))
    assert not torch.allclose(log_expected(logits + 1)[0], log_expected(logits)[0]), (
        "logits count, not differences alone"
    )
    strong = log_expected(torch.tensor([200.0, 0.0]))
    assert strong.isfinite().all()
    assert float(strong[1]) == pytest.approx(math.log(1 + 5) - 200, abs=1e-3)


def test_a_large_logit_of_the_label_loses_no_digits() -> None:
    logits = torch.randn(10, generator=torch.Generator().manual_seed(1))
    logits[4] = 16.0
    single, double = evidential_losses(logits)[4], evidential_losses(logits.double())[4]
    assert float(single) == pytest.approx(float(double), abs=1e-5)
