"""Epochs of a balanced sample: what is drawn, that every method trains on it alone, and that a run goes on with it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sanm.errors import InputError, Interrupted
from sanm.methods.dividemix import DivideMix
from sanm.training.sampling import balanced_epoch
from sanm.training.trainer import Trainer
from tests.conftest import SMALL, config_of, small_training_set
from tests.every import METHODS

QUICK = (*SMALL, "trainer.epochs=3", "trainer.epoch_samples=64", "trainer.batch_size=16", "trainer.milestones=[]")


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=2, max_size=6),
    size=st.integers(1, 120),
    epoch=st.integers(0, 5),
)
def test_as_many_of_each_class_as_there_are(sizes: list[int], size: int, epoch: int) -> None:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))]
    drawn = balanced_epoch(labels, len(sizes), size, 7, epoch)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    share, rest = divmod(size, len(sizes))
    counts = torch.bincount(labels[drawn], minlength=len(sizes)).tolist()
    for count, there in zip(counts, sizes, strict=True):
        assert count in (min(there, share), min(there, share + 1))
    assert sum(count > min(there, share) for count, there in zip(counts, sizes, strict=True)) <= rest


def test_drawn_anew_each_epoch_and_seed_and_the_same_again() -> None:
    labels = torch.arange(400) % 4
    first = balanced_epoch(labels, 4, 80, 1, 0)
    assert torch.equal(first, balanced_epoch(labels, 4, 80, 1, 0))
    for seed, epoch in ((1, 1), (2, 0)):
        assert len(set(first.tolist()) & set(balanced_epoch(labels, 4, 80, seed, epoch).tolist())) < 40
    union = {position for epoch in range(40) for position in balanced_epoch(labels, 4, 80, 1, epoch).tolist()}
    assert len(union) > 390, "over the epochs nearly all are seen"


def trainer_of(*overrides: str) -> Trainer:
    return Trainer(config_of(*QUICK, *overrides), small_training_set(), torch.device("cpu"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_measures_on_the_sample_alone(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(f"base_method={method}", "noise=symmetric", "pretrain=none")
    trusted = small_training_set().trusted.nonzero()[:, 0]
    seen: list[set[int]] = []
    step, plain = trainer._train_step, trainer.bank.plain

    def remembering(turn: Any, draw: Any, *rest: Any) -> Any:
        seen[-1].update(draw.positions.tolist())
        return step(turn, draw, *rest)

    def measuring(index: Any) -> Any:
        seen[-1].update(index.tolist())
        return plain(index)

    monkeypatch.setattr(trainer, "_train_step", remembering)
    monkeypatch.setattr(trainer.bank, "plain", measuring)
    for epoch in range(3):
        seen.append(set())
        summary = trainer.train_epoch(lambda *_: None)
        assert summary.drawn is not None
        expected = sorted({*balanced_epoch(trainer.given, 4, 64, 1, epoch).tolist(), *trusted.tolist()})
        assert summary.drawn.tolist() == expected
        assert seen[-1] <= set(expected)
        if not isinstance(trainer.method, DivideMix):  # which takes a pass over the labeled ones
            assert len(seen[-1]) > len(expected) - 16  # some methods leave out a batch that is not full
        assert 0 < summary.labeled_fraction <= 1
    seen.append(set())
    trainer.measure_and_predict()
    assert seen[-1] == set(range(160)), "the record is of all"


@pytest.mark.parametrize("method", ["ce", "dividemix"])
@pytest.mark.parametrize("stop_after", [1, 5])
def test_an_interrupted_run_goes_on_bit_by_bit(method: str, stop_after: int) -> None:
    whole = trainer_of(f"base_method={method}", "components=full")
    for _ in range(3):
        whole.train_epoch(lambda *_: None)
    first = trainer_of(f"base_method={method}", "components=full")
    steps = iter(range(100))
    with suppress(Interrupted):
        while first.epochs_done < 3:
            first.train_epoch(lambda *_: None, stop=lambda: next(steps) == stop_after)
    assert first.epochs_done < 3
    second = trainer_of(f"base_method={method}", "components=full")
    second.load(first.state())
    while second.epochs_done < 3:
        second.train_epoch(lambda *_: None)
    other = second.state_dict()
    for key, value in whole.state_dict().items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, other[key]), key


def test_a_sample_as_large_as_the_set_is_no_sample() -> None:
    trainer = trainer_of("base_method=ce", "trainer.epoch_samples=160")
    assert trainer.train_epoch(lambda *_: None).drawn is None


def test_what_is_known_of_the_others_stays() -> None:
    trainer = trainer_of("base_method=dividemix", "components=none", "base_method.warm_up=0")
    trainer.train_epoch(lambda *_: None)
    drawn = torch.cat([balanced_epoch(trainer.given, 4, 64, 1, 0), small_training_set().trusted.nonzero()[:, 0]])
    others = torch.ones(160, dtype=torch.bool).index_fill(0, drawn, False)
    assert (trainer.quality.probability[:, others] == 1).all()
    assert not (trainer.quality.probability[:, drawn] == 1).all()


def test_a_method_is_told_how_many_samples_an_epoch_has() -> None:
    assert trainer_of("base_method=ce").method.epoch_samples == 64


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("trainer.epoch_samples=15",), r"trainer\.epoch_samples=15 is less than trainer\.batch_size=16; raise it"),
        (("quality.window=5",), r"trainer\.epoch_samples=64 has other samples each epoch, .* set quality\.window=1"),
        (("trainer.epoch_samples=0",), r"trainer\.epoch_samples=0"),
    ],
)
def test_what_does_not_go_together(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_of(*QUICK, *overrides)
