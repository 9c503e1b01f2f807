"""Masks by a frozen network: what it sees, that it stays as it is, and what is refused before anything trains."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.models import ResNet18_Weights, resnet18

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.fetch import check_mask_weights
from sanm.models import build
from sanm.network import Network
from sanm.plugins.sanm import SANM
from sanm.plugins.sanm.amg import Masks
from sanm.plugins.sanm.mask_source import FrozenSource, source_of
from sanm.record.identity import PUBLISHED_MASK_WEIGHTS
from sanm.step import Look, Random, Step
from sanm.training.trainer import Trainer
from tests.conftest import Command, config_of, record_of
from tests.training.test_trainer import same, train, trainer

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
CACHED = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 that was never trained, as torchvision would save it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        state = resnet18(weights=None).state_dict()
    file = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save(state, file)
    return file


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's; where its weights belong."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / CACHED


def chosen(weights: Path | str | None, *overrides: str) -> tuple[str, ...]:
    file = "null" if weights is None else str(weights)
    return ("mask_source=pretrained", f"mask_source.weights={file}", "mask_source.input_size=64", *overrides)


def source(weights: Path, mean: Tensor = MEAN, std: Tensor = STD) -> FrozenSource:
    return FrozenSource({"network": "resnet18", "weights": str(weights), "input_size": 64}, mean, std)


def learning_network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build({"name": "preact_resnet", "widths": [8, 16], "blocks": [1, 1]}, 3, 4).eval()


def pixels(batch: int = 6, size: int = 24) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(3))


def normalised(images: Tensor) -> Tensor:
    return (images - MEAN[:, None, None]) / STD[:, None, None]


def expected_map(weights: Path, images: Tensor, kind: str) -> Tensor:
    """The activation map of images in [0, 1], by torchvision's own network and hooks."""
    network = resnet18(weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    seen: dict[str, Tensor] = {}
    network.layer4.register_forward_hook(lambda module, given, found: seen.update(maps=found))
    shown = interpolate(images, (64, 64), mode="bilinear", align_corners=False, antialias=True)
    imagenet = ResNet18_Weights.IMAGENET1K_V1.transforms()
    shown = (shown - torch.tensor(imagenet.mean)[:, None, None]) / torch.tensor(imagenet.std)[:, None, None]
    with torch.no_grad():
        best = network.eval()(shown).argmax(1)
    maps = seen["maps"]
    if kind == "class":
        found = torch.stack([(network.fc.weight[c][:, None, None] * m).sum(0) for c, m in zip(best, maps, strict=True)])
    else:
        found = (maps**2).sum(1)
    return interpolate(found[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()


@pytest.mark.parametrize("kind", ["class", "energy"])
def test_activation_is_that_of_torchvisions_network_on_imagenets_pixels(weights: Path, kind: str) -> None:
    config = config_of(f"variant.activation={kind}")
    masks = Masks(config["tau"], config["mask_strategy"], config["variant"], MEAN, STD, source(weights))
    network = learning_network()
    look = Look([network], normalised(pixels())[None], "eval")
    found, expected = masks.activation(look, network, 0), expected_map(weights, pixels(), kind)
    assert found.shape == (6, 24, 24)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_masks_lie_where_the_frozen_network_looks(weights: Path) -> None:
    config, network = config_of("mask_strategy.aspect=1", "tau.value=0.02"), learning_network()
    look = Look([network], normalised(pixels())[None], "eval")
    peaks = expected_map(weights, pixels(), "class").flatten(1).argmax(1)

    def painted(settings: dict[str, Any]) -> Tensor:
        made = Masks(
            config["tau"], config["mask_strategy"], config["variant"], MEAN, STD, source_of(settings, MEAN, STD)
        )
        masked = made(look, network, torch.zeros(6), Step(0, 5, 5.0, Random(0, torch.device("cpu"))))
        return (masked.x[0] != look.x[0]).any(1).flatten(1)

    by_frozen = painted(config_of(*chosen(weights))["mask_source"])
    assert by_frozen.gather(1, peaks[:, None]).all()
    assert not torch.equal(by_frozen, painted({"name": "self"}))


def test_a_single_channel_is_shown_three_times(weights: Path) -> None:
    grey = pixels()[:, :1]
    one = source(weights, MEAN[:1], STD[:1]).look((grey - MEAN[0]) / STD[0])
    three = source(weights, MEAN[:1].repeat(3), STD[:1].repeat(3)).look(((grey - MEAN[0]) / STD[0]).repeat(1, 3, 1, 1))
    assert torch.equal(one.x, three.x)
    with pytest.raises(InputError, match=r"channels, not 2: .*self"):
        source(weights, MEAN[:2], STD[:2])


def frozen(made: Trainer) -> Network:
    (sanm,) = made.plugins
    assert isinstance(sanm, SANM)
    found = sanm.masks.source
    assert found is not None
    return found.network


def test_training_leaves_the_frozen_network_alone(training_set: TrainingSet, weights: Path) -> None:
    made = trainer(training_set, "base_method=ce", "components=full", *chosen(weights))
    before = {key: value.clone() for key, value in frozen(made).state_dict().items()}
    train(made, 2)
    network = frozen(made)
    assert same(before, dict(network.state_dict())), "weights and batch statistics"
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())
    optimized = {id(p) for optimizer in made.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert optimized
    assert not optimized & {id(parameter) for parameter in network.parameters()}


def test_the_checkpoint_is_as_small_as_without_it(training_set: TrainingSet, weights: Path) -> None:
    choice = ("base_method=ce", "components=full")
    own, other = trainer(training_set, *choice), trainer(training_set, *choice, *chosen(weights))
    assert other.state().keys() == own.state().keys()
    assert same(own.state(), other.state()), "the same parts, and the same initial weights"


def test_it_changes_what_is_learned(training_set: TrainingSet, weights: Path) -> None:
    choice = ("base_method=ce", "components=amg", "components.start=0", "base_method.guess_mode=eval")
    own = train(trainer(training_set, *choice), 1)
    other = train(trainer(training_set, *choice, *chosen(weights)), 1)
    assert not same(dict(own.networks.state_dict()), dict(other.networks.state_dict()))


@pytest.mark.parametrize(("method", "components"), [("ce", "full"), ("dividemix", "amg_nlr")])
def test_resumed_is_uninterrupted_bit_for_bit(
    training_set: TrainingSet, weights: Path, method: str, components: str
) -> None:
    choice = (f"base_method={method}", f"components={components}", *chosen(weights))
    whole = train(trainer(training_set, *choice), 3)
    half = train(trainer(training_set, *choice), 2)
    resumed = trainer(training_set, *choice)
    resumed.load(half.state())
    assert same(whole.state(), train(resumed, 1).state())


def test_released_variant_and_bf16_train(training_set: TrainingSet, weights: Path) -> None:
    choice = ("base_method=ce", "components=full", "variant=released", "trainer.precision=bf16")
    made = trainer(training_set, *choice, "components.start=0", *chosen(weights))
    assert made.train_epoch(lambda step, steps: None).loss > 0


def test_files_of_old_versions_count_no_batches(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pt")
    first, second = (source(file).network.state_dict() for file in (weights, tmp_path / "old.pt"))
    assert same(dict(first), dict(second))


def test_safetensors_are_the_same_network(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    save_file(torch.load(weights, weights_only=True), file)
    first, second = (source(each).network.state_dict() for each in (weights, file))
    assert same(dict(first), dict(second))
    file.write_bytes(file.read_bytes()[:100_000])
    assert f"{file} cannot be read as weights" in refused(file)


# ---- weights that are not there, or not the network's


def refused(file: Path | str | None, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        check_mask_weights(config_of(*chosen(file, *overrides)))
    message = str(error.value)
    assert "\n" not in message
    return message


def other_states() -> Iterator[tuple[str, Callable[[dict[str, Tensor]], object], str]]:
    yield "another_network", lambda s: {"a.b": s["fc.bias"]}, r"lacks conv1.weight, bn1.weight, bn1.bias and 99 more"
    yield "deeper", lambda s: {**s, "layer1.2.conv1.weight": s["layer1.1.conv1.weight"]}, "has layer1.2.conv1.weight"
    yield "ten_classes", lambda s: {**s, "fc.weight": s["fc.weight"][:10]}, "other shapes of fc.weight"
    yield "nested", lambda s: {"state_dict": s}, "lacks conv1.weight"
    yield "list", lambda s: list(s.values()), "holds a list, no state dict"


@pytest.mark.parametrize(
    ("kind", "changed", "message"), list(other_states()), ids=[kind for kind, *_ in other_states()]
)
def test_weights_of_another_network_are_refused(
    weights: Path, tmp_path: Path, kind: str, changed: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    file = tmp_path / f"{kind}.pt"
    torch.save(changed(torch.load(weights, weights_only=True)), file)
    found = refused(file)
    assert message in found
    assert str(file) in found
    assert "give mask_source.weights=FILE" in found


def test_damaged_files_are_refused(weights: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(weights.read_bytes()[:100_000])
    assert f"{damaged} cannot be read as weights" in refused(damaged)
    damaged.with_name("text.pt").write_text("not weights at all")
    assert "text.pt cannot be read as weights" in refused(damaged.with_name("text.pt"))
    assert "is not a file" in refused(tmp_path / "none.pt")
    assert "is not a file" in refused(tmp_path)


def test_what_cannot_be_downloaded_is_told_with_its_place(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    found = refused(None)
    assert ResNet18_Weights.IMAGENET1K_V1.url in found
    assert "no route to host" in found
    assert f"put this file at {torch_home}, or elsewhere and set mask_source.weights=FILE" in found


def test_downloaded_once_then_taken_from_the_cache(
    torch_home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fetch(url: str, place: str, hash_prefix: str, progress: bool) -> None:
        calls.append(hash_prefix)
        shutil.copy(weights, place)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    settings = config_of(*chosen(None))["mask_source"]
    first, second = (FrozenSource(settings, MEAN, STD).network.state_dict() for _ in range(2))
    assert same(dict(first), dict(second))
    assert calls == ["f37072fd"], "checked against the published hash"
    torch_home.write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"{CACHED} .*: delete it"):
        FrozenSource(settings, MEAN, STD)


def test_the_published_weights_are_the_ones_that_identities_name() -> None:
    name, hash_prefix = PUBLISHED_MASK_WEIGHTS
    assert getattr(ResNet18_Weights, name) is ResNet18_Weights.IMAGENET1K_V1
    assert f"resnet18-{hash_prefix}.pth" == CACHED


def test_nobody_asks_for_weights_where_masks_take_no_part(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("a download"))
    check_mask_weights(config_of("components=none", *chosen(None)))
    check_mask_weights(config_of())


def test_a_grid_with_wrong_weights_is_refused_before_its_first_run(within: Command, tmp_path: Path) -> None:
    file = tmp_path / "wrong.pt"
    torch.save({"conv1.weight": torch.zeros(2)}, file)
    done = within("-m", "mask_source=self,pretrained", f"mask_source.weights={file}", "base_method=ce")
    assert done.returncode == 2
    assert f"{file} is not of the ImageNet ResNet-18" in done.stderr
    assert "(in the cell " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "runs").glob("*/config.yaml"))


def test_the_smaller_network_looks_with_its_own_classifier_and_normalisation() -> None:
    import timm

    from sanm.machine.backbones import lite0_weights

    settings = config_of(
        "mask_source=pretrained", "mask_source.network=efficientnet_lite0", "mask_source.input_size=64"
    )
    found = FrozenSource(settings["mask_source"], MEAN, STD)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    whole.load_state_dict(lite0_weights(whole.state_dict()))
    seen = interpolate(pixels(), (64, 64), mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        expected = whole((seen - 0.5) / 0.5).softmax(-1)
    look = found.look(normalised(pixels()))
    assert torch.allclose(look.probs(0)[0], expected, atol=1e-5)
    assert look.maps(0).shape[2:] == (1280, 2, 2)
    assert not any(parameter.requires_grad for parameter in found.network.parameters())


def test_which_network_looks_is_part_of_what_a_run_is() -> None:
    plain = record_of("mask_source=pretrained")["mask_source"]
    assert "network" not in plain, "runs of a time when there was one keep their names"
    other = record_of("mask_source=pretrained", "mask_source.network=efficientnet_lite0")["mask_source"]
    assert other["network"] == "efficientnet_lite0"
