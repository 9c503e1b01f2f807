"""trainer.compile: no part of a run that leaves it off, part of one that asks for it, one line where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.machine.compilation import check_compiler, compile_networks
from sanm.network import Compute, Network
from sanm.record.identity import identity, run_name
from sanm.training import trainer as trainer_module
from sanm.training.trainer import Trainer
from tests.conftest import config_of

CPU = torch.device("cpu")


def test_a_run_that_compiles_is_another_run_and_one_that_does_not_keeps_its_name() -> None:
    plain, compiled = (identity(config_of(*words)) for words in ((), ("trainer.compile=true",)))
    assert "compile" not in plain["trainer"]
    assert compiled["trainer"]["compile"] is True
    assert run_name(plain) != run_name(compiled)


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("No working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError) as caught:
        check_compiler(CPU)
    assert str(caught.value).startswith("trainer.compile=true: nothing can be compiled for device=cpu (No working")
    assert "\n" not in str(caught.value)


def test_every_network_is_compiled_and_its_state_keeps_its_names(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(trainer_module, "check_compiler", lambda device: None)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: asked.append(function) or function)
    words = ("base_method=elr_plus", "trainer.batch_size=32", "model.widths=[8]", "model.blocks=[1]")
    compiled = Trainer(config_of(*words, "trainer.compile=true"), training_set, CPU)
    assert {network.way for network in compiled._all_networks()} == {compiled.networks[0].way}
    assert len(compiled._all_networks()) == 4, "the two that learn and the average of each"
    assert len(asked) == 2, "the last map, and the maps of all stages"
    plain = Trainer(config_of(*words), training_set, CPU)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    plain.load(compiled.state())


def test_the_size_alone_says_whether_a_batch_meets_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sizes(Network):
        def maps(self, x: Tensor) -> Iterator[Tensor]:
            yield x

    asked: list[int] = []

    def compiling(function: Compute, dynamic: bool) -> Compute:
        assert not dynamic, "of a size each: which code runs must not depend on the sizes that came before"

        def compiled(network: Network, x: Tensor) -> tuple[Tensor, ...]:
            asked.append(len(x))
            return function(network, x)

        return compiled

    monkeypatch.setattr(torch, "compile", compiling)
    network = Sizes()
    compile_networks([network], batch_size=32, scanned=500)
    for count in (0, 1, 31, 32, 33, 64, 96, 499, 500):
        assert len(network.features(torch.ones(count))) == count
    assert asked == [32, 64, 96, 500]


@pytest.mark.slow
def test_a_compiled_run_learns_what_the_plain_one_does(training_set: TrainingSet) -> None:
    words = ("base_method=ce", "components=none", "trainer.batch_size=32", "model.widths=[8]", "model.blocks=[1]")
    made = [Trainer(config_of(*words, f"trainer.compile={on}"), training_set, CPU) for on in ("false", "true")]
    plain, compiled = (each.train_epoch(lambda step, steps: None).loss for each in made)
    assert compiled == pytest.approx(plain, rel=1e-3)
