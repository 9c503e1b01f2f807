"""Frozen backbones: features that are computed once, heads that learn on them, and a model that takes images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.labels.record import read_record
from sanm.data import prepare
from sanm.errors import InputError
from sanm.export.graph import Graph
from sanm.models.timm import Backbone
from sanm.pretraining import frozen
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.trained_model import read_model
from sanm.training import experiment
from sanm.training.sight import as_seen
from tests.conftest import config_of
from tests.every import METHODS
from tests.pretraining.test_backbones import TINY, published

CPU = torch.device("cpu")
SHORT = ("trainer.epochs=4", "trainer.milestones=[]", "base_method.warm_up=1", "trainer.last_window=1")
LOOKS = 2
"""Images that are passed to see that the backbone takes such."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(published().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def words(weights: Path, cache: Path, *more: str) -> list[str]:
    data = ("data.subset=96", "data.test_subset=60", f"cache_dir={cache}", "components=none")
    return [*TINY, "model.frozen=true", "pretrain=file", f"pretrain.path={weights}", *data, *more]


def seen(config: dict[str, Any]) -> Any:
    from sanm.pretraining.encoders import encoder_for

    data = prepare(config["data"], config["noise"], Path(config["cache_dir"]))
    return data, as_seen(config, data, CPU, lambda: encoder_for(config, data.train, CPU, []))


def run_of(tmp_path: Path, given: list[str]) -> RunDirectory:
    config = config_of(*given, f"runs_dir={tmp_path}")
    record = identity(config)
    directory = RunDirectory(tmp_path, run_name(record))
    with directory.claim():
        experiment.run(config, record, directory, given)
    return directory


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass through the backbone is of."""
    passes: list[int] = []
    forward = Backbone.forward

    def counting(self: Backbone, x: Tensor) -> Tensor:
        passes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Backbone, "forward", counting)
    return passes


def test_features_stand_in_the_place_of_images(weights: Path, cache: Path) -> None:
    config = config_of(*words(weights, cache, "base_method=ce", "data.validation=0"))
    data, sight = seen(config)
    found = sight.data.train
    assert found.images.shape == (96, 96, 1, 1)
    assert found.images.dtype == torch.float32
    assert sight.data.test.images.shape == (60, 96, 1, 1)
    model = published()
    x = sight.backbone.backbone._as_seen((data.train.images / 255 - 0.5) / 0.5)
    expected = model.forward_features(x).mean((2, 3)).detach()
    assert torch.allclose(found.images[:, :, 0, 0], expected, atol=1e-5)
    standard = (expected - expected.mean(0)) / expected.std(0, correction=0) * frozen.LENGTH / 96**0.5
    standard = standard.nan_to_num()  # of what is the same in all images
    given = sight.backbone((data.train.images / 255 - 0.5) / 0.5)
    assert torch.allclose(given[:, :, 0, 0], standard, atol=1e-4)
    alive = float((expected.std(0) > 0).float().mean())
    length = float(given.flatten(1).square().sum(1).mean().sqrt())
    assert length == pytest.approx(frozen.LENGTH * alive**0.5, rel=1e-3)


def test_they_are_computed_once_whatever_the_seed_the_noise_and_the_split(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = counted(monkeypatch)
    seen(config_of(*words(weights, tmp_path, "data.validation=0.2")))
    assert 100 < sum(passes) <= LOOKS + 96 + 60
    passes.clear()
    other = ("data.validation=0.3", "seed=2", "noise.rate=0.8", "data.subset=60", "model.hidden=5")
    seen(config_of(*words(weights, tmp_path, *other)))
    assert sum(passes) == LOOKS
    passes.clear()
    seen(config_of(*words(weights, tmp_path, "data.subset=120")))
    assert LOOKS < sum(passes) <= LOOKS + 24 + 60
    (tmp_path / "other.pth").write_bytes(b"")
    torch.save(published(seed=4).state_dict(), tmp_path / "other.pth")
    passes.clear()
    seen(config_of(*words(tmp_path / "other.pth", tmp_path)))
    assert sum(passes) > 100, "other weights have other features"
    assert len(list((tmp_path / "features").glob("*.pt"))) == 2


def test_a_damaged_file_is_computed_again(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(*words(weights, tmp_path))
    _, before = seen(config)
    (file,) = (tmp_path / "features").glob("*.pt")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    passes = counted(monkeypatch)
    _, after = seen(config)
    assert sum(passes) > 100
    assert torch.equal(before.data.train.images, after.data.train.images)


def test_what_is_kept_in_the_middle_is_not_computed_again(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(frozen, "images_at_once", lambda size: 16)
    passes = counted(monkeypatch)
    pooled = frozen.FrozenBackbone.pooled

    def killed(self: frozen.FrozenBackbone, x: Tensor) -> Tensor:
        if len(passes) > 5:
            raise KeyboardInterrupt
        return pooled(self, x)

    monkeypatch.setattr(frozen.FrozenBackbone, "pooled", killed)
    config = config_of(*words(weights, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        seen(config)
    done = sum(passes) - LOOKS
    monkeypatch.setattr(frozen.FrozenBackbone, "pooled", pooled)
    passes.clear()
    seen(config)
    assert done >= 32
    assert sum(passes) - LOOKS + done <= 96 + 60


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_its_head(method: str, weights: Path, cache: Path, tmp_path: Path) -> None:
    chosen = config_of(f"base_method={method}")
    several = isinstance(chosen["base_method"]["learn_from"], list)
    pools = (f"base_method.learn_from={'[weak,none]' if several else 'weak'}",)
    trusted = ("data.trusted=20",) if chosen["data"]["trusted"] else ()
    given = words(weights, cache, f"base_method={method}", *SHORT, *pools, *trusted)
    assert run_of(tmp_path, given).result()["epochs"] == 4


@pytest.mark.parametrize("hidden", [(), ("model.hidden=8",)])
def test_the_models_file_takes_images(hidden: tuple[str, ...], weights: Path, cache: Path, tmp_path: Path) -> None:
    """What ``sanm.predict`` and ``sanm.export`` make of an image is what the run made of its features."""
    given = words(weights, cache, "base_method=dividemix", *SHORT, *hidden)
    directory = run_of(tmp_path, given)
    model = read_model(directory.path / "model.pt")
    data, _ = seen(config_of(*given))
    pixels = data.train.images[:]
    kept = np.load(directory.path / "probabilities.npz")["probabilities"]
    assert np.abs(model.probabilities(pixels).numpy() - kept).max() < 2e-3  # kept in half precision
    assert torch.allclose(Graph(model, "uint8")(pixels), model.probabilities(pixels), atol=1e-5)
    assert model.image_size == (8, 8)
    states = torch.load(directory.path / "model.pt", weights_only=True)
    assert not [key for state in states["networks"] for key in state if key.startswith("backbone")], "kept once"
    assert json.loads(json.dumps(model.about["input"]["mean"])) == [0.5]
    with np.load(directory.path / "samples.npz") as samples:
        assert samples["image"].shape[1:] == (1, 8, 8)
        assert samples["activation"].shape[1:] == (8, 8)


def test_its_labels_are_judged_by_the_features(weights: Path, cache: Path, tmp_path: Path) -> None:
    given = words(weights, cache, "base_method=ce", "data.validation=0", *SHORT)
    first, second = (run_of(tmp_path / name, given).path for name in "ab")
    content = (first / "label_evidence.npz").read_bytes()
    assert content == (second / "label_evidence.npz").read_bytes()
    record = read_record(first)
    assert record.evidence is not None
    assert record.label_score.shape == (96,)
    assert np.array_equal(record.predicted, record.evidence.probabilities.argmax(1))


def test_the_preset_of_label_errors_is_frozen_and_judges_all() -> None:
    config = config_of("preset=label_errors", "data.root=x")
    assert config["model"]["frozen"]
    assert config["data"]["name"] == "image_folder"
    assert config["data"]["validation"] == 0


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = published().state_dict()
    state["bn1.running_var"] = torch.full_like(state["bn1.running_var"], -1.0)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match="gives features that are not finite with these weights"):
        seen(config_of(*words(tmp_path / "x.pth", tmp_path)))
