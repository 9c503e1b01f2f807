"""`data=huggingface`: what is read of folders and Parquet that `datasets` writes, and what is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanm.data import datasets as data_sets
from sanm.data.types import UNKNOWN, Source
from sanm.errors import InputError
from sanm.record.identity import identity, look_again
from tests.conftest import Command, config_of

hub = pytest.importorskip("datasets")

CLASSES = ("dog", "cat", "bird")
COUNT = 12


@pytest.fixture(autouse=True)
def quiet() -> None:
    hub.disable_progress_bars()


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 10 + number, np.uint8)).save(out, "png")
    return out.getvalue()


def rows(labels: Sequence[Any] | None = None, kind: Any = None, **columns: Any) -> Any:
    """A data set of images of growing brightness; labels 0, 1, 2, 0, ... of a ClassLabel unless others are given."""
    given = list(range(3)) * (COUNT // 3) if labels is None else list(labels)
    kind = kind or hub.ClassLabel(names=list(CLASSES))
    content = {"image": [{"bytes": png(number), "path": None} for number in range(len(given))], "label": given}
    made = hub.Dataset.from_dict(content, features=hub.Features({"image": hub.Image(), "label": kind}))
    for name, values in columns.items():
        made = made.add_column(name, values)
    return made


def config(path: Path, *words: str) -> dict[str, Any]:
    return config_of("data=huggingface", f"data.path={path}", "data.image_size=8", *words)


def load(path: Path, *words: str) -> Source:
    return data_sets.load(config(path, *words)["data"], path.parent / "cache")


def shades(source: Source, part: str = "train") -> list[int]:
    found = getattr(source, part)
    return [int(image[0, 0, 0]) - 10 for image in found.images()]


def saved(folder: Path, made: Any) -> Path:
    made.save_to_disk(folder)
    return folder


def parquet(folder: Path, made: Any) -> Path:
    made.to_parquet(folder.with_suffix(".parquet"))
    return folder.with_suffix(".parquet")


def with_files(folder: Path, made: Any) -> Path:
    """Images as files whose names are in a column of text."""
    folder.mkdir()
    for number in range(len(made)):
        (folder / f"{number}.png").write_bytes(png(number))
    plain = made.remove_columns("image").add_column("image", [f"{number}.png" for number in range(len(made))])
    plain.to_parquet(folder / "train.parquet")
    return folder


def with_bytes(folder: Path, made: Any) -> Path:
    plain = made.remove_columns("image").add_column("image", [png(number) for number in range(len(made))])
    return parquet(folder, plain)


@pytest.mark.parametrize("write", [saved, parquet, with_files, with_bytes])
def test_all_that_a_column_of_images_may_hold(write: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    source = load(write(tmp_path / "data", rows()))
    assert source.class_names == CLASSES
    assert source.train.labels.tolist() == [0, 1, 2] * 4
    assert shades(source) == list(range(COUNT))
    assert source.test is None


def test_decoded_images_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "data", rows())
    assert shades(load(folder)) == list(range(COUNT))
    monkeypatch.setattr("sanm.data.datasets._decoded.decode", None)
    assert shades(load(folder)) == list(range(COUNT))
    assert list((folder / ".sanm_cache").glob("huggingface-train-*.npy"))


def test_splits_by_name_and_as_they_are_named(tmp_path: Path) -> None:
    made = rows()
    splits = {"train": made, "valid": made.select(range(6)), "test": made.select(range(3)), "extra": made}
    folder = saved(tmp_path / "data", hub.DatasetDict(splits))
    with pytest.warns(UserWarning, match="extra"):
        source = load(folder)
    assert source.validation is not None
    assert source.test is not None
    assert (len(source.validation.labels), len(source.test.labels)) == (6, 3)
    with pytest.warns(UserWarning, match="valid"):
        other = load(folder, "data.splits.train=extra", "data.splits.validation=none")
    assert other.validation is None
    with pytest.raises(InputError, match=r"splits\.test.*|absent.*train, valid"):
        load(folder, "data.splits.test=absent")


def test_a_folder_of_parquet_has_the_splits_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows().to_parquet(tmp_path / "data/train-00000-of-00001.parquet")
    rows().select(range(3)).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    source = load(tmp_path / "data")
    assert source.test is not None
    assert (len(source.train.labels), shades(source, "test")) == (COUNT, [0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["b", "a", " b "] * 4, "string", ("a", "b")),
        ([10, 9, 10] * 4, "int64", ("9", "10")),
        ([1.0, 0.0, 1.0] * 4, "float32", ("0", "1")),
        ([1, -1, 1] * 4, "int64", ("-1", "1")),
        ([True, False, True] * 4, "bool", ("False", "True")),
    ],
)
def test_labels_of_any_kind(labels: list[Any], kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    source = load(parquet(tmp_path / "data", rows(labels, hub.Value(kind))))
    assert source.class_names == names
    assert len(source.train.labels) == COUNT


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([0, 1, 2, -1, None] * 3, None), (["a", "b", "c", "", None] * 3, "string"), ([0, 1, 2, -1, None] * 3, "int64")],
)
def test_missing_labels_are_refused_or_counted(labels: list[Any], kind: str | None, tmp_path: Path) -> None:
    path = parquet(tmp_path / "data", rows(labels, kind and hub.Value(kind)))
    with pytest.raises(InputError, match="row 3 of train has no label, and 5 more"):
        load(path)
    source = load(path, "data.skip_bad=true")
    assert source.train.labels.tolist() == [0, 1, 2] * 3
    assert shades(source) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert len(source.left_out) == 6


def test_a_test_part_without_labels(tmp_path: Path) -> None:
    splits = {"train": rows(), "test": rows([-1] * 5)}
    folder = saved(tmp_path / "data", hub.DatasetDict(splits))
    with pytest.raises(InputError, match=r"none of the 5 rows .* data\.splits\.test=none"):
        load(folder)
    with pytest.warns(UserWarning, match="test"):
        assert load(folder, "data.splits.test=none").test is None


def test_true_labels_are_for_scoring(tmp_path: Path) -> None:
    true = [0, 1, 2, 1, None, 7, *[0, 1, 2] * 2]
    path = parquet(tmp_path / "data", rows(clean=true))
    found = load(path, "data.columns.true_label=clean").true_labels
    assert found is not None
    assert found.tolist() == [0, 1, 2, 1, UNKNOWN, 3, *[0, 1, 2] * 2]


def test_bad_images_are_refused_or_left_out(tmp_path: Path) -> None:
    made = rows().to_dict()
    made["image"][2]["bytes"], made["image"][4] = b"no image", None
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=list(CLASSES))})
    path = parquet(tmp_path / "data", hub.Dataset.from_dict(made, features=features))
    with pytest.raises(InputError, match="row 4 of train has no image"):
        load(path)
    source = load(path, "data.skip_bad=true")
    assert len(source.left_out) == 1
    assert [each.key for each in source.train.decode(np.arange(11)).left_out] == ["data.parquet/train/2"]


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "data", rows(clean=[0] * COUNT))
    for words, match in (
        (["data.columns.image=img"], r"no column 'img' .*image, label, clean.*data\.columns\.image"),
        (["data.columns.label=fine"], r"no column 'fine' .*data\.columns\.label"),
        (["data.columns.true_label=truth"], r"no column 'truth' .*data\.columns\.true_label"),
        (["data.columns.image=clean"], r"'clean' holds int64"),
        (["data.columns.label=image"], r"'image' holds struct"),
    ):
        with pytest.raises(InputError, match=match):
            load(path, *words)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither Arrow nor Parquet"):
        load(tmp_path / "empty")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"cut\.parquet cannot be read"):
        load(tmp_path / "cut.parquet")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"nobody/nothing is no file or folder here"):
        load(Path("nobody/nothing"))


def test_a_run_is_named_by_what_the_data_holds(tmp_path: Path) -> None:
    folder = with_files(tmp_path / "data", rows())
    names = [identity(config(folder))]
    os.rename(folder, tmp_path / "moved")
    look_again()
    names.append(identity(config(tmp_path / "moved")))
    assert names[0] == names[1]
    (tmp_path / "moved/3.png").write_bytes(png(200))
    look_again()
    names.append(identity(config(tmp_path / "moved")))
    (tmp_path / "moved/train.parquet").unlink()
    rows([2, 1, 0] * 4).remove_columns("image").add_column("image", [f"{n}.png" for n in range(COUNT)]).to_parquet(
        tmp_path / "moved/train.parquet"
    )
    look_again()
    names.append(identity(config(tmp_path / "moved")))
    assert len({str(name["data"]) for name in names}) == 3


def test_a_run_from_its_command_line(tmp_path: Path, within: Command) -> None:
    folder = saved(tmp_path / "data", hub.DatasetDict({"train": rows(range(3), None), "test": rows()}))
    words = ["data=huggingface", f"data.path={folder}", "data.image_size=8", "data.augment.crop_padding=0"]
    answer = within(*words, "data.columns.label=fine")
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert "(only image, label)" in answer.stderr
    small = [
        "model.widths=[4]",
        "model.blocks=[1]",
        "trainer.epochs=1",
        "trainer.milestones=[]",
        "trainer.batch_size=2",
    ]
    done = within(*words, *small, "data.validation=0", "base_method=ce", "components=none", "base_method.warm_up=0")
    assert done.returncode == 0, done.stderr
    assert "done " in done.stdout
