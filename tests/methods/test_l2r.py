"""L2R against slow, obvious implementations: one gradient a sample, and a real step of gradient descent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.errors import InputError
from sanm.methods.l2r import LearningToReweight
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks, same_gradients, settings_of

N, B, PROBES = 24, 8, 3


def method(**changes: Any) -> LearningToReweight:
    trusted = torch.arange(N) < 6
    return LearningToReweight(settings_of("l2r", **changes), a_task(N, 4)._replace(trusted=trusted))


def some(views: int = 1) -> Batch:
    """Of whose samples some agree with the trusted ones and some do not."""
    return a_batch(B, views, num_labeled=PROBES, seed=6)


def gradient(network: Network, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(network.parameters()))])


def in_double(network: Network, batch: Batch) -> tuple[Network, Batch]:
    """Both of double precision, of which a small step leaves enough; off the kinks where a new network begins."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight += 0.01 * (name.endswith("bias"))
    return network.double(), Batch(**{**vars(batch), "x": batch.x.double(), "y": batch.y.double()})


def slow_agreements(network: Network, batch: Batch) -> torch.Tensor:
    """The product of each sample's gradient with that of the trusted rows (Eq. 12), a sample at a time."""
    x, given = batch.x[0], batch.given
    of_probes = gradient(network, cross_entropy(network(x[:PROBES]), given[:PROBES]))
    rows = range(PROBES, len(given))
    return torch.stack(
        [gradient(network, cross_entropy(network(x[r : r + 1]), given[r : r + 1])) @ of_probes for r in rows]
    )


def test_a_sample_counts_by_how_far_its_gradient_agrees_with_the_trusted_ones() -> None:
    network, batch = in_double(networks(1)[0], some())  # in eval mode a row knows no other
    agreement = slow_agreements(network, batch)
    weights = agreement.clamp(min=0) / agreement.clamp(min=0).sum()
    assert 0 < int((weights > 0).sum()) < len(weights)
    made, step = method(), a_step(3)
    found = made.share([made.losses(Forward(network), batch, step)], [batch], step)[0]
    rows = cross_entropy(network(batch.x[0, PROBES:]), batch.given[PROBES:], reduction="none")
    assert float(found.detach()) == pytest.approx(float((weights * rows).sum().detach()), abs=1e-9)
    same_gradients(network, found, (weights * rows).sum())


def test_the_agreement_is_what_a_step_on_the_sample_takes_from_the_trusted_loss() -> None:
    network, batch = in_double(networks(1)[0], some())
    x, given, rate = batch.x[0], batch.given, 1e-7
    before = float(cross_entropy(Forward(network)(x[None, :PROBES])[0], given[:PROBES]).detach())
    agreement, weights = slow_agreements(network, batch), list(network.parameters())
    for row in range(PROBES, B):
        start = [weight.detach().clone() for weight in weights]
        moved = torch.autograd.grad(cross_entropy(network(x[row : row + 1]), given[row : row + 1]), weights)
        with torch.no_grad():
            for weight, each in zip(weights, moved, strict=True):
                weight -= rate * each
            after = float(cross_entropy(Forward(network)(x[None, :PROBES])[0], given[:PROBES]))
            for weight, each in zip(weights, start, strict=True):
                weight.copy_(each)
        assert (before - after) / rate == pytest.approx(float(agreement[row - PROBES]), rel=1e-3)


def test_statistics_move_once_a_step_and_by_what_is_learned_from_alone() -> None:
    network, batch = networks(1)[0].train(), some()
    other = networks(1)[0].train()
    method().losses(Forward(network), batch, a_step(3))
    other(batch.x[0, PROBES:])
    for ours, theirs in zip(network.buffers(), other.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_where_no_gradient_agrees_nothing_is_learned() -> None:
    network, batch = networks(1)[0], some()
    same_images = batch.x[:, :1].expand_as(batch.x)
    opposed = torch.eye(CLASSES)[torch.tensor([0] * PROBES + [1] * (B - PROBES))][None]
    two_classes = Batch(**{**vars(batch), "x": same_images, "y": opposed})
    network.classifier.weight.data.zero_()  # both of two classes are equally likely: gradients point apart
    network.classifier.bias.data.copy_(torch.tensor([0.0, 0.0, -50.0, -50.0]))
    losses = method().losses(Forward(network), two_classes, a_step(3))
    assert losses.isfinite().all()
    assert float(losses.detach().abs().sum()) == 0


def test_trusted_samples_come_first_and_are_never_learned_from() -> None:
    made = method()
    draws = made.batches(torch.ones(N), a_step(0))
    learned = torch.cat([draw.positions[draw.num_labeled :] for draw in draws])
    assert sorted(learned.tolist()) == list(range(6, N))
    assert all(set(draw.positions[: draw.num_labeled].tolist()) <= set(range(6)) for draw in draws)
    losses = made.losses(Forward(networks(1)[0]), some(views=2), a_step(0))
    assert losses.shape == (2, B)
    assert not losses[:, :PROBES].any()


def test_it_needs_labels_that_are_known_to_be_true() -> None:
    with pytest.raises(InputError, match=r"data\.trusted"):
        LearningToReweight(settings_of("l2r"), a_task(N))
