"""Clothing1M, ANIMAL-10N, WebVision mini, Food-101N in small trees of exactly their layouts, bad entries included."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanm.data import Data, prepare
from sanm.data.datasets import load
from sanm.data.types import Source
from sanm.errors import InputError
from tests.data.pictures import MIDDLE, paint

NO_NOISE = {"name": "none"}


def settings(name: str, root: Path, **more: Any) -> dict[str, Any]:
    own: dict[str, Any] = {"clothing1m": {"train_part": "noisy"}, "webvision": {"classes": 50}}.get(name, {})
    shared = {"name": name, "root": str(root), "image_size": 16, "cache_dir": None, "skip_bad": False}
    return {**shared, "subset": None, "test_subset": None, "validation": 0.0, **own, **more}


def source(name: str, root: Path, **more: Any) -> Source:
    return load(settings(name, root, **more), Path("unused"))


def prepared(name: str, root: Path, **more: Any) -> Data:
    return prepare(settings(name, root, **more), NO_NOISE, Path("unused"))


def lines(path: Path, *content: str, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + end for line in content), newline="")


# ---- Clothing1M

SHOPS = [f"images/{i % 10}/{i % 7:02d}/34{i},421{i}.jpg" for i in range(34)]
NOISY, VALIDATION, TEST = SHOPS[:28], SHOPS[28:31], SHOPS[31:]


@pytest.fixture
def clothing(tmp_path: Path) -> Path:
    """Two noisy training images of each class, three images each to validate and to test."""
    root = tmp_path / "clothing"
    for position, key in enumerate(SHOPS):
        paint(root / key, (position, 0, 255))
    lines(root / "noisy_train_key_list.txt", *NOISY)
    lines(root / "noisy_label_kv.txt", *(f"{key} {i % 14}" for i, key in enumerate(SHOPS)))
    lines(root / "clean_val_key_list.txt", *VALIDATION)
    lines(root / "clean_test_key_list.txt", *TEST)
    lines(root / "clean_label_kv.txt", *(f"{key} {(i + 1) % 14}" for i, key in enumerate(SHOPS[28:])))
    return root


def test_clothing1m(clothing: Path) -> None:
    data = prepared("clothing1m", clothing)
    assert data.train.keys == tuple(NOISY), "the comma is part of the name"
    assert data.train.given_labels.tolist() == [i % 14 for i in range(28)]
    assert data.train.class_names[8] == "Downcoat"
    assert data.train.images[:][5, :, MIDDLE, MIDDLE].tolist() == pytest.approx([5, 0, 255], abs=4)
    assert data.train.mean == (0.6959, 0.6537, 0.6371)
    assert data.validation is not None
    assert (data.validation.labels.tolist(), data.validation_labels) == ([1, 2, 3], "true")
    assert data.test is not None
    assert data.test.labels.tolist() == [4, 5, 6]
    assert (data.true_labels, data.realised_noise_rate, data.left_out) == (None, None, ())


@pytest.mark.parametrize("folder", ["annotations", "label"])
def test_clothing1m_lists_in_a_folder_with_other_line_ends(clothing: Path, folder: str) -> None:
    expected = source("clothing1m", clothing)
    for path in sorted(clothing.glob("*.txt")):
        lines(clothing / folder / path.name, *path.read_text().splitlines(), "", end="\r\n")
        path.unlink()
    found = source("clothing1m", clothing)
    assert found.train.keys == expected.train.keys
    assert found.train.labels.tolist() == expected.train.labels.tolist()
    assert found.validation is not None


def test_clothing1m_where_the_root_is_the_folder_of_images(clothing: Path) -> None:
    for path in sorted(clothing.glob("*.txt")):
        shutil.move(path, clothing / "images" / path.name)
    data = prepared("clothing1m", clothing / "images")
    assert data.train.keys[0] == NOISY[0].removeprefix("images/")


def test_clothing1m_lists_with_labels_in_them(clothing: Path) -> None:
    for path in clothing.glob("*.txt"):
        path.unlink()
    lines(clothing / "noisy_train.txt", *(f"{key}\t{i % 14}" for i, key in enumerate(NOISY)))
    found = source("clothing1m", clothing)
    assert found.train.labels.tolist() == [i % 14 for i in range(28)]
    assert (found.validation, found.test) == (None, None)


def test_clothing1m_trained_on_labels_by_hand(clothing: Path) -> None:
    with pytest.raises(InputError, match=r"clean training images"):
        source("clothing1m", clothing, train_part="clean")
    lines(clothing / "clean_train_key_list.txt", *NOISY[:14])
    lines(clothing / "clean_label_kv.txt", *(f"{key} {i % 14}" for i, key in enumerate(SHOPS)))
    found = source("clothing1m", clothing, train_part="clean")
    assert found.labels_verified
    assert len(found.train.keys) == 14


def test_clothing1m_images_that_have_both_labels(clothing: Path) -> None:
    with open(clothing / "clean_label_kv.txt", "a") as handle:
        handle.write(f"{NOISY[0]} 0\n{NOISY[1]} 13\n")
    data = prepared("clothing1m", clothing)
    assert data.true_labels is not None
    assert data.true_labels[:3].tolist() == [0, 13, -1]
    assert data.realised_noise_rate == 0.5


def test_clothing1m_bad_entries(clothing: Path) -> None:
    with open(clothing / "noisy_train_key_list.txt", "a") as handle:
        handle.write(f"\n{NOISY[3]}\nimages/9/99/unknown,key.jpg\n{SHOPS[30]}\n{SHOPS[31]}\n{SHOPS[32]}\n{SHOPS[33]}\n")
    labels = (clothing / "noisy_label_kv.txt").read_text().splitlines()
    labels[30] = f"{SHOPS[30]} 14"
    labels[31] = SHOPS[31]
    labels[32] = f"{SHOPS[32]} dress"
    labels += [f"{SHOPS[33]} 3", labels[2]]
    lines(clothing / "noisy_label_kv.txt", *labels)
    message = r"noisy_train_key_list\.txt: .*34.*jpg is listed twice in noisy_train_key_list\.txt, and 5 more entries"
    with pytest.raises(InputError, match=message):
        source("clothing1m", clothing)
    (clothing / NOISY[4]).unlink()
    (clothing / NOISY[5]).write_bytes((clothing / NOISY[5]).read_bytes()[:300])
    data = prepared("clothing1m", clothing, skip_bad=True)
    assert [tuple(each) for each in data.left_out[:6]] == [
        (NOISY[3], "is listed twice in noisy_train_key_list.txt"),
        ("images/9/99/unknown,key.jpg", "has no label in noisy_label_kv.txt"),
        (SHOPS[30], "has the label 14 in noisy_label_kv.txt, which is not in [0, 14)"),
        (SHOPS[31], "has no label in noisy_label_kv.txt"),
        (SHOPS[32], "has no label in noisy_label_kv.txt"),
        (SHOPS[33], "has two labels in noisy_label_kv.txt, 5 and 3"),
    ]
    assert [each.key for each in data.left_out[6:]] == [NOISY[4], NOISY[5]]
    assert len(data.train.keys) == 26
    assert data.train.index.tolist() == [0, 1, 2, 3, *range(6, 28)]


def test_clothing1m_class_without_samples_is_a_warning(clothing: Path) -> None:
    lines(clothing / "noisy_train_key_list.txt", *(key for i, key in enumerate(NOISY) if i % 14 != 13))
    with pytest.warns(UserWarning, match=r"training images of Underwear"):
        assert len(source("clothing1m", clothing).class_names) == 14


def test_clothing1m_files_that_are_not_there(clothing: Path) -> None:
    (clothing / "noisy_label_kv.txt").unlink()
    with pytest.raises(InputError, match=r"noisy_train_key_list\.txt .*noisy_label_kv\.txt is not"):
        source("clothing1m", clothing)
    (clothing / "noisy_train_key_list.txt").unlink()
    with pytest.raises(InputError, match=r"expected images/, noisy_train_key"):
        source("clothing1m", clothing)


def test_a_million_images_do_not_fit_and_that_is_said_before_any_is_opened(
    clothing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whose folder "unused" is made
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 5, "SC_PAGE_SIZE": 4000}.__getitem__)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(50_000, 30_000, 20_000))
    for key in SHOPS:
        (clothing / key).write_bytes(b"not an image, which would be said")
    with pytest.raises(InputError, match=r"28 .*data\.image_size=16 .*2\.15e-05 GB, .*data\.subset=N"):
        prepared("clothing1m", clothing)


# ---- ANIMAL-10N


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    root = tmp_path / "animals"
    for position in range(20):
        paint(root / "training" / f"{position % 10}_img{position:03d}.jpg", (position, 0, 255), (64, 64))
    paint(root / "testing" / "9_a_b.jpg", (9, 9, 9), (64, 64))
    return root


def test_animal10n_raw_images(animals: Path) -> None:
    data = prepared("animal10n", animals)
    assert data.train.keys[:3] == ("training/0_img000.jpg", "training/0_img010.jpg", "training/1_img001.jpg"), "by name"
    assert data.train.given_labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert data.train.class_names[9] == "Guinea pig"
    assert data.test is not None
    assert data.test.labels.tolist() == [9]
    assert (data.realised_noise_rate, data.validation) == (None, None)


def test_animal10n_raw_names_that_say_no_label(animals: Path) -> None:
    for name in ("10_x.jpg", "cat_x.jpg", "7.jpg", "_x.jpg"):
        paint(animals / "training" / name)
    (animals / "training" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"training: 10_x\.jpg .* 3 more"):
        source("animal10n", animals)
    found = source("animal10n", animals, skip_bad=True)
    assert len(found.train.keys) == 20
    assert len(found.left_out) == 4


def record(number: int, label: int, first: int = 0) -> bytes:
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[0], pixels[1, 2, 5] = first, 77
    return struct.pack(">II", number, label) + pixels.tobytes()


def test_animal10n_binary(tmp_path: Path) -> None:
    for batch in (1, 2, 10):
        content = [record(300 * batch + place, (batch + place) % 10, batch) for place in range(5)]
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(b"".join(content))
    (tmp_path / "test_batch.bin").write_bytes(record(0, 4))
    data = prepared("animal10n", tmp_path, image_size=64)
    assert data.train.keys[:2] == ("300", "301")
    assert data.train.keys[-1] == "3004", "the tenth batch comes last"
    assert data.train.given_labels[:5].tolist() == [1, 2, 3, 4, 5]
    assert data.train.images.shape == (15, 3, 64, 64)
    assert data.train.images[:][14, :, 2, 5].tolist() == [10, 77, 0]
    assert data.test is not None
    assert data.test.labels.tolist() == [4]
    smaller = prepared("animal10n", tmp_path, image_size=32)
    assert smaller.train.images.shape == (15, 3, 32, 32)
    assert smaller.train.images[:][0, :, 20, 20].tolist() == [1, 0, 0]


def test_animal10n_bad_binary(tmp_path: Path) -> None:
    file = tmp_path / "data_batch_1.bin"
    file.write_bytes(b"".join(record(number, label) for number, label in ((1, 1), (2, 12), (1, 3), (4, 2))))
    with pytest.raises(InputError, match=r"image 2 .*12,.* \[0, 10\), .*1 more"):
        source("animal10n", tmp_path)
    found = source("animal10n", tmp_path, skip_bad=True)
    assert found.train.keys == ("1", "4")
    assert [each.reason for each in found.left_out][1] == "comes twice"
    file.write_bytes(record(1, 1)[:-1])
    with pytest.raises(InputError, match=r"12295 bytes, .*12296"):
        source("animal10n", tmp_path)


def test_animal10n_that_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ANIMAL-10N; expected training/ and testing/"):
        source("animal10n", tmp_path)
    (tmp_path / "raw_image.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"ANIMAL-10N: unzip raw_image\.zip"):
        source("animal10n", tmp_path)


# ---- WebVision mini


@pytest.fixture
def web(tmp_path: Path) -> Path:
    root = tmp_path / "webvision"
    files = [(f"google/q{i:04d}/a b{i}.jpg", i) for i in range(52)]
    for key, label in files:
        paint(root / key, (label, 0, 255))
    paint(root / "val_images_256" / "val000001.jpg", (3, 3, 3))
    lines(root / "info" / "train_filelist_google.txt", *(f"{key} {label}" for key, label in files))
    lines(root / "info" / "val_filelist.txt", "val000001.jpg 3", "val000002.jpg 999")
    names = ["n01440764 tench, Tinca tinca", "n01443537 goldfish", "n02012849 crane", "n03126707 crane"]
    lines(root / "info" / "synsets.txt", *names, *(f"n{i:08d} thing {i}" for i in range(4, 1000)))
    return root


def test_webvision_mini(web: Path) -> None:
    data = prepared("webvision", web)
    assert data.train.given_labels.tolist() == list(range(50)), "the other classes are not of mini"
    assert data.train.class_names[:4] == ("tench", "goldfish", "crane (n02012849)", "crane (n03126707)")
    assert data.test is not None
    assert data.test.labels.tolist() == [3]
    assert prepared("webvision", web, classes=2).train.keys == ("google/q0000/a b0.jpg", "google/q0001/a b1.jpg")


def test_webvision_bad_entries(web: Path) -> None:
    with open(web / "info" / "train_filelist_google.txt", "a") as handle:
        handle.write("google/q0000/x.jpg 1000\ngoogle/q0000/y.jpg\n")
    with pytest.raises(InputError, match=r"q0000/x\.jpg .*1000 .*1 more"):
        source("webvision", web)
    assert len(source("webvision", web, skip_bad=True).train.keys) == 50
    (web / "info" / "synsets.txt").unlink()
    assert source("webvision", web, skip_bad=True).class_names[:2] == ("0", "1")
    lines(web / "info" / "synsets.txt", "n1 one")
    with pytest.raises(InputError, match=r" 1 .*data\.classes=50"):
        source("webvision", web)
    shutil.rmtree(web / "info")
    with pytest.raises(InputError, match=r"info/train_filelist_google\.txt; expected info/"):
        source("webvision", web)


# ---- Food-101N


@pytest.fixture
def food(tmp_path: Path) -> Path:
    root = tmp_path / "food"
    release = root / "Food-101N_release"
    keys = [f"{name}/{letter}{i}.jpg" for name in ("apple_pie", "waffles") for i, letter in enumerate("abc")]
    for shade, key in enumerate(keys):
        paint(release / "images" / key, (40 * shade, 100, 50))
    lines(release / "meta" / "classes.txt", "class_name", "apple_pie", "waffles")
    lines(release / "meta" / "imagelist.tsv", "class_name/key", *keys)
    verified = ("apple_pie/a0.jpg\t1", "apple_pie/b1.jpg\t0", "waffles/a0.jpg\t1", "waffles/elsewhere.jpg\t0")
    lines(release / "meta" / "verified_train.tsv", "class_name/key\tverification_label", *verified)
    lines(release / "meta" / "verified_val.tsv", "class_name/key\tverification_label", "waffles/c2.jpg\t0")
    paint(root / "food-101" / "images" / "waffles" / "17.jpg")
    lines(root / "food-101" / "meta" / "test.txt", "waffles/17")
    return root


def test_food101n(food: Path) -> None:
    data = prepared("food101n", food)
    assert data.train.class_names == ("apple_pie", "waffles"), "the first line is a header"
    assert data.train.given_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.true_labels is not None
    assert data.true_labels.tolist() == [0, 2, -1, 1, -1, 2], "2: another dish, nobody says which"
    assert (data.realised_noise_rate, data.per_class_noise) == (0.5, None)
    assert data.test is not None
    assert data.test.labels.tolist() == [1]


def test_food101n_without_its_test_images(food: Path) -> None:
    shutil.rmtree(food / "food-101")
    with pytest.warns(UserWarning, match=r"data=food101n .*\b3\b"):
        data = prepared("food101n", food, validation=0.5)
    assert data.test is None


def test_food101n_bad_entries(food: Path) -> None:
    meta = food / "Food-101N_release" / "meta"
    with open(meta / "imagelist.tsv", "a") as handle:
        handle.write("sushi/a.jpg\nwaffles\nwaffles/a0.jpg\n")
    with open(meta / "verified_val.tsv", "a") as handle:
        handle.write("waffles/b1.jpg\t2\n")
    with pytest.raises(InputError, match=r"sushi/a\.jpg .*classes\.txt, .*2 more"):
        source("food101n", food)
    found = source("food101n", food, skip_bad=True)
    assert len(found.train.keys) == 6
    assert [each.reason for each in found.left_out] == [
        "is of no class of classes.txt",
        "is of no class of classes.txt",
        "is listed twice",
        "has no verification label, 0 or 1, in verified_val.tsv",
    ]
