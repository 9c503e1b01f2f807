"""The official CIFAR pickles: as published, as a part of them, and damaged in every way."""

from __future__ import annotations

import os
import pickle
import tarfile
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from sanm.data.datasets import load
from sanm.data.types import Source
from sanm.errors import InputError

SHARED = Path(os.environ.get("SANM_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
pytestmark = pytest.mark.filterwarnings("ignore:.*not the published files")


def batch(count: int, seed: int, num_classes: int, label_key: str) -> dict[str, Any]:
    stream = np.random.RandomState(seed)
    return {
        "data": stream.randint(0, 256, (count, 3072)).astype(np.uint8),
        label_key: stream.randint(0, num_classes, count).tolist(),
        "filenames": [f"{position}.png" for position in range(count)],
        "batch_label": "written by a test",
    }


def with_bytes_keys(content: dict[str, Any]) -> dict[bytes, Any]:
    return {key.encode(): value for key, value in content.items()}


def write(path: Path, content: Any, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_cifar10(root: Path, keys_as_bytes: bool = False, protocol: int = 2) -> Path:
    folder = root / "cifar-10-batches-py"
    for position, name in enumerate(BATCHES):
        content = batch(3 + position, position, 10, "labels")
        write(folder / name, with_bytes_keys(content) if keys_as_bytes else content, protocol)
    return folder


def load_cifar10(root: Path | None, **settings: Any) -> Source:
    named = {"name": "cifar10", "root": None if root is None else str(root), "download": False, **settings}
    return load(named, Path("unused"))


@pytest.mark.parametrize("keys_as_bytes", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_batches_in_order_whatever_the_pickle(tmp_path: Path, keys_as_bytes: bool, protocol: int) -> None:
    write_cifar10(tmp_path, keys_as_bytes, protocol)
    source = load_cifar10(tmp_path)
    assert source.train.images().shape == (3 + 4 + 5 + 6 + 7, 3, 32, 32)
    assert source.test.images().shape == (8, 3, 32, 32)
    assert source.train.images().dtype == source.test.images().dtype == torch.uint8
    assert source.train.labels.dtype == source.test.labels.dtype == np.int64
    expected = [batch(3 + position, position, 10, "labels") for position in range(6)]
    assert source.train.labels.tolist() == [label for each in expected[:5] for label in each["labels"]]
    assert source.test.labels.tolist() == expected[5]["labels"]
    # A row holds the red plane, then green, then blue, each row by row.
    assert source.train.images()[3, 1, 2, 5] == expected[1]["data"][0, 1024 + 2 * 32 + 5]
    assert source.mean == (0.4914, 0.4822, 0.4465)
    assert source.std == (0.2023, 0.1994, 0.2010)
    assert source.class_names[3] == "cat"
    assert source.train.keys[:3] == ("0", "1", "2")
    assert source.labels_verified


def test_root_is_the_parent_or_the_folder_itself(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    assert torch.equal(load_cifar10(tmp_path).train.images(), load_cifar10(folder).train.images())


def test_altered_files_are_named_in_one_warning(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_cifar10(tmp_path)
    messages = [str(each.message) for each in caught if "published" in str(each.message)]
    assert len(messages) == 1
    assert all(name in messages[0] for name in BATCHES)


def test_class_names_of_the_meta_file(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    write(folder / "batches.meta", {b"label_names": [f"class {label}".encode() for label in range(10)]})
    assert load_cifar10(tmp_path).class_names[9] == "class 9"
    write(folder / "batches.meta", {"label_names": ["only one"]})
    with pytest.raises(InputError, match=r"batches\.meta: 'label_names' .* 10 "):
        load_cifar10(tmp_path)


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    for seed, name in enumerate(("train", "test")):
        write(folder / name, {**batch(12, seed, 100, "fine_labels"), "coarse_labels": [0] * 12})
    source = load({"name": "cifar100", "root": str(tmp_path)}, Path("unused"))
    assert source.train.labels.tolist() == batch(12, 0, 100, "fine_labels")["fine_labels"]
    assert source.class_names == tuple(str(label) for label in range(100))
    assert source.mean == (0.507, 0.487, 0.441)
    assert source.std == (0.267, 0.256, 0.276)


def test_original_images(tmp_path: Path) -> None:
    archive = SHARED / "cifar10_lossless_6k.tar.xz"
    if not archive.is_file():
        pytest.skip("the original images are not here (SANM_SHARED_DATA)")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    source = load_cifar10(tmp_path)
    assert source.train.images().shape == (5 * 1017, 3, 32, 32)
    assert source.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert source.test.images().shape == (1017, 3, 32, 32)
    assert source.class_names[0] == "airplane"
    pixel_means = source.train.images().double().mean((0, 2, 3)) / 255
    assert torch.allclose(pixel_means, torch.tensor(source.mean, dtype=torch.float64), atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": np.zeros((3, 3000), np.uint8)},
            r"data_batch_1: 'data' must be uint8 \[images, 3072\], not uint8 \[3,",
        ),
        ({"data": np.zeros((3, 3072), np.float32)}, r"must be uint8 \[images, 3072\], not float32"),
        ({"data": [[0] * 3072]}, r"must be uint8 \[images, 3072\], not list"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, r"data_batch_1 holds no image"),
        ({"labels": [0, 1]}, r"data_batch_1 has 3 images but 2 labels"),
        ({"labels": [0, 10, 1]}, r"data_batch_1: label 10 of image 1 is not in \[0, 10\)"),
        ({"labels": [0, 1, -1]}, r"label -1 of image 2"),
        ({"labels": [0, 1, 0.5]}, r"'labels' must be a list of whole numbers"),
        ({"labels": [[0], [1, 2], [3]]}, r"'labels' must be a list of whole numbers"),
        ({"labels": "abc"}, r"'labels' must be a list of whole numbers"),
    ],
)
def test_bad_batches(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = write_cifar10(tmp_path)
    write(folder / "data_batch_1", {**batch(3, 0, 10, "labels"), **change}, protocol=4)
    with pytest.raises(InputError, match=message):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("missing", ["data", "labels"])
def test_batches_without_a_key(tmp_path: Path, missing: str) -> None:
    folder = write_cifar10(tmp_path)
    content = batch(3, 0, 10, "labels")
    del content[missing]
    write(folder / "data_batch_3", content)
    with pytest.raises(InputError, match=rf"data_batch_3 .*'{missing}' \(only batch_label"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 100, 5000])
def test_truncated_pickles(tmp_path: Path, length: int) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_2").write_bytes((folder / "data_batch_2").read_bytes()[:length])
    with pytest.raises(InputError, match=r"data_batch_2 .*\(.+\): fetch") as raised:
        load_cifar10(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\x80\x02}q\x00.garbage"[:4], b"\x00" * 50])
def test_files_that_are_no_pickles(tmp_path: Path, content: bytes) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match=r"test_batch "):
        load_cifar10(tmp_path)


def test_pickles_of_something_else(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    write(folder / "test_batch", [1, 2])
    with pytest.raises(InputError, match=r"test_batch .* list"):
        load_cifar10(tmp_path)


class _Harmful:
    """Makes a file when it is unpickled without restriction."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_cannot_run_code(tmp_path: Path, protocol: int) -> None:
    folder = write_cifar10(tmp_path)
    write(folder / "data_batch_1", {"data": _Harmful(tmp_path / "made")}, protocol)
    with pytest.raises(InputError, match=r"data_batch_1 .*(posix|os|nt)\.mkdir"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "made").exists()
    write(folder / "data_batch_1", OrderedDict(batch(3, 0, 10, "labels")), protocol)
    with pytest.raises(InputError, match=r"collections\.OrderedDict"):
        load_cifar10(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root="):
        load_cifar10(None)
    with pytest.raises(InputError, match=r"cifar-10-batches-py.*data\.root=.*data\.download=true"):
        load_cifar10(tmp_path / "absent")
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match=r"data_batch_4 "):
        load_cifar10(tmp_path)


def test_download_when_absent_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []

    def fetch(root: str, download: bool) -> None:
        assert download
        downloads.append(root)
        write_cifar10(Path(root))

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fetch)
    root = tmp_path / "new" / "data"
    assert len(load_cifar10(root, download=True).test.labels) == 8
    load_cifar10(root, download=True)
    assert downloads == [str(root)]


def test_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: str, download: bool) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    message = r"^data\.download=true: cifar-10-batches-py could not be fetched .*\(no route to host\).*data\.root$"
    with pytest.raises(InputError, match=message):
        load_cifar10(tmp_path, download=True)
