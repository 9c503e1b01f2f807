"""MLC against a slow implementation: explicit steps of the main network, central differences for the corrector."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.errors import InputError
from sanm.methods.mlc import MetaLabelCorrection
from sanm.network import Network
from sanm.step import Batch, Forward
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B, PROBES, TRUSTED = 24, 12, 3, 6
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


def method(network: Network, **changes: Any) -> MetaLabelCorrection:
    """In double precision, its corrector away from where it starts."""
    trusted = torch.arange(N) < TRUSTED
    made = MetaLabelCorrection(settings_of("mlc", **changes), a_task(N, 6)._replace(trusted=trusted))
    torch.manual_seed(1)
    made.attach([network], torch.zeros(2, 3, 8, 8))
    return made.double()


def in_double(views: int = 1) -> tuple[Network, Batch, torch.optim.SGD]:
    """A network without batch statistics and without kinks, and an optimizer that has moved already."""
    network, batch = networks(1)[0].double(), a_batch(B, views, num_labeled=2 * PROBES, seed=2)
    batch = replace(batch, x=batch.x.double(), y=batch.y.double())
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight += 0.01 * name.endswith("bias")
    cross_entropy(network(batch.x[0]), batch.given).backward()
    optimizer.step()
    optimizer.zero_grad()
    return network, batch, optimizer


def slow_loss(network: Network, made: MetaLabelCorrection, batch: Batch, fixed: Tensor | None = None) -> Tensor:
    """What the main network learns from, a row at a time; of the first view."""
    n, total = batch.num_labeled, torch.zeros((), dtype=torch.float64)
    for row in range(PROBES, len(batch.given)):
        image, given = batch.x[0, row : row + 1], batch.given[row : row + 1]
        logp = network(image)[0].log_softmax(0)
        if row < n:
            total = total - logp[int(given)]
            continue
        features = network.features(image).mean((2, 3)).detach()
        target = made.corrector(features, given)[0].double() if fixed is None else fixed[row - n]
        for k in range(CLASSES):
            total = total - target[k] * logp[k]
    return total / (len(batch.given) - PROBES)


def loss_ahead(network: Network, optimizer: torch.optim.SGD, made: MetaLabelCorrection, batch: Batch) -> float:
    """The loss of the first trusted rows after a real step of the optimizer, which is then taken back."""
    ahead = deepcopy(network)
    copied = torch.optim.SGD(ahead.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    copied.load_state_dict(deepcopy(optimizer.state_dict()))
    slow_loss(ahead, made, batch).backward()
    copied.step()
    return float(cross_entropy(ahead(batch.x[0, :PROBES]), batch.given[:PROBES]).detach())


def learned(made: MetaLabelCorrection, network: Network, batch: Batch, optimizer: torch.optim.SGD) -> Tensor:
    forward = Forward(network, optimizer=optimizer)
    return made.share([made.losses(forward, batch, a_step(0))], [batch], a_step(0))[0]


@pytest.mark.parametrize("skip", [False, True])
def test_the_main_network_learns_the_corrected_labels_and_half_of_the_trusted(skip: bool) -> None:
    network, batch, optimizer = in_double()
    made = method(network, skip=skip)
    found = learned(made, network, batch, optimizer)
    slow = slow_loss(network, made, batch)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-9)
    same_gradients(network, found, slow)


@pytest.mark.parametrize("skip", [False, True])
def test_the_corrector_learns_what_a_step_of_the_optimizer_does_to_the_trusted_loss(skip: bool) -> None:
    network, batch, optimizer = in_double()
    made = method(network, skip=skip)
    learned(made, network, batch, optimizer).backward()
    made.after_backward(network, a_step(0))
    small = 1e-5
    found = {
        name: each.grad.flatten().clone() for name, each in made.corrector.named_parameters() if each.grad is not None
    }
    for name, parameter in made.corrector.named_parameters():
        place = int(found[name].abs().argmax())  # one that counts
        values = []
        for change in (small, -small):
            with torch.no_grad():
                parameter.view(-1)[place] += change
            values.append(loss_ahead(network, optimizer, made, batch))
            with torch.no_grad():
                parameter.view(-1)[place] -= change
        slope = (values[0] - values[1]) / (2 * small)
        assert float(found[name][place]) == pytest.approx(slope, rel=1e-3, abs=1e-9), name


def test_nothing_of_the_look_ahead_stays() -> None:
    network, batch, optimizer = in_double()
    network.train()
    other, state = deepcopy(network), deepcopy(optimizer.state_dict())
    made = method(network, gathered_steps=3)
    made.steps = 1
    learned(made, network, batch, optimizer)
    n = batch.num_labeled
    other(batch.x[0, PROBES:n])
    other(batch.x[0, n:])
    for ours, theirs in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    now = optimizer.state_dict()["state"]
    assert all(torch.equal(now[k]["momentum_buffer"], each["momentum_buffer"]) for k, each in state["state"].items())


def test_gradients_are_gathered_with_a_discount_and_then_forgotten() -> None:
    network, batch, optimizer = in_double()
    single = method(network)
    learned(single, network, batch, optimizer)
    gradient = single.gradient.clone()

    def of_probes(made: Network) -> Tensor:
        loss = cross_entropy(made(batch.x[0, :PROBES]), batch.given[:PROBES])
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(made.parameters()))])

    ahead = deepcopy(network)
    copied = torch.optim.SGD(ahead.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    copied.load_state_dict(deepcopy(optimizer.state_dict()))
    slow_loss(ahead, single, batch).backward()
    copied.step()
    now, later = of_probes(network), of_probes(ahead)
    discount = (1 - RATE) * (now @ later) / (now @ now)

    made = method(network, gathered_steps=2)
    for step in range(4):
        learned(made, network, batch, optimizer)
        made.zero_grad()
        made.after_backward(network, a_step(0))
        expected = gradient if step % 2 == 0 else gradient + discount * gradient
        assert torch.allclose(made.gradient, expected, atol=1e-10)
        given = [each.grad for each in made.corrector.parameters()]
        if step % 2 == 0:
            assert given == [None] * len(given)
        else:
            assert torch.equal(torch.cat([each.flatten() for each in given if each is not None]), made.gradient)
    made.steps = 1
    other = method(network, gathered_steps=2)
    other.load_state_dict(made.state_dict())
    assert other.steps == 1


def test_labels_are_distributions_and_with_all_kept_those_that_are_given() -> None:
    made = method(networks(1)[0], skip=True)
    given = torch.arange(CLASSES)
    features = torch.randn(CLASSES, 8, dtype=torch.float64)
    assert torch.allclose(made.corrector(features, given).sum(1), torch.ones(CLASSES, dtype=torch.float64))
    with torch.no_grad():
        made.corrector.layers[-1].bias[-1] = 1e3
    assert torch.equal(made.corrector(features, given), torch.eye(CLASSES, dtype=torch.float64))


def test_views_of_plug_ins_learn_what_the_corrector_last_said() -> None:
    network, batch, optimizer = in_double(views=2)
    made = method(network)
    plugged = replace(batch, own=1, y=torch.stack([batch.y[0], torch.full_like(batch.y[0], 1 / CLASSES)]))
    losses = made.losses(Forward(network, optimizer=optimizer), plugged, a_step(0))
    scale = B / (B - PROBES)
    assert not losses[:, :PROBES].any()
    for row in range(PROBES, B):
        slow = -network(batch.x[1, row : row + 1])[0].log_softmax(0).mean()
        assert float(losses[1, row].detach()) == pytest.approx(scale * float(slow.detach()), abs=1e-9)
    rows = batch.index[batch.num_labeled :]
    features = network.features(batch.x[0, batch.num_labeled :]).mean((2, 3))
    said = made.corrector(features, batch.given[batch.num_labeled :]).detach()
    assert torch.allclose(made.targets.of(rows).float(), said.float())
    trust = made.trust(a_survey([network], N), 0, a_step(0))
    for row, position in enumerate(rows.tolist()):
        assert float(trust[position]) == pytest.approx(float(said[row, position % CLASSES]), abs=1e-6)
    seen = set(rows.tolist())
    assert all(float(trust[position]) == 1 for position in range(N) if position not in seen)


def test_trusted_samples_take_turns_and_are_apart_from_the_others() -> None:
    trusted = torch.arange(N) < 8
    made = MetaLabelCorrection(settings_of("mlc"), a_task(N, 6)._replace(trusted=trusted))
    draws = made.batches(torch.ones(N), a_step(0))
    others = torch.cat([draw.positions[draw.num_labeled :] for draw in draws])
    assert sorted(others.tolist()) == list(range(8, N))
    own = torch.cat([draw.positions[: draw.num_labeled] for draw in draws])
    assert [draw.num_labeled for draw in draws] == [6, 6, 6]
    assert sorted(own[:8].tolist()) == sorted(own[8:16].tolist()) == list(range(8))
    assert all(sorted((each % CLASSES).tolist()) == list(range(CLASSES)) for each in own[:16].split(4))


def test_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"data\.trusted"):
        MetaLabelCorrection(settings_of("mlc"), a_task(N))
    network, batch, _ = in_double()
    adam = torch.optim.Adam(network.parameters())
    with pytest.raises(InputError, match=r"trainer\.optimizer.*sgd"):
        method(network).losses(Forward(network, optimizer=adam), batch, a_step(0))
