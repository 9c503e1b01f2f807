"""ProMix against slow, obvious implementations of its formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanm.errors import InputError
from sanm.methods.promix import CHOSEN, OTHERS, PSEUDO, ProMix
from sanm.network import Network
from sanm.parts.fmix import low_frequency_mask
from sanm.parts.mixup import draw_mix_within
from sanm.parts.some_rows import in_front, mean_over
from sanm.step import Batch, Forward, Look, Step, Task
from sanm.training.schedule import learning_rate
from tests.conftest import config_of
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

B, EPOCHS = 12, 60


def method(**changes: Any) -> tuple[ProMix, list[Network]]:
    pair = networks(2)
    made = ProMix(settings_of("promix", **{"sure_above": 0.4, "debias": 0.8, **changes}), a_task(60, 8))
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    for network in pair:
        network.eval()
        with torch.no_grad():
            network.classifier.weight.mul_(8)  # sure of something
    made.bias.copy_(torch.rand(2, 2, CLASSES, generator=torch.Generator().manual_seed(2)).softmax(-1))
    return made, pair


def a_step_of(epoch: int, network: int = 0) -> Step:
    return replace(a_step(epoch, network), epochs=EPOCHS)


# ---- which samples


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 1.0])
def test_of_each_class_those_of_smallest_loss_by_the_own_network(share: float) -> None:
    """A network reads what is estimated for its peer, which is therefore of its own losses."""
    given = torch.cat([torch.arange(54) % (CLASSES - 1), torch.full((6,), CLASSES - 1)])
    made = ProMix(settings_of("promix", kept_share=share), Task(given, CLASSES, 8, 60))
    survey = a_survey(networks(2), 60)
    survey.given = given
    for k in (0, 1):
        clean, losses = made.trust(survey, 1 - k, a_step_of(3, 1 - k)), survey.losses(k)
        scaled = (losses - losses.min()) / (losses.max() - losses.min())
        assert torch.allclose(clean, 1 - scaled)
        for c in range(CLASSES):
            own = sorted((i for i in range(60) if given[i] == c), key=lambda i: float(losses[i]))
            wanted = own[: math.ceil(share * 60 / CLASSES)]
            assert sorted(i for i in own if made.small[k, i]) == sorted(wanted)
        assert torch.equal(made.keeps_label(clean, 5), made.small[k])
    assert made.keeps_label(clean, 0).all(), "in the warm-up all are"


def slow_beliefs(
    made: ProMix, said: list[Tensor], batch: Batch, k: int, agreed: bool
) -> tuple[list[Tensor], list[bool]]:
    logits, probs, peer = said[k], said[k].softmax(-1), said[1 - k].softmax(-1)
    kept = [bool(made.small[k, batch.index[row]]) or float(probs[row, batch.given[row]]) > 0.4 for row in range(B)]
    chosen = list(kept)
    if agreed:
        both = [
            row
            for row in range(B)
            if not kept[row]
            and float(probs[row].max()) > 0.4
            and float(peer[row].max()) > 0.4
            and int(probs[row].argmax()) == int(peer[row].argmax())
        ]
        both.sort(key=lambda row: -float(probs[row].max() + peer[row].max()))
        for row in both[: max(0, int(0.9 * B) - sum(kept))]:
            chosen[row] = True
    found = []
    for row in range(B):
        predicted = int((logits[row] - 0.8 * made.bias[k, CHOSEN].log()).argmax())
        label = int(batch.given[row]) if kept[row] else predicted
        guess = (logits[row] - 0.8 * made.bias[k, OTHERS].log()).softmax(-1) ** 2
        found.append(torch.eye(CLASSES)[label] if chosen[row] else guess / guess.sum())
    return found, chosen


@pytest.mark.parametrize("small", [0, 3, 10])
@pytest.mark.parametrize(("epoch", "agreed"), [(34, False), (35, True)])
@pytest.mark.parametrize("network", [0, 1])
def test_what_is_believed_and_who_is_chosen(network: int, epoch: int, agreed: bool, small: int) -> None:
    """Small losses, sure labels; late in the run what both networks agree on, until the batch is nearly full."""
    (made, pair), batch = method(), a_batch(B, 2)
    made.small[network, batch.index[:small]] = True
    with torch.no_grad():
        said = [net(batch.x[0]) for net in pair]
    found = made.believe(batch, Look(pair, batch.x[:1], "eval"), a_step_of(epoch, network))
    beliefs, chosen = slow_beliefs(made, said, batch, network, agreed)
    assert torch.allclose(found, torch.stack(beliefs), atol=1e-5)
    assert made.chosen[network, batch.index].tolist() == chosen
    kept = sum(slow_beliefs(made, said, batch, network, False)[1])
    assert kept <= sum(chosen) <= max(int(0.9 * B), kept)


def test_an_even_bias_changes_nothing() -> None:
    (made, pair), batch = method(), a_batch(B, 2)
    made.bias.fill_(1 / CLASSES)
    look = Look(pair, batch.x[:1], "eval")
    first = made.believe(batch, look, a_step_of(10))
    second = ProMix({**made.settings, "debias": 0.0}, a_task(60, 8)).believe(batch, look, a_step_of(10))
    assert torch.allclose(first, second, atol=1e-6)


def test_chosen_rows_in_front_again_and_again() -> None:
    rows, first = in_front(torch.tensor([False, True, True, False, True, False, False, False]))
    assert rows.tolist() == [1, 2, 4, 1, 2, 4, 1, 2]
    assert first.tolist() == [True] * 3 + [False] * 5
    assert not in_front(torch.zeros(3, dtype=torch.bool))[1].any()
    assert float(mean_over(torch.tensor([True, False, True]), torch.tensor([1.0, 9.0, 2.0]))) == 1.5
    assert float(mean_over(torch.zeros(2, dtype=torch.bool), torch.ones(2))) == 0


# ---- a step


def slow_loss(made: ProMix, network: Network, batch: Batch, chosen: list[bool], epoch: int) -> Tensor:
    grown, guesses = min(1, epoch / 5), 0.1 * min(1, epoch / 10) if epoch < 10 else 0.0
    random, shift = a_step(0).random, 0.8 * made.bias[0].log()
    picked, rest = ([row for row in range(B) if chosen[row] == wanted] for wanted in (True, False))

    def said(image: Tensor, head: int) -> Tensor:
        pooled = network.features(image[None]).mean((2, 3))
        return (network.heads[PSEUDO] if head else network.classifier)(pooled)[0]

    def entropy(logits: Tensor, place: int, target: Tensor) -> Tensor:
        return -(target * (logits + shift[place]).log_softmax(-1)).sum()

    def mean(losses: list[Tensor]) -> Tensor:
        return torch.stack(losses).mean() if losses else torch.zeros(())

    total = torch.zeros(())
    for head in range(2):
        weak, strong = (
            mean([entropy(said(batch.x[view, row], head), CHOSEN, batch.y[0, row]) for row in picked])
            for view in (0, 1)
        )
        if not head and len(batch.x) > 2:
            masked = [
                mean([entropy(said(batch.x[view, row], 0), CHOSEN, batch.y[view, row]) for row in range(B)])
                for view in range(2, len(batch.x))
            ]
            weak = mean([weak, *masked])
        mix = draw_mix_within(torch.tensor([chosen]), 4.0, random)
        share = max(mix.coefficient, 1 - mix.coefficient)
        mixed = []
        for row in picked:
            other = int(mix.partner[row])
            image = share * batch.x[0, row] + (1 - share) * batch.x[0, other]
            target = share * batch.y[0, row] + (1 - share) * batch.y[0, other]
            mixed.append(entropy(said(image, head), CHOSEN, target))
        patches = draw_mix_within(torch.tensor([chosen]), 1.0, random)
        mask, beside = low_frequency_mask(batch.x, patches.coefficient, random).bool(), []
        for row in picked:
            other = int(patches.partner[row])
            logits = said(torch.where(mask, batch.x[0, row], batch.x[0, other]), head)
            own, others = (entropy(logits, CHOSEN, batch.y[0, each]) for each in (row, other))
            beside.append(patches.coefficient * own + (1 - patches.coefficient) * others)
        total = total + weak + grown * (strong + mean(mixed) + mean(beside))
    weak, strong = (
        mean([entropy(said(batch.x[view, row], 1), OTHERS, batch.y[0, row]) for row in rest]) for view in (0, 1)
    )
    return total + guesses * (weak + grown * strong)


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize(("epoch", "count"), [(3, 5), (7, 1), (30, 12), (4, 0)])
def test_the_loss_of_a_step(epoch: int, count: int, masked: int) -> None:
    """Both heads, as strong and mixed views come in, before and after guesses; with some, all or nobody chosen."""
    made, pair = method()
    chosen = [row % 2 == 0 and row < 2 * count for row in range(B)] if count < B else [True] * B
    batch = replace(a_batch(B, 2 + masked), own=2)
    generator = torch.Generator().manual_seed(5)
    labels = torch.eye(CLASSES)[torch.randint(CLASSES, (B,), generator=generator)]
    soft = torch.rand(B, CLASSES, generator=generator).softmax(-1)
    y = torch.where(torch.tensor(chosen)[:, None], labels, soft)
    batch = replace(batch, y=torch.stack([y, y, *[soft] * masked]))
    made.chosen[0, batch.index] = torch.tensor(chosen)
    expected = slow_loss(made, pair[0], batch, chosen, epoch)
    found = made.losses(Forward(pair[0]), batch, a_step_of(epoch)).mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=2e-5)
    if expected.requires_grad:
        found = found + 0 * sum(each.sum() for each in pair[0].parameters())
        expected = expected + 0 * sum(each.sum() for each in pair[0].parameters())
        same_gradients(pair[0], found, expected)


def test_the_bias_follows_what_is_said_of_chosen_samples_and_of_the_others() -> None:
    made, pair = method(bias_average=0.9)
    batch, before = a_batch(B, 2), made.bias.clone()
    chosen = torch.arange(B) < 5
    made.chosen[1, batch.index] = chosen
    made.losses(Forward(pair[1]), batch, a_step_of(4, 1))
    probs = pair[1](batch.x[0]).softmax(-1).detach()
    assert torch.equal(made.bias[0], before[0])
    for place, rows in ((CHOSEN, probs[:5]), (OTHERS, probs[5:])):
        assert torch.allclose(made.bias[1, place], 0.9 * before[1, place] + 0.1 * rows.mean(0), atol=1e-6)
    assert torch.allclose(made.bias.sum(-1), torch.ones(2, 2))
    made.chosen[1, batch.index] = True
    before = made.bias.clone()
    made.losses(Forward(pair[1]), batch, a_step_of(4, 1))
    assert torch.equal(made.bias[1, OTHERS], before[1, OTHERS]), "nobody was left"


def test_guesses_are_of_the_pass_that_learns() -> None:
    """Without moving statistics a second time."""
    _, pair = method()
    network, batch = pair[0].train(), a_batch(B, 2)
    before = {name: value.clone() for name, value in network.named_buffers()}
    seen = Look(pair, batch.x[:1], "untracked").logits(0)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert torch.allclose(seen, Forward(network).own(batch.x[:1]).detach(), atol=1e-6)


def test_masked_views_in_the_place_of_the_methods_own() -> None:
    made, pair = method()
    batch = replace(a_batch(B, 1), own=0, seen=torch.full((B, CLASSES), 1 / CLASSES))
    before = made.bias[0].clone()
    found = made.losses(Forward(pair[0]), batch, a_step_of(4)).mean()
    moved = 0.9999 * before[OTHERS] + 0.0001 / CLASSES  # nobody was chosen
    assert torch.allclose(made.bias[0], torch.stack([before[CHOSEN], moved]))
    logits = pair[0](batch.x[0]) + 0.8 * before[CHOSEN].log()
    expected = -(batch.y[0] * logits.log_softmax(-1)).sum(-1).mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_the_warm_up_is_of_weak_views() -> None:
    (made, pair), batch = method(), a_batch(B)
    found = made.losses(Forward(pair[0]), batch, a_step_of(1)).mean()
    slow = torch.nn.functional.cross_entropy(pair[0](batch.x[0]), batch.given)
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    assert [made.learns_from(epoch) for epoch in (1, 2)] == [["weak"], ["weak", "randaugment"]]
    assert [len(draw.positions) for draw in made.batches(torch.ones(60), a_step_of(1))] == [8] * 7 + [4]
    assert [len(draw.positions) for draw in made.batches(torch.ones(60), a_step_of(2))] == [8] * 7


# ---- settings


@pytest.mark.parametrize(
    ("noise", "kept", "sure", "debias"),
    [
        (("data=cifar10", "noise.rate=0.2"), 0.7, 0.99, 0.8),
        (("data=cifar10", "noise.rate=0.5"), 0.5, 0.99, 0.8),
        (("data=cifar10", "noise=asymmetric", "noise.rate=0.4"), 0.5, 0.99, 0.8),
        (("data=cifar100", "noise.rate=0.2"), 0.7, 0.95, 0.5),
        (("data=cifar100", "noise.rate=0.5"), 0.5, 0.95, 0.5),
    ],
)
def test_published_settings(noise: tuple[str, ...], kept: float, sure: float, debias: float) -> None:
    config = config_of("base_method=promix", "trainer=promix", *noise)
    own, trainer = config["base_method"], config["trainer"]
    assert (own["kept_share"], own["sure_above"], own["debias"]) == (kept, sure, debias)
    assert (trainer["epochs"], trainer["batch_size"]) == (600, 256)
    assert [learning_rate(epoch, trainer) for epoch in (0, 300)] == pytest.approx([0.05, 0.025025])
    made = ProMix(own, a_task(60, 8)._replace(epochs=600))
    at = [replace(a_step(epoch), epochs=600) for epoch in (10, 50, 99, 100)]
    assert [made._grown(step, 1) for step in at] == pytest.approx([0.2, 1, 1, 1])
    assert [made._weight_of_guesses(step) for step in at] == pytest.approx([0.01, 0.05, 0.099, 0])


def test_a_rate_that_nobody_has_tried_has_to_be_given() -> None:
    with pytest.raises(InputError, match=r"base_method\.kept_share"):
        config_of("base_method=promix", "data=cifar10", "noise.rate=0.35")
