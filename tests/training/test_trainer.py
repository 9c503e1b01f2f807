"""The shared trainer: a plain method stays plain, a resumed run is the same run, no true label is within reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from sanm.data import TrainingSet
from sanm.data.augment import ImageBank
from sanm.errors import DivergedError, InputError, Interrupted
from sanm.models import build
from sanm.record import checkpoint
from sanm.step import Random
from sanm.training.trainer import Trainer
from tests.conftest import config_of, small_training_set
from tests.every import ENDS, EPOCHS, METHODS, TINY, WITHOUT, same, tiny_trainer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
PARTS_OF_SANM = [
    (method, (f"components={components}",))
    for method in ("ce", "dividemix")
    for components in ("amg", "amg_nlr", "amg_smr", "full")
]


def trainer(training_set: TrainingSet, *overrides: str) -> Trainer:
    return tiny_trainer(training_set, *overrides)


def train(made: Trainer, epochs: int) -> Trainer:
    for _ in range(epochs):
        made.train_epoch(lambda step, steps: None)
    return made


@cache
def whole(method: str, parts: tuple[str, ...]) -> Trainer:
    """Trained in one go. Tests compare with it and leave it as it is."""
    return train(trainer(small_training_set(), f"base_method={method}", *parts), EPOCHS)


def test_cross_entropy_without_components_is_the_plain_loop_bit_for_bit(training_set: TrainingSet) -> None:
    made = train(trainer(training_set, "base_method=ce", "components=none"), 2)

    config = config_of(*TINY, "base_method=ce", "components=none")
    torch.manual_seed(config["seed"])
    network = build(config["model"], 3, 4).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)
    bank, random = ImageBank(training_set, config["data"]["augment"], CPU), Random(config["seed"], CPU)
    for _ in range(2):
        for index in torch.from_numpy(random.host.permutation(160)).split(32):
            images = bank.views("weak", 1, bank.find(index), random)[0]
            targets = torch.nn.functional.one_hot(training_set.given_labels[index], 4).float()
            loss = -(targets * network(images).log_softmax(-1)).sum(-1)[None].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert same(dict(made.networks[0].state_dict()), dict(network.state_dict()))


@pytest.mark.parametrize("method", METHODS)
def test_components_that_never_start_change_nothing(training_set: TrainingSet, method: str) -> None:
    idle = train(trainer(training_set, f"base_method={method}", "components=amg_nlr", "components.start=9"), EPOCHS)
    assert same(dict(whole(method, WITHOUT).state_dict()), dict(idle.state_dict()))


@pytest.mark.parametrize(("method", "parts"), [*ENDS, *PARTS_OF_SANM])
def test_left_at_every_border_and_in_every_epoch_it_goes_on_bit_for_bit(
    training_set: TrainingSet, method: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    choice = (f"base_method={method}", *parts)
    made = trainer(training_set, *choice)
    while made.epochs_done < EPOCHS:
        left = made.epochs_done
        with suppress(Interrupted):
            train_until(made, after_steps(2))
        made = gone_on_with(made, trainer(training_set, *choice), tmp_path)
        if made.epochs_done == left:
            made = gone_on_with(train(made, 1), trainer(training_set, *choice), tmp_path)
    assert same(whole(method, parts).state(), made.state())


def after_steps(steps: int) -> Callable[[], bool]:
    left = iter([False] * (steps - 1) + [True])
    return lambda: next(left, False)


def gone_on_with(left: Trainer, fresh: Trainer, folder: Path) -> Trainer:
    """``fresh``, with all that a checkpoint keeps of the other."""
    checkpoint.save(folder / "checkpoint.pt", {"trainer": left.state(), "rows": []})
    checkpoint.resume(folder / "checkpoint.pt", fresh.load, {})
    return fresh


def train_until(made: Trainer, stop: Callable[[], bool]) -> None:
    made.train_epoch(lambda step, steps: None, stop)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("strategy", ["adaptive", "fixed", "random"])
def test_every_variant_and_strategy_trains(training_set: TrainingSet, variant: str, strategy: str) -> None:
    made = trainer(training_set, "components=full", f"variant={variant}", f"mask_strategy={strategy}")
    summaries = [made.train_epoch(lambda step, steps: None) for _ in range(2)]
    assert all(summary.loss > 0 for summary in summaries)


@pytest.mark.parametrize("guess_mode", ["split", "merged", "eval"])
def test_guess_mode_says_whether_looking_moves_batch_statistics(training_set: TrainingSet, guess_mode: str) -> None:
    choice = ("base_method=ce", "components=amg", "components.start=0", f"base_method.guess_mode={guess_mode}")
    made = train(trainer(training_set, *choice), 1)
    tracked = int(made.networks[0].norm.num_batches_tracked)  # type: ignore[union-attr, arg-type]
    assert tracked == (5 if guess_mode == "eval" else 10)


@pytest.mark.parametrize("pool", ["none", "autoaugment", "randaugment", "simclr"])
def test_own_pool_for_guessing_and_for_learning(training_set: TrainingSet, pool: str) -> None:
    for key in ("guess_on", "learn_from"):
        choice = (f"base_method.{key}={pool}", "components=full")
        twice = [train(trainer(training_set, *choice), 2) for _ in range(2)]
        assert same(twice[0].state(), twice[1].state())


def test_bf16_trains(training_set: TrainingSet) -> None:
    made = trainer(training_set, "base_method=ce", "components=full", "trainer.precision=bf16")
    assert made.train_epoch(lambda step, steps: None).loss > 0


@pytest.mark.parametrize("method", ["ce", "dividemix"])
def test_bf16_reaches_every_weight_after_a_look_without_gradient(training_set: TrainingSet, method: str) -> None:
    """The look casts the same weights in the same autocast; its copies must not stand in for those of the loss."""
    choice = (f"base_method={method}", "components=full", "components.start=0", "trainer.precision=bf16")
    made = train(trainer(training_set, *choice, "base_method.warm_up=0"), 1)
    for network in made.networks:
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.any(), name


def test_learns_what_can_be_learned(training_set: TrainingSet) -> None:
    made = train(trainer(training_set, "base_method=ce", "components=full", "trainer.epochs=12"), 12)
    truth = torch.arange(160) % 4
    assert float((made.predict(training_set.images) == truth).float().mean()) > 0.8


def test_a_loss_that_is_not_finite_is_told_with_epoch_and_step(training_set: TrainingSet) -> None:
    made = train(trainer(training_set, "base_method=ce", "components=none"), 1)
    with torch.no_grad():
        made.networks[0].classifier.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(DivergedError, match="epoch 2"):
        made.train_epoch(lambda step, steps: None)
    made = trainer(training_set, "base_method=ce", "components=none", "trainer.lr=1e30", "quality.every=0")
    with pytest.raises(DivergedError, match=r"epoch 1, step [2-5]"):
        made.train_epoch(lambda step, steps: None)


def test_nothing_that_trains_is_given_true_labels(training_set: TrainingSet) -> None:
    names = {field.name for field in dataclasses.fields(TrainingSet)}
    assert "given_labels" in names
    assert not any("true" in name or "clean" in name for name in names)


def test_scan_is_the_loss_of_the_given_labels_without_augmentation(training_set: TrainingSet) -> None:
    made = train(trainer(training_set, "base_method=ce", "components=none"), 1)
    network = made.networks[0].eval()
    x = (training_set.images.float() / 255 - 0.25) / 0.2
    expected = cross_entropy(network(x), training_set.given_labels, reduction="none")
    made.measure()
    estimate = made.quality.estimates[0]
    assert estimate is not None
    assert torch.allclose(estimate.losses, expected, atol=1e-4)


def test_last_partial_batch_of_one_joins_its_neighbour(training_set: TrainingSet) -> None:
    odd = dataclasses.replace(
        training_set, images=training_set.images[:97], given_labels=training_set.given_labels[:97]
    )
    made = Trainer(config_of(*TINY, "base_method=ce", "components=none"), odd, CPU)
    assert made.train_epoch(lambda step, steps: None).images == 97


def test_a_checkpoint_of_another_kind_of_device_is_not_called_broken(tmp_path: Path) -> None:
    begun = Random(0, CPU).state() | {"device": torch.zeros(16, dtype=torch.uint8)}
    checkpoint.save(tmp_path / "checkpoint.pt", {"trainer": begun, "rows": []})
    with pytest.raises(InputError, match=r"device than cpu"):
        checkpoint.resume(tmp_path / "checkpoint.pt", Random(0, CPU).load, {})


def test_a_lack_of_memory_is_not_blamed_on_the_checkpoint(tmp_path: Path) -> None:
    def load(state: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    checkpoint.save(tmp_path / "checkpoint.pt", {"trainer": {}, "rows": []})
    with pytest.raises(torch.OutOfMemoryError):
        checkpoint.resume(tmp_path / "checkpoint.pt", load, {})
