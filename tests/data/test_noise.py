"""Noise models: published streams bit for bit, properties that hold for any labels, every bad input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sanm.data import LabelTask
from sanm.data.noise import corrupt, write_dividemix_json
from sanm.data.noise._cifar100 import DEFINITIONS
from sanm.data.noise.asymmetric import CLASS_MAPS
from sanm.errors import InputError

SHARED = Path(os.environ.get("SANM_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
patient = hypothesis.settings(deadline=None)  # the machine may be busy

# The next fine class within the true super-class, as a table of its own to compare with.
NEXT_IN_SUPERCLASS = """
    51 32 11 42 30 20 7 14 13 10   16 35 17 48 18 19 28 37 24 21   25 31 39 33 6 84 45 29 61 44
    55 38 67 49 63 46 50 68 15 40   86 69 43 88 78 77 98 52 58 60   65 53 56 57 62 72 59 83 90 96
    71 9 70 64 66 74 75 73 76 81   82 23 95 91 80 34 12 79 93 99   36 85 92 0 94 89 87 22 97 41
    8 1 54 27 5 4 47 3 2 26
"""
# The super-class of each fine class, in the official coarse labels.
SUPERCLASS_OF = """
    4 1 14 8 0 6 7 7 18 3   3 14 9 18 7 11 3 9 7 11   6 11 5 10 7 6 13 15 3 15   0 11 1 10 12 14 16 9 11 5
    5 19 8 8 15 13 14 17 18 10   16 4 17 4 2 0 17 4 18 17   10 3 2 12 12 16 12 1 9 19   2 10 0 1 16 12 9 13 15 13
    16 19 2 4 6 19 5 5 8 19   18 1 2 15 6 0 17 8 14 13
"""


def task_of(labels: Any, num_classes: int, dataset: str = "any", names: tuple[str, ...] | None = None) -> LabelTask:
    array = np.asarray(labels, dtype=np.int64)
    class_names = names or tuple(str(label) for label in range(num_classes))
    return LabelTask(array, np.arange(len(array)), len(array), num_classes, class_names, dataset, no_images, (), ())


def no_images() -> Tensor:
    raise AssertionError("this noise does not look at images")


def symmetric(rate: Any, seed: Any = 123, convention: str = "inclusive") -> dict[str, Any]:
    return {"name": "symmetric", "rate": rate, "seed": seed, "convention": convention}


def asymmetric(rate: Any = 0.4, seed: Any = 123, mapping: Any = None, definition: Any = None) -> dict[str, Any]:
    return {"name": "asymmetric", "rate": rate, "seed": seed, "map": mapping, "definition": definition}


def pair_flip(rate: Any = 0.45, seed: Any = 0) -> dict[str, Any]:
    return {"name": "pair_flip", "rate": rate, "seed": seed}


def from_file(path: Path | None) -> dict[str, Any]:
    return {"name": "file", "path": None if path is None else str(path), "rate": None}


@pytest.fixture(scope="module")
def cifar10_labels() -> NDArray[np.int64]:
    path = SHARED / "cifar10_jpeg.npz"
    if not path.is_file():
        pytest.skip("CIFAR-10's labels are not here (SANM_SHARED_DATA)")
    with np.load(path) as archive:
        labels = archive["train_labels"]
    assert hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest().startswith("2b7cd2f244873176")
    return np.asarray(labels, dtype=np.int64)


@pytest.mark.parametrize(
    ("settings", "wrong", "first_ten", "digest"),
    [
        (symmetric(0.2), 8972, [6, 9, 9, 4, 1, 1, 8, 7, 8, 5], "dd932e4c763dbab9"),
        (symmetric(0.5), 22484, [8, 5, 9, 4, 1, 8, 3, 7, 6, 2], "2230903491020533"),
        (symmetric(0.8), 36036, [8, 5, 8, 3, 6, 2, 9, 7, 9, 7], "79de8111188e19dc"),
        (symmetric(0.9), 40393, [8, 5, 8, 3, 6, 2, 9, 7, 9, 7], "0fb3467e367cd31d"),
        (asymmetric(0.4), 10010, [6, 1, 9, 4, 1, 1, 0, 7, 8, 5], "46acecddb6f6e740"),
        (symmetric(0.2, 0, "exclusive"), 10038, [6, 9, 4, 4, 8, 1, 2, 7, 4, 3], "241b61c9fa2b2f1d"),
        (symmetric(0.5, 0, "exclusive"), 24838, [6, 1, 9, 2, 1, 1, 6, 6, 8, 3], "a1a637f11cf56a60"),
        (pair_flip(), 22400, [6, 0, 0, 4, 1, 2, 3, 7, 9, 3], "2ad90dda5e73ea38"),
    ],
)
def test_published_streams_on_cifar10(
    cifar10_labels: NDArray[np.int64], settings: dict[str, Any], wrong: int, first_ten: list[int], digest: str
) -> None:
    noisy = corrupt(task_of(cifar10_labels, 10, "cifar10"), settings)
    assert noisy.dtype == np.int64
    assert int((noisy != cifar10_labels).sum()) == wrong
    assert noisy[:10].tolist() == first_ten
    assert hashlib.sha256(noisy.astype(np.uint8).tobytes()).hexdigest()[:16] == digest


def test_streams_without_any_data() -> None:
    """The same streams, pinned on labels that are always at hand."""
    task = task_of(np.arange(1000) % 10, 10, "cifar10")
    digests = {
        name: hashlib.sha256(corrupt(task, settings).astype(np.uint8).tobytes()).hexdigest()[:16]
        for name, settings in {
            "inclusive": symmetric(0.5),
            "exclusive": symmetric(0.5, 0, "exclusive"),
            "asymmetric": asymmetric(),
            "pair_flip": pair_flip(),
        }.items()
    }
    assert digests == {
        "inclusive": "339864cc98cc00ab",
        "exclusive": "c4ac824012c6a8a2",
        "asymmetric": "11063a302929758d",
        "pair_flip": "d5c89432bd879d3a",
    }


labels_and_classes = st.integers(2, 12).flatmap(
    lambda classes: st.tuples(st.lists(st.integers(0, classes - 1), min_size=1, max_size=300), st.just(classes))
)
rates = st.floats(0, 1, allow_nan=False)
seeds = st.integers(0, 2**32 - 1)
conventions = st.sampled_from(["inclusive", "exclusive"])


@patient
@given(labels_and_classes, rates, seeds, conventions)
def test_symmetric_is_a_pure_function(drawn: tuple[list[int], int], rate: float, seed: int, convention: str) -> None:
    labels, classes = drawn
    task = task_of(labels, classes)
    global_state = random.getstate(), pickle.dumps(np.random.get_state())
    noisy = corrupt(task, symmetric(rate, seed, convention))
    assert noisy.tolist() == corrupt(task, symmetric(rate, seed, convention)).tolist()
    assert task.labels.tolist() == labels
    assert not np.shares_memory(noisy, task.labels)
    assert noisy.dtype == np.int64
    assert noisy.shape == task.labels.shape
    assert 0 <= noisy.min() <= noisy.max() < classes
    assert global_state == (random.getstate(), pickle.dumps(np.random.get_state()))


@patient
@given(labels_and_classes, rates, seeds)
def test_inclusive_never_changes_more_than_its_count(drawn: tuple[list[int], int], rate: float, seed: int) -> None:
    labels, classes = drawn
    noisy = corrupt(task_of(labels, classes), symmetric(rate, seed))
    assert (noisy != labels).sum() <= int(rate * len(labels))


@patient
@given(labels_and_classes, seeds)
def test_the_ends_of_exclusive(drawn: tuple[list[int], int], seed: int) -> None:
    labels, classes = drawn
    task = task_of(labels, classes)
    assert (corrupt(task, symmetric(0, seed, "exclusive")) == task.labels).all()
    assert (corrupt(task, symmetric(1, seed, "exclusive")) != task.labels).all()


@patient
@given(seeds, st.sampled_from([0.2, 0.5, 0.8]), conventions)
def test_realised_symmetric_rate(seed: int, rate: float, convention: str) -> None:
    """Within five standard deviations of what the convention promises."""
    labels, classes = np.arange(3000) % 10, 10
    expected = rate * (classes - 1) / classes if convention == "inclusive" else rate
    realised = (corrupt(task_of(labels, classes), symmetric(rate, seed, convention)) != labels).mean()
    assert abs(realised - expected) < 5 * np.sqrt(0.25 / len(labels))


@patient
@given(st.sampled_from(["cifar10", "digits"]), rates, seeds)
def test_asymmetric_follows_the_map_from_the_true_label(dataset: str, rate: float, seed: int) -> None:
    labels = np.arange(500) % 10
    noisy = corrupt(task_of(labels, 10, dataset), asymmetric(rate, seed))
    wrong = noisy != labels
    assert wrong.sum() <= int(rate * len(labels))
    assert all(
        CLASS_MAPS[dataset][true] == observed for true, observed in zip(labels[wrong], noisy[wrong], strict=True)
    )


def test_asymmetric_leaves_other_classes_alone() -> None:
    labels = np.arange(1000) % 10
    noisy = corrupt(task_of(labels, 10, "cifar10"), asymmetric(1.0))
    assert {int(label) for label in labels[noisy == labels]} == {0, 1, 6, 7, 8}
    assert {int(label) for label in labels[noisy != labels]} == {2, 3, 4, 5, 9}


def test_asymmetric_cifar100_stays_in_the_super_class() -> None:
    table = [int(number) for number in NEXT_IN_SUPERCLASS.split()]
    assert [CLASS_MAPS["cifar100"][fine] for fine in range(100)] == table
    noisy = corrupt(task_of(np.arange(100), 100, "cifar100"), asymmetric(1.0))
    assert noisy.tolist() == table


superclass_of = np.array(SUPERCLASS_OF.split(), dtype=np.int64)
definitions = st.sampled_from(sorted(DEFINITIONS))


def cifar100(samples_per_class: int = 1) -> LabelTask:
    return task_of(np.arange(100 * samples_per_class) % 100, 100, "cifar100")


@patient
@given(definitions, rates, seeds)
def test_every_definition_is_a_pure_function(definition: str, rate: float, seed: int) -> None:
    task = cifar100(2)
    before = random.getstate(), pickle.dumps(np.random.get_state()), task.labels.tolist()
    noisy = corrupt(task, asymmetric(rate, seed, definition=definition))
    assert noisy.tolist() == corrupt(task, asymmetric(rate, seed, definition=definition)).tolist()
    assert (noisy.dtype, noisy.shape) == (np.int64, task.labels.shape)
    assert 0 <= noisy.min() <= noisy.max() < 100
    assert not np.shares_memory(noisy, task.labels)
    assert before == (random.getstate(), pickle.dumps(np.random.get_state()), task.labels.tolist())


@pytest.mark.parametrize("definition", sorted(DEFINITIONS))
def test_ends_and_realised_rate_of_every_definition(definition: str) -> None:
    """Exact where the definition counts, else within five standard deviations."""
    task = cifar100(50)
    share = 0.4 if definition == "superclass_pair" else 1
    exact = definition in ("superclass_next", "superclass_uniform")
    for rate in (0.0, 0.3, 1.0):
        realised = (corrupt(task, asymmetric(rate, 7, definition=definition)) != task.labels).mean()
        deviation = np.sqrt(share * rate * (1 - rate) / len(task.labels))
        assert abs(realised - share * rate) <= (1e-12 if exact else 5 * deviation + 1e-12)
    one, two = (corrupt(task, asymmetric(0.3, seed, definition=definition)).tolist() for seed in (1, 2))
    assert one != two


@pytest.mark.parametrize("definition", ["superclass_next", "superclass_uniform", "superclass_pair"])
def test_these_definitions_stay_in_the_super_class(definition: str) -> None:
    task = cifar100(20)
    noisy = corrupt(task, asymmetric(0.6, definition=definition))
    assert (superclass_of[noisy] == superclass_of[task.labels]).all()


@patient
@given(rates, seeds)
def test_superclass_next_is_what_cifar100_has_without_a_definition(rate: float, seed: int) -> None:
    task = cifar100()
    named = corrupt(task, asymmetric(rate, seed, definition="superclass_next"))
    assert named.tolist() == corrupt(task, asymmetric(rate, seed)).tolist()


def test_superclass_uniform_reaches_all_four_others() -> None:
    task = cifar100(200)
    noisy = corrupt(task, asymmetric(1.0, definition="superclass_uniform"))
    counts = np.zeros((100, 100), dtype=int)
    np.add.at(counts, (task.labels, noisy), 1)
    assert (counts.diagonal() == 0).all()
    assert ((counts > 0).sum(axis=1) == 4).all()
    assert counts.max() < 50 + 5 * np.sqrt(200 * 0.25 * 0.75)


def test_superclass_uniform_has_the_stream_of_c2d() -> None:
    task, stream = cifar100(3), random.Random(123)
    order = list(range(300))
    stream.shuffle(order)
    chosen, expected = set(order[:120]), []
    for position in range(300):
        label = position % 100
        others = [fine for fine in range(100) if superclass_of[fine] == superclass_of[label] and fine != label]
        expected.append(stream.choice(others) if position in chosen else label)
    assert corrupt(task, asymmetric(0.4, 123, definition="superclass_uniform")).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_superclass_pair_swaps_two_of_each(seed: int) -> None:
    noisy = corrupt(cifar100(), asymmetric(1.0, seed, definition="superclass_pair"))
    moved = np.flatnonzero(noisy != np.arange(100))
    assert np.bincount(superclass_of[moved]).tolist() == [2] * 20
    assert noisy[noisy].tolist() == list(range(100))


def test_block5_is_no_super_class() -> None:
    noisy = corrupt(cifar100(), asymmetric(1.0, definition="block5"))
    assert noisy.reshape(20, 5).tolist() == [[k + 1, k + 2, k + 3, k + 4, k] for k in range(0, 100, 5)]
    assert np.flatnonzero(superclass_of[noisy] == superclass_of).tolist() == [6, 19, 42, 63, 86, 89]


@patient
@given(rates, seeds)
def test_pair_100_is_pair_flip(rate: float, seed: int) -> None:
    task = cifar100()
    expected = corrupt(task, pair_flip(rate, seed)).tolist()
    assert corrupt(task, asymmetric(rate, seed, definition="pair_100")).tolist() == expected


def test_a_map_goes_before_a_definition() -> None:
    noisy = corrupt(task_of([3, 5], 100, "cifar100"), asymmetric(1.0, mapping={3: 4}, definition="block5"))
    assert noisy.tolist() == [4, 5]


def test_definitions_that_are_refused() -> None:
    message = r"noise\.definition=block5 is for data=cifar100, not data=cifar10: set noise\.definition=null$"
    with pytest.raises(InputError, match=message):
        corrupt(task_of([3, 5], 10, "cifar10"), asymmetric(definition="block5"))


@patient
@given(labels_and_classes, rates, seeds)
def test_pair_flip_goes_to_the_next_class(drawn: tuple[list[int], int], rate: float, seed: int) -> None:
    labels, classes = drawn
    task = task_of(labels, classes)
    state = pickle.dumps(np.random.get_state())
    noisy = corrupt(task, pair_flip(rate, seed))
    assert noisy.tolist() == corrupt(task, pair_flip(rate, seed)).tolist()
    assert set((noisy - task.labels) % classes) <= {0, 1}
    assert task.labels.tolist() == labels
    assert state == pickle.dumps(np.random.get_state())


@patient
@given(labels_and_classes, seeds)
def test_the_ends_of_pair_flip(drawn: tuple[list[int], int], seed: int) -> None:
    labels, classes = drawn
    task = task_of(labels, classes)
    assert corrupt(task, pair_flip(0, seed)).tolist() == labels
    assert corrupt(task, pair_flip(1, seed)).tolist() == [(label + 1) % classes for label in labels]


@pytest.mark.parametrize("mapping", [{0: 2}, {"cat": "owl"}, {"0": "2"}, {"cat": 2}])
def test_map_by_name_or_number(mapping: dict[Any, Any]) -> None:
    labels = [0, 1, 2, 0]
    noisy = corrupt(task_of(labels, 3, "image_folder", ("cat", "dog", "owl")), asymmetric(1.0, mapping=mapping))
    assert noisy.tolist() == [2, 1, 2, 2]


def test_map_overrides_the_data_sets_own() -> None:
    noisy = corrupt(task_of([9, 0], 10, "cifar10"), asymmetric(1.0, mapping={0: 1}))
    assert noisy.tolist() == [9, 1]


def test_none_is_a_copy() -> None:
    task = task_of([2, 0, 1], 3)
    noisy = corrupt(task, {"name": "none"})
    assert noisy.tolist() == [2, 0, 1]
    assert not np.shares_memory(noisy, task.labels)


def test_file_written_is_file_read(tmp_path: Path) -> None:
    labels = np.array([1, 0, 2, 2], dtype=np.int64)
    write_dividemix_json(tmp_path / "labels.json", labels)
    assert json.loads((tmp_path / "labels.json").read_text()) == [1, 0, 2, 2]
    assert corrupt(task_of([0, 0, 0, 0], 3), from_file(tmp_path / "labels.json")).tolist() == [1, 0, 2, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]


def test_file_of_the_full_set_or_of_the_subset(tmp_path: Path) -> None:
    task = dataclasses.replace(task_of([0, 0], 3, "digits"), index=np.array([1, 3]), full_size=5)
    write_dividemix_json(tmp_path / "full.json", [0, 1, 0, 2, 0])
    write_dividemix_json(tmp_path / "subset.json", [2, 1])
    assert corrupt(task, from_file(tmp_path / "full.json")).tolist() == [1, 2]
    assert corrupt(task, from_file(tmp_path / "subset.json")).tolist() == [2, 1]
    write_dividemix_json(tmp_path / "other.json", [0, 1, 2])
    message = r"other\.json has 3 labels, expected 5 \(training set of digits\) or 2 \(data\.subset\)"
    with pytest.raises(InputError, match=message):
        corrupt(task, from_file(tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[0, 1", r"labels\.json is not JSON"),
        ("\xff", r"labels\.json is not JSON"),
        ("[" * 100_000, r"labels\.json is not JSON"),
        ('{"noise_labels": [0, 1]}', r"labels\.json holds a dict, not a bare JSON array"),
        ("[0]", r"labels\.json has 1 labels, expected 2 \(training set of any\)$"),
        ("[0, 3]", r"labels\.json: label 3 at position 1 is not a whole number in \[0, 3\)"),
        ("[-1, 0]", r"label -1 at position 0"),
        ("[0, 1.0]", r"label 1\.0 at position 1"),
        ("[true, 1]", r"label true at position 0"),
        ('[0, "1"]', r'label "1" at position 1'),
    ],
)
def test_bad_label_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.json").write_bytes(content.encode("latin1"))
    with pytest.raises(InputError, match=message):
        corrupt(task_of([0, 1], 3), from_file(tmp_path / "labels.json"))


def test_label_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"noise\.path"):
        corrupt(task_of([0, 1], 3), from_file(None))
    with pytest.raises(InputError, match=r"noise\.path=.*absent\.json"):
        corrupt(task_of([0, 1], 3), from_file(tmp_path / "absent.json"))
    with pytest.raises(InputError, match=r"cannot be read"):
        corrupt(task_of([0, 1], 3), from_file(tmp_path))


def test_labels_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.*labels\.json"):
        write_dividemix_json(tmp_path / "absent" / "labels.json", [0, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (asymmetric(), r"data=any has no classes known to be confused; set noise\.map=\{CLASS: CLASS"),
        (asymmetric(mapping={}), r"noise\.map=\{\}: set noise\.map="),
        (asymmetric(mapping="cat"), r"noise\.map=cat: set noise\.map="),
        (asymmetric(mapping={"cow": 1}), r"noise\.map: cow is no class; give a number in \[0, 3\) or one of cat, dog"),
        (asymmetric(mapping={0: 3}), r"noise\.map: 3 is no class"),
        (asymmetric(mapping={0: -1}), r"noise\.map: -1 is no class"),
        (asymmetric(mapping={0: True}), r"noise\.map: True is no class"),
        (asymmetric(mapping={0: None}), r"noise\.map: None is no class"),
        (asymmetric(mapping={0: 1, "cat": 2}), r"noise\.map maps cat twice"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        corrupt(task_of([0, 1, 2], 3, names=("cat", "dog", "owl")), settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("settings", [symmetric(0.5), pair_flip()])
def test_two_classes_are_needed(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"noise={settings['name']} "):
        corrupt(task_of([0, 0], 1), settings)


TEXT_ORDER = sorted(range(12), key=str)


def labels_in(folder: Path, labels: Any) -> dict[str, Any]:
    write_dividemix_json(folder / "labels.json", labels)
    return from_file(folder / "labels.json")


@pytest.mark.parametrize("noise", [0, 0.3])
def test_classes_in_the_order_of_their_text_are_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], noise: float
) -> None:
    """Another program numbered the classes 0 to 11 as text sorts them: 0, 1, 10, 11, 2, ..."""
    task = task_of(np.arange(600) % 12, 12)
    meant = corrupt(task, symmetric(noise))
    with pytest.raises(InputError, match=r"labels\.json: .* 2 .*'10'"):
        corrupt(task, labels_in(tmp_path, np.argsort(TEXT_ORDER)[meant]))
    assert "class 0 = 0, 1 = 1, 2 = 2," in capsys.readouterr().out
    assert (corrupt(task, labels_in(tmp_path, meant)) == meant).all()


@pytest.mark.parametrize(
    "made",
    [
        symmetric(0.9),
        symmetric(0.9, convention="exclusive"),
        pair_flip(0.45),
        asymmetric(0.5, mapping={0: 1, 1: 0}),
        pair_flip(0.9),
        symmetric(1.0, convention="exclusive"),
    ],
)
def test_extreme_noise_is_made_and_read_back(tmp_path: Path, made: dict[str, Any]) -> None:
    task = task_of(np.arange(2000) % 10, 10)
    noisy = corrupt(task, made)
    realised = float((noisy != task.labels).mean())
    told = labels_in(tmp_path, noisy) | ({"rate": made["rate"]} if realised > 0.85 else {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (corrupt(task, told) == noisy).all()


def test_labels_that_are_wrong_more_often_than_chance_are_refused(tmp_path: Path) -> None:
    task = task_of(np.arange(2000) % 10, 10)
    never_right = corrupt(task, symmetric(1.0, convention="exclusive"))
    with pytest.raises(InputError, match=r"labels\.json: 100 % .* 90 % .*noise\.rate"):
        corrupt(task, labels_in(tmp_path, never_right))
    with pytest.raises(InputError, match="100 %"):
        corrupt(task, labels_in(tmp_path, never_right) | {"rate": 0.9})
    shuffled = np.random.RandomState(0).permutation(task.labels)
    with pytest.warns(UserWarning, match=r"labels\.json: (89|90|91) %"):
        corrupt(task, labels_in(tmp_path, shuffled))


def test_two_classes_that_are_taken_for_each_other(tmp_path: Path) -> None:
    task = task_of(np.arange(200) % 2, 2, names=("cat", "dog"))
    with pytest.raises(InputError, match=r"100 % .* 0 .*'dog'"):
        corrupt(task, labels_in(tmp_path, 1 - task.labels))
    few = task_of([0, 1, 0], 2)
    assert corrupt(few, labels_in(tmp_path, [1, 0, 1])).tolist() == [1, 0, 1], "three are no evidence"


def test_the_order_of_many_classes_is_said_in_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(np.arange(200) % 100, 100, names=(*(f"c{number}" for number in range(99)), "a\nb"))
    corrupt(task, labels_in(tmp_path, task.labels))
    (line,) = capsys.readouterr().out.splitlines()
    assert "0 = c0" in line
    assert "c50" not in line
    assert line.endswith(r"99 = a\nb")
