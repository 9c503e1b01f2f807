"""Posteriors of given labels, and the scale that scores are brought to."""

import pytest
import torch

from sanm.parts.true_class import calibrated, probability_given_is_true


def confused(count: int = 40_000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Looks that say the truth with 90 %, true classes, and labels of which 30 % of class 0 are called 1."""
    draw = torch.Generator().manual_seed(0)
    looks = torch.full((count, 3), 0.05)
    guess = torch.randint(3, (count,), generator=draw)
    looks[torch.arange(count), guess] = 0.9
    true = torch.multinomial(looks, 1, generator=draw)[:, 0]
    lied = (true == 0) & (torch.rand(count, generator=draw) < 0.3)
    return looks, true, torch.where(lied, 1, true)


def test_posteriors_mean_what_they_say() -> None:
    looks, true, given = confused()
    found = probability_given_is_true(looks, given)
    right = given == true
    assert float(found.mean()) == pytest.approx(float(right.double().mean()), abs=0.02)
    for group in (looks.argmax(1) == 0, looks.argmax(1) == 1):  # called 1, and looking like 0 or like 1
        some = group & (given == 1)
        assert float(found[some].mean()) == pytest.approx(float(right[some].double().mean()), abs=0.03)


def test_a_scale_keeps_the_order_and_takes_the_mean() -> None:
    draw = torch.Generator().manual_seed(0)
    score = torch.rand(500, generator=draw).double()
    probability = (3 * score.logit() + 1).sigmoid()
    found = calibrated(score, probability)
    assert torch.equal(found.argsort(), score.argsort())
    assert torch.allclose(found, probability, atol=1e-3)
    assert torch.equal(calibrated(score, 1 - probability), score), (
        "what does not rise with the score is no scale for it"
    )
