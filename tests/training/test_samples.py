"""samples.npz: what it says of a run, and that nothing moves for it."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from analysis.records.samples import Samples, read
from sanm.data import Data, TrainingSet, prepare
from sanm.errors import InputError
from sanm.plugins.sanm import nlr
from sanm.record.directory import RunDirectory
from sanm.training import experiment, samples
from sanm.training.samples import chosen
from sanm.training.trainer import Trainer
from tests.conftest import config_of, small_training_set
from tests.every import METHODS, same
from tests.training.test_experiment import run_in
from tests.training.test_trainer import train, trainer

ONE_NETWORK = ("base_method=ce", "components=full")
RUNS = {
    "one network": ONE_NETWORK,
    "two networks": ("base_method=dividemix", "components=full"),
    "released": ("base_method=ce", "components=full", "variant=released", "variant.painted_part=1.0"),
    "plain": ("base_method=ce", "components=none"),
}
MASKING = ("one network", "two networks", "released")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: run_in(folder, *overrides) for name, overrides in RUNS.items()}


@pytest.fixture(scope="module")
def data() -> Data:
    config = config_of("data.subset=192", "data.test_subset=100")
    return prepare(config["data"], config["noise"], Path())


def quality_of(directory: RunDirectory) -> dict[int, dict[str, str]]:
    with open(directory.path / "label_quality.csv", newline="") as handle:
        return {int(row["index"]): row for row in csv.DictReader(handle)}


# ---- which images


def test_examples_come_from_both_ends_and_evenly_from_between() -> None:
    clean = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    found = clean[chosen(clean)]
    assert np.array_equal(found, np.sort(found))
    assert np.array_equal(found[:12], np.linspace(0, 1, 1001)[:12])
    assert np.array_equal(found[-12:], np.linspace(0, 1, 1001)[-12:])
    assert np.allclose(found[12:20], np.linspace(0, 1, 10)[1:-1], atol=0.001)


@pytest.mark.parametrize("count", [1, 20, 32, 33, 40])
def test_of_equals_and_of_few_samples_each_is_taken_once(count: int) -> None:
    found = chosen(np.ones(count, dtype=np.float32))
    assert len(set(found.tolist())) == len(found) == min(count, 32)
    assert found[0] == 0, "the first of equals"


# ---- what is said of them


@pytest.mark.parametrize("name", list(RUNS))
def test_what_is_known_of_a_sample_is_what_the_other_records_say(
    runs: dict[str, RunDirectory], data: Data, name: str
) -> None:
    found, quality = read(runs[name].path), quality_of(runs[name])
    assert len(found.index) == 32
    ranked = sorted(float(row["clean_probability"]) for row in quality.values())
    assert found.clean_probability[:12] == pytest.approx(ranked[:12], abs=1e-6)
    assert found.clean_probability[-12:] == pytest.approx(ranked[-12:], abs=1e-6)
    position = {index: at for at, index in enumerate(data.train.index.tolist())}
    assert data.true_labels is not None
    assert found.true is not None
    for at, index in enumerate(found.index.tolist()):
        row = quality[index]
        assert found.clean_probability[at] == pytest.approx(float(row["clean_probability"]), abs=1e-6)
        assert found.key[at] == row["key"]
        assert found.class_names[found.given[at]] == row["given_label"]
        assert found.class_names[found.predicted[at]] == row["predicted_label"]
        assert found.true[at] == data.true_labels[position[index]]
        assert np.array_equal(found.image[at], data.train.images[position[index]].numpy())
    low, high = found.loss_range.mean(0)
    assert ((found.loss >= low - 1e-5) & (found.loss <= high + 1e-5)).all()
    assert found.belief.sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", list(RUNS))
def test_the_mixture_is_the_one_that_gave_the_clean_probabilities(runs: dict[str, RunDirectory], name: str) -> None:
    found = read(runs[name].path)
    assert found.is_wrong is not None
    assert found.normalised_losses.shape[1] == len(found.is_wrong) == 173
    for network, losses in enumerate(found.normalised_losses.astype(float)):
        weights, means, variances = found.mixture[network][..., None]
        assert means[0] < means[1]
        low, high = weights * np.exp(-((losses - means) ** 2) / (2 * variances)) / np.sqrt(variances)
        assert found.clean_probabilities[network] == pytest.approx(low / (low + high), abs=0.01)
    result = json.loads((runs[name].path / "result.json").read_text())
    assert found.is_wrong.mean() == pytest.approx(result["realised_noise_rate"])


@pytest.mark.parametrize("name", MASKING)
def test_masked_views_differ_exactly_inside_their_boxes(runs: dict[str, RunDirectory], name: str) -> None:
    found = read(runs[name].path)
    assert found.masks is not None
    inside = boxes_of_views(found)
    for view in range(inside.shape[1]):
        changed = (found.masks.masked[:, view] != found.image).any(1)
        assert not (changed & ~inside[:, view]).any()
        painted = inside[:, view].sum()
        assert (changed & inside[:, view]).sum() > 0.9 * painted > 0, "paint may be the image's own value by chance"
        assert found.masks.share[:, view] == pytest.approx(inside[:, view].mean((1, 2)))


def boxes_of_views(found: Samples) -> NDArray[np.bool_]:
    """``[n, M, h, w]``"""
    assert found.masks is not None
    return found.inside if found.masks.masked.shape[1] == 2 else found.inside.any(1, keepdims=True)


@pytest.mark.parametrize("name", ["one network", "two networks"])
def test_ratios_targets_and_maps_are_those_of_the_equations(runs: dict[str, RunDirectory], name: str) -> None:
    found = read(runs[name].path)
    masks, w = found.masks, found.clean_probability
    assert masks is not None
    assert masks.nominal_ratio == pytest.approx(np.stack([0.2 * (2 - w), 0.2 * (1 - w)], 1), abs=1e-5)
    belief, share = torch.from_numpy(found.belief)[None], torch.from_numpy(masks.share.T)
    assert masks.target[:, 0] == pytest.approx(nlr.soften(belief, share, bounded=True)[0].numpy(), abs=1e-6)
    for at, activation in enumerate(found.activation):
        assert activation.max() == 1
        assert activation.min() == 0
        assert activation[found.inside[at, 0]].max() == 1, "the most activated point lies in its box"
    assert (found.activation_range[:, 0] < found.activation_range[:, 1]).all()


def test_without_sanm_there_is_the_map_alone(runs: dict[str, RunDirectory]) -> None:
    found = read(runs["plain"].path)
    assert found.masks is None
    assert found.activation.shape == (32, 8, 8)


def test_it_says_whether_sanm_had_set_in(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    idle = read(run_in(tmp_path, *ONE_NETWORK, "base_method.warm_up=3").path)
    trained = read(runs["one network"].path)
    assert idle.masks is not None
    assert trained.masks is not None
    assert (bool(idle.masks.masks_trained), bool(trained.masks.masks_trained)) == (False, True)


def test_unknown_truth_stays_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        experiment, "prepare", lambda *arguments: dataclasses.replace(prepare(*arguments), true_labels=None)
    )
    directory = run_in(tmp_path, *ONE_NETWORK)
    found = read(directory.path)
    assert found.true is None
    assert found.is_wrong is None
    assert json.loads((directory.path / "result.json").read_text())["label_errors"] is None


# ---- how large


def test_large_images_are_kept_smaller_and_the_file_bounded(tmp_path: Path) -> None:
    stream = torch.Generator().manual_seed(0)
    count, side = 40, 224
    images = torch.randint(0, 256, (count, 3, side, side), generator=stream).to(torch.uint8)
    given = torch.arange(count) % 4
    keys = tuple(str(each) for each in range(count))
    constants = {"mean": (0.5,) * 3, "std": (0.3,) * 3, "num_classes": 4, "class_names": tuple("abcd")}
    large = TrainingSet(images=images, given_labels=given, index=torch.arange(count), keys=keys, **constants)
    made = trainer(large, *ONE_NETWORK, "components.start=0", "trainer.batch_size=8")
    made.epochs_done = 1
    predicted = made.measure_and_predict()
    everything = Data(large, None, None, None, None, None, given)  # type: ignore[arg-type]
    (tmp_path / "samples.npz").write_bytes(content := samples.packed(made, everything, predicted))
    assert len(content) < 1_500_000
    found = read(tmp_path)
    assert found.masks is not None
    assert found.image.shape == (32, 3, 56, 56)
    assert found.masks.masked.shape == (32, 1, 3, 56, 56)
    assert int(found.shrink) == 4
    first = images[int(found.index[0])].float()
    assert found.image[0, :, 0, 0] == pytest.approx(first[:, :4, :4].mean((1, 2)).numpy(), abs=0.51)
    changed = (found.masks.masked[:, 0] != found.image).any(1)
    assert not (changed & ~found.inside.any(1)).any()
    areas = found.masks.boxes[..., 2:].prod(-1)
    assert (areas / side**2) == pytest.approx(found.masks.nominal_ratio, abs=0.01), "boxes in the original's pixels"


def test_at_most_so_many_losses_evenly_spaced(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_LOSSES", 100)
    made = train(trainer(training_set, *ONE_NETWORK), 1)
    everything = Data(training_set, None, None, training_set.given_labels, None, None, training_set.given_labels)  # type: ignore[arg-type]
    with np.load(io.BytesIO(samples.packed(made, everything, made.measure_and_predict()))) as file:
        assert file["normalised_losses"].shape == (1, 80)
        assert file["is_wrong"].shape == (80,)
        estimate = made.quality.estimates[0]
        assert estimate is not None
        assert file["normalised_losses"][0] == pytest.approx(estimate.normalised[::2].numpy(), abs=1e-3)


# ---- nothing moves


@cache
def state_after_two_epochs(*overrides: str) -> dict[str, Any]:
    return copy_of(train(trainer(small_training_set(), *overrides), 2).state())


def after_two_epochs(*overrides: str) -> Trainer:
    made = trainer(small_training_set(), *overrides)
    made.load(copy_of(state_after_two_epochs(*overrides)))
    return made


@pytest.mark.parametrize(
    ("method", "components"), [*((method, "full") for method in METHODS), ("ce", "none"), ("dividemix", "none")]
)
def test_looking_changes_nothing(training_set: TrainingSet, method: str, components: str) -> None:
    made = after_two_epochs(f"base_method={method}", f"components={components}")
    predicted = made.measure_and_predict()
    before, around = copy_of(made.state()), torch.get_rng_state()
    everything = Data(training_set, None, None, None, None, None, training_set.given_labels)  # type: ignore[arg-type]
    first = samples.packed(made, everything, predicted)
    assert same(before, made.state())
    assert torch.equal(around, torch.get_rng_state())
    assert samples.packed(made, everything, predicted) == first


def copy_of(value: dict[str, Any]) -> dict[str, Any]:
    packed = io.BytesIO()
    torch.save(value, packed)
    packed.seek(0)
    found: dict[str, Any] = torch.load(packed, weights_only=True)
    return found


def test_a_runs_numbers_are_the_same_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("components=full", "base_method=elr_plus", "keep_checkpoint=true")
    with_it = run_in(tmp_path / "with", *overrides)
    monkeypatch.setattr(samples, "packed", lambda *arguments: b"")
    without = run_in(tmp_path / "without", *overrides)
    assert numbers(with_it) == numbers(without)
    weights = [torch.load(d.checkpoint, weights_only=True)["trainer"]["modules"] for d in (with_it, without)]
    assert same(*weights)


def numbers(directory: RunDirectory) -> Any:
    times = {"seconds", "images_per_second", "peak_memory_mb", "finished", "commit", "dirty"}
    result = {key: value for key, value in directory.result().items() if key not in times}
    with open(directory.path / "metrics.csv", newline="") as handle:
        rows = [{key: value for key, value in row.items() if key not in times} for row in csv.DictReader(handle)]
    return result, rows, quality_of(directory)


@pytest.mark.parametrize("method", [*METHODS, "coteaching base_method.ensemble=true"])
def test_one_scan_measures_and_predicts_as_two_did(training_set: TrainingSet, method: str) -> None:
    once, twice = (after_two_epochs(*f"base_method={method}".split(), "components=full") for _ in range(2))
    predicted = once.measure_and_predict()
    twice.measure()
    assert torch.equal(predicted.classes, twice.predict(training_set.images))
    assert same(dict(once.quality.state_dict()), dict(twice.quality.state_dict()))


def test_killed_before_the_result_it_writes_the_same_file_again(
    runs: dict[str, RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path, *ONE_NETWORK)
    (file,) = tmp_path.glob("*/samples.npz")
    first = file.read_bytes()
    file.unlink()
    directory = run_in(tmp_path, *ONE_NETWORK)
    assert directory.status() == "done"
    assert file.read_bytes() == first == (runs["one network"].path / "samples.npz").read_bytes()


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == "samples.npz":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(InputError, match=r"no space .*samples\.npz"):
            run_in(tmp_path, *ONE_NETWORK)
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    assert not list(tmp_path.glob("*/result.json"))
    assert run_in(tmp_path, *ONE_NETWORK).status() == "done"
    assert not checkpoint.exists()
