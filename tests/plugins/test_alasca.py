"""ALASCA against a slow, obvious implementation of its formulas; what it leaves alone; how it is kept and found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sanm.data import TrainingSet, prepare
from sanm.errors import InputError
from sanm.network import Network
from sanm.plugins.alasca import ALASCA, smoothed
from sanm.record.identity import run_name
from sanm.step import Batch, Forward, Look, Step
from sanm.trained_model import FILE_NAME, read_model
from sanm.training.trainer import Trainer
from tests.conftest import SMALL, config_of, record_of
from tests.every import tiny_trainer
from tests.methods.conftest import CLASSES, a_batch, a_step, a_task, networks
from tests.trained import run_in

N, B = 20, 6
CHOICE = ("plugin=alasca", "components=none")
NONE = torch.zeros(3)


def plugin_on(pair: list[Network], *overrides: str) -> ALASCA:
    made = ALASCA(config_of(*CHOICE, *overrides), a_task(N)._replace(networks=len(pair)), NONE, NONE)
    made.attach(pair, torch.zeros(2, 3, 8, 8))
    return made


def asked(made: ALASCA, network: Network, batch: Batch, step: Step) -> torch.Tensor:
    """The plug-in's loss after the method's pass of the batch."""
    forward = Forward(network, levels=True)
    forward(batch.x)
    return made.extra(forward, batch, Look([network], batch.x, "eval"), step)


@pytest.mark.parametrize("epoch", [0, 3, 40])
@pytest.mark.parametrize("model", ["preact_small", "resnet18"])
def test_three_steps_are_the_published_ones(epoch: int, model: str) -> None:
    """Value, gradients and memory; epoch 3 of 24 is half of the ramp, and 40 is behind it."""
    network = _network(model)
    made = plugin_on([network])
    heads = [network.heads[f"auxiliary{stage}"] for stage in (1, 2, 3)]
    memory: dict[int, torch.Tensor] = {}
    for seed in range(3):
        batch = a_batch(B, views=2, seed=seed)
        found = asked(made, network, batch, replace(a_step(epoch), epochs=24))

        *stages, last = network.maps(batch.x[0])
        main, slow = network.classifier(last.mean((2, 3))).detach(), torch.zeros(())
        answers = [head(maps).log_softmax(1) for head, maps in zip(heads, stages, strict=True)]
        for row, sample in enumerate(batch.index.tolist()):
            label = int(batch.given[row])
            memory[sample] = 0.7 * memory.get(sample, torch.zeros(CLASSES)) + 0.3 * main[row]
            s = torch.softmax(memory[sample] / 0.3333, 0)[label]
            r = min(1.0, epoch / 6)
            alpha = r * s + (1 - r)
            for answer in answers:
                for c in range(CLASSES):
                    q = alpha if c == label else (1 - alpha) / (CLASSES - 1)
                    slow = slow - 2.0 * q * answer[row, c] / B
        assert float(found.detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
        for name, one, other in _gradients(network, found, slow):
            assert torch.allclose(one, other, atol=1e-5), name
    for sample, logits in memory.items():
        assert torch.allclose(made.logits[0, sample], logits, atol=1e-5)
    assert not network.training


def _network(model: str) -> Network:
    from sanm.models import build

    torch.manual_seed(0)
    widths = [f"model.widths={[8, 8, 16, 16]}", "model.blocks=[1,1,1,1]"]
    return build(config_of(f"model={model}", *widths)["model"], 3, CLASSES).eval()


def _gradients(network: Network, fast: torch.Tensor, slow: torch.Tensor) -> list[tuple[str, Any, Any]]:
    names, parameters = zip(*((n, p) for n, p in network.named_parameters() if n != "classifier.weight"), strict=True)
    parts = [torch.autograd.grad(each, parameters, allow_unused=True) for each in (fast, slow)]
    return [
        (name, *pair) for name, *pair in zip(names, *parts, strict=True) if pair[0] is not None or pair[1] is not None
    ]


def test_targets_are_distributions_and_whole_labels_are_one_hot() -> None:
    given, kept = torch.tensor([0, 2, 3]), torch.tensor([1.0, 0.7, 0.1])
    targets = smoothed(given, kept, CLASSES)
    assert torch.allclose(targets.sum(-1), torch.ones(3))
    assert targets[0].tolist() == [1, 0, 0, 0]
    assert targets[1].tolist() == pytest.approx([0.1, 0.1, 0.7, 0.1])


def test_nothing_of_the_main_head_learns_from_it() -> None:
    network = networks(1)[0]
    asked(plugin_on([network]), network, a_batch(B), a_step(9)).backward()
    assert network.classifier.weight.grad is None
    assert all(each.grad is not None for each in network.heads.parameters())


def test_each_network_has_a_memory_of_its_own() -> None:
    pair = networks(2)
    made, batch = plugin_on(pair), a_batch(B)
    asked(made, pair[1], batch, a_step(9, 1))
    assert not made.logits[0].any()
    assert int(made.logits[1].any(-1).sum()) == B


def test_it_reads_the_methods_first_view_in_the_methods_own_pass() -> None:
    network, batch = networks(1)[0].train(), a_batch(B, views=2)
    made = plugin_on([network])
    asked(made, network, batch, a_step(9))
    assert int(network.norm.num_batches_tracked) == 1  # type: ignore[union-attr, arg-type]
    mixed = Forward(network, levels=True)
    mixed(batch.x.roll(1, 1))  # the method passed other images
    made.extra(mixed, batch, Look([network], batch.x, "eval"), a_step(9))
    assert int(network.norm.num_batches_tracked) == 2  # type: ignore[union-attr, arg-type]


def test_where_masked_views_replace_the_methods_it_sees_the_unmasked_ones() -> None:
    network, batch = networks(1)[0], a_batch(B)
    made, alike = plugin_on([network]), plugin_on([network])
    replaced = replace(batch, x=torch.zeros_like(batch.x), own=0)
    forward = Forward(network, levels=True)
    forward(replaced.x)
    found = made.extra(forward, replaced, Look([network], batch.x, "eval"), a_step(9))
    assert float(found.detach()) == pytest.approx(float(asked(alike, network, batch, a_step(9)).detach()), rel=1e-6)
    assert torch.allclose(made.logits, alike.logits)


def test_a_prediction_is_the_mean_of_the_main_logits_and_the_last_auxiliary_ones() -> None:
    network, x = _network("preact_small"), torch.rand(B, 3, 8, 8)
    plugin_on([network])
    levels = network.levels(x)
    expected = (network.head(levels[-1]) + network.heads["auxiliary3"](levels[2])) / 2
    assert torch.allclose(network(x), expected)
    assert torch.equal(network(x, alone=True), network.head(levels[-1]))
    plugin_on([alone := _network("preact_small")], "plugin.prediction=main")
    assert torch.equal(alone(x), alone(x, alone=True))


@pytest.mark.parametrize(
    ("prediction", "heads", "components"), [("mean", {"auxiliary1"}, "full"), ("main", set(), "none")]
)
def test_a_model_file_predicts_as_the_trainer_does(
    tmp_path: Path, prediction: str, heads: set[str], components: str
) -> None:
    words = ("base_method=coteaching", f"components={components}", "plugin=alasca", f"plugin.prediction={prediction}")
    directory = run_in(tmp_path, *words, "base_method.ensemble=true", "keep_checkpoint=true")
    config = config_of(*SMALL, *words, "base_method.ensemble=true")
    data = prepare(config["data"], config["noise"], tmp_path)
    trainer = Trainer(config, data.train, torch.device("cpu"))
    trainer.load(torch.load(directory.checkpoint, weights_only=True)["trainer"])
    model = read_model(directory.path / FILE_NAME)
    assert data.test is not None
    assert torch.equal(model.probabilities(data.test.images).argmax(-1), trainer.predict(data.test.images))
    content = torch.load(directory.path / FILE_NAME, weights_only=True)
    kept = {key.split(".")[1] for weights in content["networks"] for key in weights if key.startswith("heads.")}
    assert kept == heads
    assert len(model.networks) == 2


def test_clean_statistics_are_those_of_the_heads_that_predict_too(training_set: TrainingSet) -> None:
    made = tiny_trainer(training_set, "base_method=ce", *CHOICE, "trainer.statistics=clean")
    made.train_epoch(lambda step, steps: None)
    norms = [each for each in made.networks[0].heads.modules() if isinstance(each, torch.nn.BatchNorm2d)]  # type: ignore[union-attr]
    assert norms
    assert all(norm.running_var is not None and not (norm.running_var == 1).any() for norm in norms)


def test_a_run_is_named_by_its_plug_in_and_without_one_as_ever() -> None:
    plain, plugged = record_of("base_method=ce"), record_of("base_method=ce", "plugin=alasca")
    assert "plugin" not in plain
    assert run_name(plugged).startswith("ce-full-alasca-symmetric0.5-digits-seed1-")
    assert "alasca" not in run_name(plain)
    assert len({run_name(record_of(*CHOICE, "plugin.weight=1")), run_name(record_of(*CHOICE))}) == 2


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.widths=[8]", "model.widths"),
        ("plugin.weight=-1", "plugin.weight"),
        ("plugin.temperature=0", "plugin.temperature"),
        ("plugin.average=1.5", "plugin.average"),
        ("plugin.ramp_up=-2", "plugin.ramp_up"),
        ("plugin.prediction=both", "plugin.prediction"),
        ("+plugin.heads=3", "plugin.heads"),
    ],
)
def test_what_cannot_be_is_one_line(override: str, key: str) -> None:
    blocks = ("model.blocks=[1]",) if "widths" in override else ()
    with pytest.raises(InputError) as caught:
        config_of(*CHOICE, override, *blocks)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
