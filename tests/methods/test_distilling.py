"""Distilling against a slow implementation: real steps of the optimizer, central differences, loops over rows."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.errors import InputError
from sanm.methods.distilling import Distilling, Verdict, divergence, guessed, of_unit_size
from sanm.network import Network
from sanm.step import Batch, Forward, Random
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B, PROBES = 24, 12, 5
COUNT = B - PROBES
RATE, MOMENTUM, DECAY = 0.3, 0.9, 5e-4


def method(network: Network, **changes: Any) -> Distilling:
    made = Distilling(settings_of("distilling", **changes), a_task(N, 6)._replace(trusted=torch.arange(N) < 8))
    made.attach([network], torch.zeros(2, 3, 8, 8))
    return made


def in_double(views: int = 2) -> tuple[Network, Batch, torch.optim.SGD]:
    """A network without batch statistics and without kinks, and an optimizer that has moved already."""
    network, batch = networks(1)[0].double(), a_batch(B, views, num_labeled=PROBES, seed=2)
    batch = replace(batch, x=batch.x.double(), y=batch.y.double(), own=2)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight += 0.01 * name.endswith("bias")
        network.classifier.weight.mul_(5)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    cross_entropy(network(batch.x[0]), batch.given).backward()
    optimizer.step()
    optimizer.zero_grad()
    return network, batch, optimizer


def slow_guess(network: Network, batch: Batch) -> list[Tensor]:
    """A row a sample, with its gradient."""
    views = [network(batch.x[view, PROBES:]) for view in (0, 1)]
    sizes = [(view.square().sum() / view.numel()) ** 0.5 for view in views]
    found = []
    for row in range(COUNT):
        mean = sum(view[row].div(size).softmax(0) for view, size in zip(views, sizes, strict=True)) / 2
        assert isinstance(mean, Tensor)
        found.append(mean**2 / (mean**2).sum())
    return found


def trusted_loss_ahead(
    network: Network, optimizer: torch.optim.SGD, batch: Batch, weights: Tensor, kept: Tensor, rate: float = 0.1
) -> float:
    """After a real step of the optimizer at the rate of the virtual one."""
    ahead = deepcopy(network)
    copied = torch.optim.SGD(ahead.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    copied.load_state_dict(deepcopy(optimizer.state_dict()))
    copied.param_groups[0]["lr"] = rate
    loss = torch.zeros((), dtype=torch.float64)
    for row, guess in enumerate(slow_guess(ahead, batch)):
        target = kept[row] * torch.eye(CLASSES)[batch.given[PROBES + row]] + (1 - kept[row]) * guess
        logp = ahead(batch.x[0, PROBES + row : PROBES + row + 1])[0].log_softmax(0)
        loss = loss - weights[row] * (target * logp).sum()
    loss.backward()
    copied.step()
    return float(cross_entropy(ahead(batch.x[0, :PROBES]), batch.given[:PROBES]).detach())


def verdict_of(made: Distilling, network: Network, optimizer: torch.optim.SGD, batch: Batch) -> Verdict:
    forward = Forward(network, optimizer=optimizer)
    views = [forward.own(batch.x[view : view + 1, PROBES:])[0] for view in (0, 1)]
    label = torch.eye(CLASSES, dtype=batch.x.dtype)[batch.given[PROBES:]]
    return made._verdict(forward, views[0], label, guessed(torch.stack(views), 0.5), batch)


def slow_verdict(network: Network, optimizer: torch.optim.SGD, batch: Batch) -> Verdict:
    """By central differences."""
    small, start = 1e-5, (torch.full((COUNT,), 1 / COUNT).double(), torch.full((COUNT,), 0.9).double())
    slopes: list[list[float]] = [[], []]
    for kind in (0, 1):
        for row in range(COUNT):
            values = []
            for change in (small, -small):
                moved = [each.clone() for each in start]
                moved[kind][row] += change
                values.append(trusted_loss_ahead(network, optimizer, batch, moved[0], moved[1]))
            slopes[kind].append((values[0] - values[1]) / (2 * small))
    counts = [max(0.0, -slope) for slope in slopes[0]]
    weights = [each / (sum(counts) + 1e-5) for each in counts]
    return Verdict(torch.tensor(weights).double(), torch.tensor([slope < 0 for slope in slopes[1]]))


def test_the_trusted_judge_by_what_a_step_of_the_optimizer_does_to_their_loss() -> None:
    network, batch, optimizer = in_double()
    found, slow = verdict_of(method(network), network, optimizer, batch), slow_verdict(network, optimizer, batch)
    assert 0 < int((slow.weights > 0).sum()) < COUNT
    assert 0 < int(slow.keeps.sum()) < COUNT
    assert torch.allclose(found.weights, slow.weights, atol=1e-5)
    assert torch.equal(found.keeps, slow.keeps)


def test_without_guess_and_momentum_weights_are_products_of_gradients() -> None:
    network, batch, _ = in_double()
    plain = torch.optim.SGD(network.parameters(), RATE)
    found = verdict_of(method(network, kept_at_first=1.0), network, plain, batch)

    def gradient(of: Network, rows: slice) -> Tensor:
        loss = cross_entropy(of(batch.x[0, rows]), batch.given[rows])
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(of.parameters()))])

    ahead = deepcopy(network)
    cross_entropy(ahead(batch.x[0, PROBES:]), batch.given[PROBES:]).backward()
    torch.optim.SGD(ahead.parameters(), 0.1).step()
    of_trusted = gradient(ahead, slice(0, PROBES))
    products = torch.stack([0.1 * gradient(network, slice(r, r + 1)) @ of_trusted for r in range(PROBES, B)])
    counts = products.clamp(min=0)
    assert torch.allclose(found.weights, counts / (counts.sum() + 1e-5), atol=1e-9)
    assert float(found.weights.sum()) == pytest.approx(float(counts.sum() / (counts.sum() + 1e-5)))


def slow_mixed(network: Network, batch: Batch, guess: Tensor, random: Random) -> Tensor:
    """Of mixed images, by the same draws."""
    drawn = torch.randint(PROBES, (COUNT,), generator=random.device).tolist()
    pool = [batch.x[0, d] for d in drawn] + list(batch.x[0, PROBES:]) + list(batch.x[1, PROBES:])
    targets = [torch.eye(CLASSES).double()[batch.given[d]] for d in drawn] + list(guess) + list(guess)
    uniform = torch.rand(3 * COUNT, generator=random.device, dtype=torch.float64).tolist()
    partner = torch.randperm(3 * COUNT, generator=random.device).tolist()
    kept = [1 - u * u / 2 for u in uniform]
    assert all(0.5 <= each <= 1 for each in kept)
    x = [k * pool[i] + (1 - k) * pool[partner[i]] for i, k in enumerate(kept)]
    y = [k * targets[i] + (1 - k) * targets[partner[i]] for i, k in enumerate(kept)]
    logits = network(torch.stack(x))
    losses = []
    for group in range(3):
        rows = logits[group * COUNT : (group + 1) * COUNT]
        rows = rows / (rows.square().mean() + 1e-8).sqrt()
        losses += [-(y[group * COUNT + i] * rows[i].log_softmax(0)).sum() for i in range(COUNT)]
    return torch.stack(losses[:COUNT]).mean() + 5 * torch.stack(losses[COUNT:]).mean()


def test_a_step_is_the_published_one() -> None:
    network, batch, optimizer = in_double()
    made = method(network)
    first = made.targets.of(batch.index[PROBES:]).clone()
    losses = made.losses(Forward(network, optimizer=optimizer), batch, a_step(0))
    assert losses.shape == (2, B)
    found = made.share([losses], [batch], a_step(0))[0]

    verdict, guess = slow_verdict(network, optimizer, batch), torch.stack(slow_guess(network, batch)).detach()
    weak, strong = network(batch.x[0, PROBES:]), network(batch.x[1, PROBES:])
    label = torch.eye(CLASSES).double()[batch.given[PROBES:]]
    slow = slow_mixed(network, batch, guess, a_step(0).random)
    for row in range(COUNT):
        target = label[row] if verdict.keeps[row] else guess[row]
        logp, p = weak[row].log_softmax(0), weak[row].softmax(0).detach()
        start = 0.9 * label[row] + 0.1 * guess[row]
        slow = slow - (target * logp).sum() / COUNT / 2 - verdict.weights[row] * (start * logp).sum() / 2
        slow = slow + 20 * (p * (p.log() - strong[row].log_softmax(0))).sum() / COUNT
        kept = made.targets.of(batch.index[PROBES + row])
        assert torch.allclose(kept, (0.7 * first[row] + 0.3 * target).float(), atol=1e-6)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)
    trust = made.trust(a_survey([network], N), 0, a_step(0))
    assert trust.shape == (N,)
    for row, position in enumerate(batch.index[PROBES:].tolist()):
        assert float(trust[position]) == float(made.targets.rows[position, position % CLASSES]), row


def test_views_of_plug_ins_stay_out_of_the_look_ahead() -> None:
    network, batch, optimizer = in_double(views=3)
    batch = replace(batch, y=torch.cat([batch.y[:2], torch.full_like(batch.y[:1], 1 / CLASSES)]))
    losses = method(network).losses(Forward(network, optimizer=optimizer), batch, a_step(0))
    two = replace(batch, x=batch.x[:2], y=batch.y[:2])
    alone = method(network).losses(Forward(network, optimizer=optimizer), two, a_step(0))
    assert torch.equal(losses[:2], alone)
    slow = torch.stack([-network(batch.x[2, row : row + 1])[0].log_softmax(0).mean() for row in range(B)])
    assert torch.allclose(losses[2], slow, atol=1e-9)


def test_a_label_is_kept_where_it_lowers_the_trusted_loss_against_the_guess() -> None:
    """All images are one, of class 0 as the trusted say; the guess is even between two classes."""
    network, batch, _ = in_double()
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([0.0, 0.0, -9.0, -9.0]))
    given = torch.tensor([0] * PROBES + [0, 1] * (COUNT // 2) + [0])
    same = replace(batch, x=batch.x[:, :1].expand_as(batch.x).contiguous(), given=given)
    found = verdict_of(method(network), network, torch.optim.SGD(network.parameters(), RATE), same)
    assert found.keeps.tolist() == (given[PROBES:] == 0).tolist()
    assert ((found.weights > 0) == (given[PROBES:] == 0)).all()


def test_statistics_move_by_what_is_learned_from_alone() -> None:
    network, batch = networks(1)[0].train(), replace(a_batch(B, 2, num_labeled=PROBES), own=2)
    other, seen = deepcopy(network), []
    hook = network.stem.register_forward_hook(lambda module, images, maps: seen.append(images[0]))  # type: ignore[union-attr, operator]
    optimizer = torch.optim.SGD(network.parameters(), RATE)
    method(network).losses(Forward(network, optimizer=optimizer), batch, a_step(0))
    hook.remove()
    assert [len(each) for each in seen] == [COUNT, COUNT, PROBES, 3 * COUNT]
    for each in (x for x in seen if len(x) != PROBES):
        other(each)
    for ours, theirs in zip(network.buffers(), other.buffers(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_samples_with_wrong_labels_count_less() -> None:
    """Images of one color a class; half of the labels are wrong."""
    generator, network = torch.Generator().manual_seed(0), networks(1)[0]
    truth = torch.arange(64) % 3
    x = torch.randn(2, 64, 3, 8, 8, generator=generator) + 3 * torch.eye(3)[truth][None, :, :, None, None]
    given = truth.clone()
    given[32::2] = (given[32::2] + 1) % 3
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9)
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(network(x[0]), given).backward()
        optimizer.step()
    whole = replace(a_batch(64, 2, num_labeled=16), x=x, given=given)
    forward = Forward(network, optimizer=optimizer)
    logits = forward.own(x[:1, 16:])[0]
    label = torch.eye(CLASSES)[given[16:]]
    found = method(network)._verdict(forward, logits, label, logits.softmax(-1), whole)
    right = (given == truth)[16:]
    assert float(found.weights[right].mean()) > 2 * float(found.weights[~right].mean())


def test_parts() -> None:
    logits = torch.randn(2, 6, CLASSES, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(of_unit_size(logits).square().mean((1, 2)), torch.ones(2))
    assert torch.allclose(guessed(logits, 0.5).sum(1), torch.ones(6))
    assert float(divergence(logits[0], logits[0])) == pytest.approx(0, abs=1e-6)
    assert float(divergence(logits[0], logits[1])) > 0


def test_the_average_predicts_with_the_statistics_of_the_network() -> None:
    network = networks(1)[0]
    made, before = method(network), deepcopy(network)
    with torch.no_grad():
        network.classifier.weight.add_(1)
        network.norm.running_mean.add_(2)  # type: ignore[union-attr, operator]
    for progress, keep in ((0.0, 0.1), (5.0, 21 / 30), (1e5, 0.999)):  # four steps an epoch
        average = deepcopy(made.averages[0])
        made.after_step([network], a_step(int(progress), progress=progress))
        (found,) = made.predictors([network])
        expected = keep * average.classifier.weight + (1 - keep) * network.classifier.weight  # type: ignore[union-attr, operator]
        assert isinstance(found, Network)
        assert torch.allclose(found.classifier.weight, expected, atol=1e-6)
        assert torch.equal(found.norm.running_mean, network.norm.running_mean)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(before.classifier.weight, network.classifier.weight)


def test_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"data\.trusted"):
        Distilling(settings_of("distilling"), a_task(N))
    made = method(networks(1)[0])
    draws = made.batches(torch.ones(N), a_step(0))
    assert sorted(torch.cat([d.positions[d.num_labeled :] for d in draws]).tolist()) == list(range(8, N))
    own = torch.cat([d.positions[: d.num_labeled] for d in draws])
    assert torch.bincount(own[:8] % CLASSES).tolist() == [2] * CLASSES
    assert set(own.tolist()) <= set(range(8))
