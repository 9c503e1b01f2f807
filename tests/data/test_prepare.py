"""From config to a run's data: subsets, noise, the noisy validation split, what is known of the truth."""

from __future__ import annotations

import dataclasses
import pickle
import random
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from sanm.data import Data, TrainingSet, balanced_subset, prepare, validation_split
from sanm.data.datasets import load
from sanm.data.noise import write_dividemix_json
from sanm.data.types import Labels
from sanm.errors import InputError

CONF = Path(__file__).resolve().parents[2] / "conf"
patient = hypothesis.settings(deadline=None)  # the machine may be busy
SYMMETRIC = {"name": "symmetric", "rate": 0.5, "seed": 1, "convention": "inclusive"}


def digits(noise: dict[str, Any] | None = None, **settings: Any) -> Data:
    given_settings = {"name": "digits", "subset": None, "test_subset": None, "validation": 0.1, **settings}
    return prepare(given_settings, noise or SYMMETRIC, Path("unused"))


def settings_of(path: Path) -> dict[str, Any]:
    config = OmegaConf.create({"seed": 7, "group": OmegaConf.load(path)})
    resolved = OmegaConf.to_container(config.group, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def test_digits() -> None:
    source = load({"name": "digits"}, Path("unused"))
    assert source.train.images().shape == (1297, 1, 8, 8)
    assert source.test.images().shape == (500, 1, 8, 8)
    assert source.train.images().dtype == torch.uint8
    assert source.train.images().max() == 255
    assert source.train.images()[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 of 16
    assert source.train.labels[:10].tolist() == list(range(10))
    assert source.class_names == tuple("0123456789")
    pixels = source.train.images().double() / 255
    assert source.mean == (round(float(pixels.mean()), 4),)
    assert source.std == (round(float(pixels.std(correction=0)), 4),)
    assert source.train.keys[-1] == "1296"
    assert source.labels_verified


@pytest.mark.parametrize("noise", sorted(path.stem for path in (CONF / "noise").glob("*.yaml")))
def test_every_shipped_noise_on_digits(noise: str, tmp_path: Path) -> None:
    settings = settings_of(CONF / "noise" / f"{noise}.yaml")
    assert settings["name"] == noise
    if noise == "file":
        settings["path"] = str(tmp_path / "labels.json")
        write_dividemix_json(tmp_path / "labels.json", np.zeros(1297, np.int64))
    if noise == "human":
        settings |= {"path": str(tmp_path / "labels.npz"), "key": "worse"}
        clean = load({"name": "digits"}, tmp_path).train.labels
        np.savez(tmp_path / "labels.npz", clean_label=clean, worse_label=(clean + 1) % 10)
    data = prepare(settings_of(CONF / "data" / "digits.yaml"), settings, tmp_path)
    assert data.realised_noise_rate is not None
    assert (data.realised_noise_rate == 0) == (noise == "none")
    assert data.validation is not None
    assert len(data.validation.labels) == 130
    assert len(data.train.given_labels) == 1167


@pytest.mark.parametrize("dataset", sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
def test_shipped_data_settings(dataset: str) -> None:
    settings = settings_of(CONF / "data" / f"{dataset}.yaml")
    assert settings["name"] == dataset
    common = {"name", "root", "files", "subset", "test_subset", "validation", "augment"}
    assert common <= set(settings)
    assert {"crop_padding", "flip"} <= set(settings["augment"]) <= {"crop_padding", "flip", "crop"}


def test_parts_fit_together() -> None:
    data = digits(subset=400, test_subset=100)
    train, validation = data.train, data.validation
    source = load({"name": "digits"}, Path("unused"))
    assert validation is not None
    assert len(train.index) == 360
    assert len(validation.labels) == 40
    assert len(data.test.labels) == 100
    assert (train.index.diff() > 0).all()
    assert torch.equal(train.images, source.train.images()[train.index])
    assert train.keys == tuple(str(position) for position in train.index.tolist())
    assert data.true_labels is not None
    assert torch.equal(data.true_labels, torch.from_numpy(source.train.labels[train.index]))
    assert data.realised_noise_rate == pytest.approx(float((data.true_labels != train.given_labels).float().mean()))
    assert data.per_class_noise is not None
    assert len(data.per_class_noise) == 10
    wrong_threes = (train.given_labels != 3)[data.true_labels == 3]
    assert data.per_class_noise[3] == pytest.approx(float(wrong_threes.float().mean()))
    assert data.test.labels.bincount().tolist() == [10] * 10
    assert train.num_classes == 10


def test_validation_labels_are_noisy_and_its_images_are_not_trained_on() -> None:
    data = digits()
    assert data.validation is not None
    assert sorted([*data.train.given_labels.tolist(), *data.validation.labels.tolist()]) == sorted(
        data.selected_labels.tolist()
    )
    counts, held = data.selected_labels.bincount(), data.validation.labels.bincount(minlength=10)
    assert ((held - 0.1 * counts).abs() < 1).all()
    position = {key: place for place, key in enumerate(data.train.keys)}
    held_out = [index for index in range(1297) if str(index) not in position]
    source = load({"name": "digits"}, Path("unused"))
    assert torch.equal(data.validation.images, source.train.images()[held_out])
    assert torch.equal(data.validation.labels, data.selected_labels[held_out])
    assert not torch.equal(data.validation.labels, torch.from_numpy(source.train.labels[held_out]))


def test_the_training_set_has_no_true_labels() -> None:
    data = digits()
    assert "true" not in " ".join(field.name for field in dataclasses.fields(TrainingSet))
    assert data.true_labels is not None
    tensors = [value for value in vars(data.train).values() if isinstance(value, torch.Tensor)]
    assert not any(torch.equal(each, data.true_labels) for each in tensors)


def test_no_validation() -> None:
    data = digits(validation=0.0)
    assert data.validation is None
    assert len(data.train.given_labels) == 1297
    assert torch.equal(data.train.given_labels, data.selected_labels)


def test_labels_of_a_run_give_the_same_run_again(tmp_path: Path) -> None:
    first = digits({"name": "symmetric", "rate": 0.5, "seed": 0, "convention": "exclusive"}, subset=200)
    write_dividemix_json(tmp_path / "labels.json", first.selected_labels.numpy())
    again = digits({"name": "file", "path": str(tmp_path / "labels.json"), "rate": 0.5}, subset=200)
    assert torch.equal(again.train.given_labels, first.train.given_labels)
    assert torch.equal(again.train.index, first.train.index)
    assert again.realised_noise_rate == first.realised_noise_rate


def test_same_call_same_data_and_global_random_state_untouched() -> None:
    before = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state()
    first, second = digits(), digits()
    assert random.getstate() == before[0]
    assert pickle.dumps(np.random.get_state()) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(first.train.given_labels, second.train.given_labels)
    assert torch.equal(first.train.index, second.train.index)


def test_subset_does_not_follow_the_seed_but_noise_and_validation_do() -> None:
    one = digits(subset=300, validation=0.0)
    two = digits({**SYMMETRIC, "seed": 2}, subset=300, validation=0.0)
    assert torch.equal(one.train.index, two.train.index)
    assert not torch.equal(one.train.given_labels, two.train.given_labels)
    assert not torch.equal(digits().train.index, digits({**SYMMETRIC, "seed": 2}).train.index)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for position in range(6):
                color = (40 * position, 100 * label, 0)
                Image.new("RGB", (9, 9), color).save(tmp_path / part / name / f"{position}.png")
    return tmp_path


@pytest.mark.parametrize("noise", ["none", "symmetric"])
def test_truth_of_unverified_labels(photos: Path, noise: str) -> None:
    settings = {**settings_of(CONF / "data" / "image_folder.yaml"), "root": str(photos), "image_size": 8}
    data = prepare(settings, {"name": "none"} if noise == "none" else SYMMETRIC, photos / "cache")
    assert data.train.images.shape == (11, 3, 8, 8)
    assert (data.true_labels is None) == (noise == "none")
    assert (data.realised_noise_rate is None) == (noise == "none")
    assert (data.per_class_noise is None) == (noise == "none")
    assert data.train.keys[0].startswith("train/cat/")


def labels_of(fewest: int, most: int) -> st.SearchStrategy[Labels]:
    """Labels of up to seven classes."""
    drawn = st.lists(st.integers(0, 6), min_size=fewest, max_size=most)
    return drawn.map(lambda labels: np.array(labels, np.int64))


@patient
@given(labels_of(1, 200), st.data())
def test_balanced_subset(labels: Labels, data: st.DataObject) -> None:
    classes, available = np.unique(labels, return_counts=True)
    size = data.draw(st.integers(len(classes), len(labels)))
    index = balanced_subset(labels, size, "data.subset")
    assert len(index) == size
    assert (np.diff(index) > 0).all()
    assert index.tolist() == balanced_subset(labels, size, "data.subset").tolist()
    taken = np.array([(labels[index] == label).sum() for label in classes])
    short = taken < available
    # A class that could give more has at most one fewer than any other.
    assert not short.any() or taken.max() - taken[short].min() <= 1
    if size < len(labels):
        assert set(index) <= set(balanced_subset(labels, size + 1, "data.subset"))


@patient
@given(labels_of(30, 200), st.floats(0.1, 0.5), st.integers(0, 2**32 - 1))
def test_validation_split(labels: Labels, fraction: float, seed: int) -> None:
    kept, held = validation_split(labels, fraction, seed)
    assert abs(len(held) - fraction * len(labels)) <= 0.5 + 1e-6 or min(np.bincount(labels)[np.unique(labels)]) == 1
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert set(labels[kept]) == set(labels)
    for label in set(labels):
        count = (labels == label).sum()
        assert abs((labels[held] == label).sum() - fraction * count) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subset": 2000}, r"data\.subset=2000: there are only 1297 samples; lower it"),
        ({"subset": 9}, r"data\.subset=9: must be at least 10, one sample for each class"),
        ({"test_subset": 501}, r"data\.test_subset=501: there are only 500 samples"),
        ({"test_subset": 0}, r"data\.test_subset=0: must be at least 10"),
        ({"validation": 1e-5}, r"data\.validation=1e-05 of 1297 training samples is not one sample"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits(**settings)


def test_trusted_samples_keep_their_true_label_and_stay_in_training() -> None:
    found, without = digits(trusted=100), digits()
    trusted, truth = found.train.trusted, found.true_labels
    assert trusted is not None
    assert truth is not None
    assert torch.bincount(truth[trusted]).tolist() == [10] * 10
    assert torch.equal(found.train.given_labels[trusted], truth[trusted])
    others = {int(i) for i in found.train.index[~trusted]} & {int(i) for i in without.train.index}
    assert len(others) > 900
    labels = dict(zip(without.train.index.tolist(), without.train.given_labels.tolist(), strict=True))
    for position, label in zip(found.train.index.tolist(), found.train.given_labels.tolist(), strict=True):
        assert position not in others or labels[position] == label
    assert without.train.trusted is None


def test_which_samples_are_trusted_goes_with_the_seed_of_the_noise() -> None:
    first, again = digits(trusted=50), digits(trusted=50)
    other = digits({**SYMMETRIC, "seed": 2}, trusted=50)
    of = [each.train.index[each.train.trusted].tolist() for each in (first, again, other)]
    assert of[0] == of[1] != of[2]


@pytest.mark.parametrize("size", [1297, 5000])
def test_there_are_not_so_many_true_labels_to_trust(size: int) -> None:
    with pytest.raises(InputError, match=f"data.trusted={size}"):
        digits(trusted=size)
