"""Mixup against a slow, obvious implementation of its formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.methods.mixup import Mixup
from sanm.parts.mixup import draw_mix
from sanm.step import Forward
from tests.conftest import config_of
from tests.methods.conftest import a_batch, a_step, a_task, networks, same_gradients, settings_of

B = 6


@pytest.mark.parametrize("seed", range(4))
def test_a_step_is_the_published_one(seed: int) -> None:
    """Two losses of each mixed image, weighed by one coefficient, which may be below one half."""
    network, batch, alpha = networks(1)[0], a_batch(B, seed=seed), 2.0
    made = Mixup(settings_of("mixup", alpha=alpha), a_task(20, B))
    found = made.share([made.losses(Forward(network), batch, a_step(0, seed=seed))], [batch], a_step(0))[0]

    random = a_step(0, seed=seed).random  # the same draws again
    coefficient = float(random.host.beta(alpha, alpha))
    partner = torch.randperm(B, generator=random.device).tolist()
    total = torch.zeros(())
    for row in range(B):
        other = partner[row]
        image = coefficient * batch.x[0, row] + (1 - coefficient) * batch.x[0, other]
        logits = network(image[None])
        own = cross_entropy(logits, batch.given[row : row + 1])
        others = cross_entropy(logits, batch.given[other : other + 1])
        total = total + coefficient * own + (1 - coefficient) * others
    assert float(found.detach()) == pytest.approx(float(total.detach()) / B, abs=1e-5)
    same_gradients(network, found, total / B)


def test_either_image_may_prevail_but_not_in_mixmatch() -> None:
    drawn = [draw_mix(a_batch(B), 1.0, a_step(0, seed=seed).random, False).coefficient for seed in range(20)]
    assert min(drawn) < 0.5 < max(drawn)
    mixmatch = [draw_mix(a_batch(B), 1.0, a_step(0, seed=seed).random).coefficient for seed in range(20)]
    assert mixmatch == [max(each, 1 - each) for each in drawn]


def test_masked_views_are_in_the_pool() -> None:
    network, batch = networks(1)[0], a_batch(B, views=2)
    made = Mixup(settings_of("mixup"), a_task(20, B))
    assert made.losses(Forward(network), batch, a_step(3)).shape == (2, B)
    assert sorted(draw_mix(batch, 1.0, a_step(3).random).partner.tolist()) == list(range(2 * B))


@pytest.mark.parametrize(
    ("noise", "alpha"),
    [("symmetric noise.rate=0.2", 4), ("symmetric noise.rate=0.9", 32), ("asymmetric", 4), ("none", 1)],
)
def test_the_more_labels_are_wrong_the_more_is_mixed(noise: str, alpha: float) -> None:
    assert config_of("base_method=mixup", "data=cifar10", *f"noise={noise}".split())["base_method"]["alpha"] == alpha
