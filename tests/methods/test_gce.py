"""GCE against slow, obvious implementations of its formulas; what is pruned, when, and by which network."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.data import TrainingSet
from sanm.errors import InputError, Interrupted
from sanm.methods.gce import GeneralizedCrossEntropy, generalized
from sanm.step import Batch, Forward, Task
from tests.conftest import config_of
from tests.every import same, tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of
from tests.trained import run_in

N, B = 20, 6
PRUNED = {"prune_from": 2, "prune_every": 3}


def method(**changes: Any) -> GeneralizedCrossEntropy:
    return GeneralizedCrossEntropy(settings_of("gce", **changes), a_task(N, B)._replace(epochs=12))


def test_a_plain_step_is_the_published_one() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(q=0.7)
    found = made.share([made.losses(Forward(network), batch, a_step(0))], [batch], a_step(0))[0]
    probs = network(batch.x[0]).softmax(1)
    slow = torch.stack([(1 - probs[row, label] ** 0.7) / 0.7 for row, label in enumerate(batch.given.tolist())]).mean()
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)


def test_its_ends_are_cross_entropy_and_the_mean_absolute_error() -> None:
    logits = torch.randn(B, CLASSES, dtype=torch.float64)
    log_probs, given = logits.log_softmax(-1), torch.arange(B) % CLASSES
    of_given = generalized(log_probs, 1e-7).gather(1, given[:, None])[:, 0]
    assert torch.allclose(of_given, cross_entropy(logits, given, reduction="none"), atol=1e-5)
    assert torch.allclose(generalized(log_probs, 1.0), 1 - log_probs.exp())


def test_what_is_improbable_has_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    generalized(logits.log_softmax(-1), 0.7)[0, 1].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_softened_label_has_the_mean_of_its_classes_losses() -> None:
    network, batch = networks(1)[0], a_batch(B, views=2)
    soft = torch.rand(2, B, CLASSES).softmax(-1)
    found = method(q=0.5).losses(Forward(network), Batch(**{**vars(batch), "y": soft}), a_step(3))
    for view in range(2):
        probs = network(batch.x[view]).softmax(1).detach()
        for row in range(B):
            slow = sum(float(soft[view, row, c]) * (1 - float(probs[row, c]) ** 0.5) / 0.5 for c in range(CLASSES))
            assert float(found[view, row].detach()) == pytest.approx(slow, abs=1e-5)


def test_pruned_only_what_is_probable_enough_learns() -> None:
    """The published loss: of those kept, less the loss of the bound; the mean is of all."""
    network, batch = networks(1)[0], a_batch(B)
    made = method(**PRUNED, q=0.7, prune_below=0.3)
    survey = a_survey([network], N)
    made.trust(survey, 0, a_step(2))
    probs = survey.probs(0)
    kept = [float(probs[sample, survey.given[sample]]) > 0.3 for sample in range(N)]
    assert made.kept.tolist() == kept
    assert any(kept)
    assert not all(kept)
    found = made.share([made.losses(Forward(network), batch, a_step(2))], [batch], a_step(2))[0]
    seen, total = network(batch.x[0]).softmax(1), torch.zeros(())
    for row, (sample, label) in enumerate(zip(batch.index.tolist(), batch.given.tolist(), strict=True)):
        if kept[sample]:
            total = total + (1 - seen[row, label] ** 0.7) / 0.7 - (1 - 0.3**0.7) / 0.7
    assert float(found.detach()) == pytest.approx(float(total.detach()) / B, abs=1e-6)
    same_gradients(network, found, total / B)


def test_pruned_from_an_epoch_on_and_again_after_an_interval() -> None:
    made, plain = method(**PRUNED), method()
    assert [epoch for epoch in range(12) if made.needs_clean_probability(epoch)] == [2, 5, 8, 11]
    assert not any(plain.needs_clean_probability(epoch) for epoch in range(12))
    published = Task(torch.zeros(9, dtype=torch.int64), CLASSES, 3, 9, epochs=120)
    made = GeneralizedCrossEntropy(settings_of("gce", prune_from=0.3333), published)
    assert [epoch for epoch in range(120) if made.needs_clean_probability(epoch)] == list(range(40, 120, 10))


def test_it_never_prunes_all_of_them() -> None:
    made = method(**PRUNED, prune_below=1.0)
    with pytest.warns(UserWarning, match="epoch 3: pruning"):
        made.trust(a_survey(networks(1), N), 0, a_step(2))
    assert made.kept.tolist() == [1.0] * N


def test_between_two_prunings_nothing_moves() -> None:
    made = method(**PRUNED)
    made.trust(a_survey(networks(1), N), 0, a_step(3))
    assert made.kept.tolist() == [1.0] * N


def test_samples_of_an_epoch_are_asked_in_each() -> None:
    made = GeneralizedCrossEntropy(settings_of("gce", **PRUNED), Task(torch.zeros(N).long(), CLASSES, B, 10, epochs=12))
    assert [epoch for epoch in range(5) if made.needs_clean_probability(epoch)] == [2, 3, 4]


def test_a_head_of_zeros_predicts_nothing_and_learns() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made = method(head="zero")
    made.attach([network], batch.x[0])
    assert not network(batch.x[0]).any()
    made.losses(Forward(network), batch, a_step(0)).mean().backward()
    assert network.classifier.weight.grad is not None
    assert network.classifier.weight.grad.any()


def test_the_best_network_prunes_and_not_the_last() -> None:
    best, last = networks(2)
    made = method(**PRUNED, prune_by="best", prune_below=0.3)
    made.attach([best], torch.zeros(2, 3, 8, 8))
    for network, accuracy in ((best, 40.0), (last, 39.0)):
        made.validated([network], accuracy)
    survey = a_survey([last], N)
    made.trust(survey, 0, a_step(2))
    by_best, by_last = (
        a_survey([each], N).probs(0).gather(1, survey.given[:, None])[:, 0] > 0.3 for each in (best, last)
    )
    assert made.kept.bool().tolist() == by_best.tolist() != by_last.tolist()
    assert not any(each.requires_grad for each in made.best.parameters())


def test_a_pruned_run_that_was_left_goes_on_bit_for_bit(training_set: TrainingSet) -> None:
    choice = ("base_method=gce", "components=none", "base_method.prune_from=1", "base_method.prune_every=2")
    choice = (*choice, "base_method.prune_below=0.26", "trainer.epochs=3")
    whole, made = (tiny_trainer(training_set, *choice) for _ in range(2))
    steps = iter(range(100))
    while whole.epochs_done < 3:
        whole.train_epoch(lambda *_: None)
    with suppress(Interrupted):
        while made.epochs_done < 3:
            made.train_epoch(lambda *_: None, stop=lambda: next(steps) == 12)
    gone_on = tiny_trainer(training_set, *choice)
    gone_on.load(made.state())
    while gone_on.epochs_done < 3:
        gone_on.train_epoch(lambda *_: None)
    assert isinstance(whole.method, GeneralizedCrossEntropy)
    assert 0 < float(whole.method.kept.mean()) < 1
    assert same(whole.state(), gone_on.state())


def test_the_best_by_noisy_labels_needs_some(tmp_path: Path) -> None:
    choice = ("base_method=gce", "components=none", "base_method.prune_by=best", "base_method.prune_from=1")
    choice = (*choice, "base_method.prune_below=0.12")
    with pytest.raises(InputError, match=r"base_method\.prune_by=best .* data\.validation=0\.1"):
        run_in(tmp_path / "without", *choice, "data.validation=0")
    with pytest.raises(InputError, match="held out"):
        run_in(tmp_path / "true", *choice, "data.validation=0.1", "noise=none")
    record = run_in(tmp_path / "with", *choice, "data.validation=0.1", "keep_checkpoint=true")
    saved = torch.load(record.checkpoint, weights_only=True)["trainer"]["modules"]
    assert float(saved["method.best.accuracy"]) == pytest.approx(record.result()["validation_accuracy"])


@pytest.mark.parametrize("wrong", ["q=0", "q=1.1", "head=one", "prune_by=test", "prune_below=0", "prune_from=0"])
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=rf"base_method\.{wrong}"):
        config_of("base_method=gce", f"base_method.{wrong}")
