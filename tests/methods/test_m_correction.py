"""M-correction against slow formulas: what is believed, how it is mixed, and from when on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sanm.methods.m_correction import MCorrection
from sanm.parts.mixup import draw_mix
from sanm.step import Batch, Forward, Look
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

B = 6
WHEN = {"correct_from": 3, "mixed_first": 2, "sharpened_within": 10, "start": "means", "fit_steps": 20}


def method(**changes: Any) -> MCorrection:
    made = MCorrection(settings_of("m_correction", **{**WHEN, **changes}), a_task(24, B)._replace(epochs=30))
    made.table.copy_(torch.linspace(0.1, 0.9, len(made.table)))
    made.range.copy_(torch.tensor([0.5, 2.5]))
    return made


def doubt(made: MCorrection, loss: float) -> float:
    place = min(max((loss - 0.5) / 2.0, 0), 1)
    return float(made.table[min(int(place * 100), 99)])


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_label_gives_way_by_as_much_as_it_is_doubted(kind: str) -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(correction=kind)
    found = made.believe(batch, Look([network], batch.x, "eval"), a_step(5))
    probs = network(batch.x[0]).softmax(-1).detach()
    for row, label in enumerate(batch.given.tolist()):
        share = doubt(made, -float(probs[row, label].log()))
        said = torch.eye(CLASSES)[probs[row].argmax()] if kind == "hard" else probs[row]
        assert torch.allclose(found[row], (1 - share) * torch.eye(CLASSES)[label] + share * said, atol=1e-5)
    assert torch.equal(made.believe(batch, Look([network], batch.x, "eval"), a_step(2)), batch.y[0])


def test_the_loss_is_that_of_mixed_images_with_all_classes_wanted() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method()
    found = made.losses(Forward(network), batch, a_step(5, seed=1)).mean()
    mix = draw_mix(batch, 32.0, a_step(5, seed=1).random, first_prevails=False)
    total = torch.zeros(())
    probs = []
    for row in range(B):
        other = int(mix.partner[row])
        share = mix.coefficient
        logits = network((share * batch.x[0, row] + (1 - share) * batch.x[0, other])[None])[0]
        probs.append(logits.softmax(-1))
        total = total - share * logits.log_softmax(-1)[batch.given[row]]
        total = total - (1 - share) * logits.log_softmax(-1)[batch.given[other]]
    mean = torch.stack(probs).mean(0)
    prior = sum(((1 / CLASSES) / mean[c]).log() / CLASSES for c in range(CLASSES))
    slow = total / B + prior
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-5)
    same_gradients(network, found, slow)
    before = made.losses(Forward(network), batch, a_step(2, seed=1)).mean()
    assert float(before.detach()) == pytest.approx(float((total / B).detach()), abs=1e-5), "before, mixup alone"


def test_dynamic_the_cleaner_image_prevails_and_labels_have_half_each() -> None:
    batch = a_batch(B)
    made = method(correction="dynamic")
    mixed = made._mixed_by_doubt(batch, a_step(8, seed=2))
    mix = draw_mix(batch, 32.0, a_step(8, seed=2).random, first_prevails=False)
    for row in range(B):
        other = int(mix.partner[row])
        kept = float(batch.clean[row] / (batch.clean[row] + batch.clean[other]))
        image = kept * batch.x[0, row] + (1 - kept) * batch.x[0, other]
        assert torch.allclose(mixed.x[0, row], image, atol=1e-5)
        assert torch.allclose(mixed.y[0, row], (batch.y[0, row] + batch.y[0, other]) / 2)
    early = made._mixed_by_doubt(batch, a_step(4, seed=2))
    assert torch.allclose(early.y[0], mix(batch.y)[0]), "first, with a share that is drawn"
    assert torch.equal(early.x, mixed.x)


def test_dynamic_predictions_become_sharp() -> None:
    made = method(correction="dynamic")
    assert [made.temperature(epoch) for epoch in (3, 5, 10, 15, 29)] == pytest.approx([1, 1, 0.5005, 0.001, 0.001])
    assert method(correction="soft").temperature(29) == 1


def test_trust_is_what_is_not_doubted_and_a_fit_that_tells_nothing_apart_is_not_taken() -> None:
    made = method()
    survey = a_survey(networks(1), 240)
    before = made.table.clone()
    survey.knows(0, torch.zeros(240, CLASSES))
    alike = survey.on("none")
    alike.on = lambda pool: survey  # type: ignore[method-assign]
    trust = made.trust(alike, 0, a_step(5))
    assert torch.equal(made.table, before)
    assert torch.allclose(trust, 1 - made.doubt(survey.losses(0)))
    right = torch.arange(240) % 3 > 0
    logits = torch.nn.functional.one_hot(torch.where(right, survey.given, (survey.given + 1) % CLASSES), CLASSES) * 2.0
    survey.knows(0, logits + 0.5 * torch.randn(240, CLASSES, generator=torch.Generator().manual_seed(0)))
    trust = made.trust(alike, 0, a_step(5))
    assert not torch.equal(made.table, before)
    assert float(trust[right].mean()) > 0.9
    assert float(trust[~right].mean()) < 0.1


def test_masked_views_are_mixed_too_and_do_not_change_what_is_doubted() -> None:
    network, batch = networks(1)[0], replace(a_batch(B, views=2), own=1)
    assert method().losses(Forward(network), batch, a_step(5)).shape == (2, B)
    one: Batch = replace(batch, x=batch.x[:1], y=batch.y[:1])
    made = method()
    look = Look([network], batch.x[:1], "eval")
    assert torch.equal(made.believe(batch, look, a_step(5)), made.believe(one, look, a_step(5)))
