"""Human labels in every format they are published in, and whatever may be wrong with such a file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sanm.data.noise import corrupt
from sanm.data.types import LabelTask
from sanm.errors import InputError

COUNT, CLASSES = 40, 10
STREAM = np.random.RandomState(0)
CLEAN = STREAM.randint(0, CLASSES, COUNT)
NOISY = {
    name: STREAM.randint(0, CLASSES, COUNT)
    for name in ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
}
KEYS = {
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
}
SMALL = {name: labels.astype(np.uint8) for name, labels in {"clean_label": CLEAN, **NOISY}.items()}
ORDER = STREAM.permutation(COUNT)


def task(index: np.ndarray[Any, Any] | None = None) -> LabelTask:
    chosen = np.arange(COUNT) if index is None else index
    names = tuple(str(label) for label in range(CLASSES))
    return LabelTask(
        CLEAN[chosen], chosen, COUNT, CLASSES, names, "cifar10", lambda: torch.empty(0), (0.5,) * 3, (0.2,) * 3
    )


def given(path: Path, key: str, index: np.ndarray[Any, Any] | None = None, **more: Any) -> list[int]:
    return corrupt(task(index), {"name": "human", "path": str(path), "key": key, "order": None, **more}).tolist()


def written(path: Path, **changes: Any) -> Path:
    """A file of the format that its ending says."""
    arrays = {"clean_label": CLEAN, **NOISY, **changes}
    if path.suffix == ".npz":
        np.savez(path, **{**SMALL, **{key: np.asarray(value) for key, value in changes.items()}})
    elif path.suffix == ".npy":
        np.save(path, np.array({key: np.asarray(value).tolist() for key, value in arrays.items()}, dtype=object))
    else:
        torch.save(arrays, path)
    return path


@pytest.mark.parametrize("ending", ["npz", "npy", "pt"])
@pytest.mark.parametrize("key", KEYS)
def test_every_format_and_key(tmp_path: Path, ending: str, key: str) -> None:
    path = written(tmp_path / f"labels.{ending}")
    assert given(path, key) == NOISY[KEYS[key]].tolist()
    index = np.array([1, 5, 6, 39])
    assert given(path, key, index) == NOISY[KEYS[key]][index].tolist()


def test_a_torch_file_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "labels.pt"
    torch.save({"clean_label": torch.from_numpy(CLEAN), "worse_label": torch.from_numpy(NOISY["worse_label"])}, path)
    assert given(path, "worse") == NOISY["worse_label"].tolist()


@pytest.mark.parametrize("name", ["noisy_label", "noise_label"])
def test_cifar100n(tmp_path: Path, name: str) -> None:
    path = tmp_path / "CIFAR-100_human.pt"
    coarse = {"clean_coarse_label": [0] * COUNT, "noisy_coarse_label": [1] * COUNT}
    torch.save({"clean_label": CLEAN, name: NOISY["worse_label"], **coarse}, path)
    assert given(path, "fine") == NOISY["worse_label"].tolist()
    with pytest.raises(InputError, match=r"worse_label.* fine.*noise\.key"):
        given(path, "worse")


def test_tensorflows_order(tmp_path: Path) -> None:
    moved = {name: labels[ORDER] for name, labels in {"clean_label": CLEAN, **NOISY}.items()}
    path, order = written(tmp_path / "CIFAR-10_human_ordered.npy", **moved), tmp_path / "image_order_c10.npy"
    np.save(order, ORDER)
    with pytest.raises(InputError, match=r"data=cifar10 at \d+ of 40 .*noise\.order="):
        given(path, "worse")
    assert given(path, "worse", order=str(order)) == NOISY["worse_label"].tolist()
    np.save(order, np.zeros(COUNT, np.int64))
    with pytest.raises(InputError, match=r"noise\.order=.* 0 to 39 "):
        given(path, "worse", order=str(order))
    with pytest.raises(InputError, match=r"noise\.order=.*absent\.npy"):
        given(path, "worse", order=str(tmp_path / "absent.npy"))


def test_one_other_label_is_enough_to_refuse_the_order(tmp_path: Path) -> None:
    other = CLEAN.copy()
    other[7] = (other[7] + 1) % CLASSES
    path = written(tmp_path / "labels.npz", clean_label=other)
    message = rf"at 1 of 40 images \(the first: {other[7]} for {CLEAN[7]} at position 7\)"
    with pytest.raises(InputError, match=message):
        given(path, "worse")
    assert given(path, "worse", np.array([0, 1])) == NOISY["worse_label"][:2].tolist(), "what is not used cannot differ"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"worse_label": CLEAN[:-1]},
            r"worse_label is int64 \[39\], expected 40 whole numbers \(training set of cifar10",
        ),
        (
            {"worse_label": np.where(np.arange(COUNT) == 3, 10, CLEAN)},
            r"worse_label 10 at position 3 is not in \[0, 10\)",
        ),
        ({"worse_label": CLEAN / 2}, r"worse_label is float64 \[40\], expected 40 whole numbers"),
        ({"clean_label": CLEAN[None]}, r"clean_label is int64 \[1, 40\]"),
    ],
)
@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_arrays_that_are_no_labels(tmp_path: Path, ending: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        given(written(tmp_path / f"labels.{ending}", **changes), "worse")


class Harm:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["HARM"],)


@pytest.mark.parametrize("ending", ["pt", "npy", "npz"])
def test_code_in_a_file_is_not_run(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    path = tmp_path / f"labels.{ending}"
    if ending == "pt":
        torch.save({"clean_label": CLEAN, "worse_label": Harm()}, path)
    elif ending == "npy":
        np.save(path, np.array({"clean_label": Harm()}, dtype=object))
    else:
        np.savez(path, clean_label=np.array(Harm(), dtype=object))
    with pytest.raises(InputError, match=r"no intact file .*\("):
        given(path, "worse")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("ending", ["pt", "npy", "npz"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_damaged_files(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"labels.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"noise\.path=.* no intact file .*: fetch") as raised:
        given(path, "worse")
    assert "\n" not in str(raised.value)


def test_files_that_are_not_there_or_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"noise\.path=.*absent\.pt .*No such file"):
        given(tmp_path / "absent.pt", "worse")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"holds a list"):
        given(tmp_path / "list.pt", "worse")
    np.save(tmp_path / "bare.npy", CLEAN)
    with pytest.raises(InputError, match=r"\[40\] of int64"):
        given(tmp_path / "bare.npy", "worse")


def test_nothing_of_the_task_is_changed(tmp_path: Path) -> None:
    before = task()
    corrupt(before, {"name": "human", "path": str(written(tmp_path / "labels.npz")), "key": "worse"})
    assert dataclasses.asdict(before)["labels"].tolist() == CLEAN.tolist()
