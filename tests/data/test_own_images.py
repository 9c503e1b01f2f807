"""What must never be silently wrong with images of one's own: old pixels, transparency, copies, sizes."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sanm.data import Data, prepare
from sanm.data.datasets.image_folder import load
from sanm.errors import InputError
from sanm.formats import image_colors
from sanm.record.identity import identity, look_again, run_name
from tests.conftest import config_of

TIME = (1_700_000_000, 1_700_000_000)
NO_NOISE = {"name": "none"}
Mode = str


def bmp(path: Path, value: int) -> None:
    """A picture whose file has the size and the time of every other one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(path)
    os.utime(path, TIME)


def folder_of(root: Path, **values: int) -> Path:
    for label, value in values.items():
        for number in range(4):
            bmp(root / "train" / label / f"{number}.bmp", value + number)
    return root


def settings(root: Path, **more: Any) -> dict[str, Any]:
    return {**config_of("data=image_folder", f"data.root={root}", "data.image_size=8")["data"], "validation": 0, **more}


def prepared(root: Path, **more: Any) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepare(settings(root, **more), NO_NOISE, root.parent / "cache")


def name_of(root: Path, *overrides: str) -> str:
    look_again()
    words = ("data=image_folder", f"data.root={root}", "noise=none", f"cache_dir={root.parent / 'cache'}")
    return run_name(identity(config_of(*words, *overrides)))


# ---- a cache knows what the identity knows


def test_files_that_change_places_are_decoded_again_though_size_and_time_stay(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", a=10, b=200)
    before, name = prepared(root), name_of(root)
    (root / "train/a").rename(root / "train/c")
    (root / "train/b").rename(root / "train/a")
    (root / "train/c").rename(root / "train/b")
    after = prepared(root)
    assert name_of(root) != name
    assert torch.equal(before.train.given_labels, after.train.given_labels)
    assert before.train.images[:].float().mean((1, 2, 3)).tolist() == [10, 11, 12, 13, 200, 201, 202, 203]
    assert after.train.images[:].float().mean((1, 2, 3)).tolist() == [200, 201, 202, 203, 10, 11, 12, 13]


def test_a_file_overwritten_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", a=10, b=200)
    name, first = name_of(root), prepared(root).train.images[:][0].float().mean()
    bmp(root / "train/a/0.bmp", 77)
    assert (float(first), float(prepared(root).train.images[:][0].float().mean())) == (10, 77)
    assert name_of(root) != name


def test_files_that_are_only_touched_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sanm.data.datasets import _decoded

    root = folder_of(tmp_path / "photos", a=10, b=200)
    prepared(root)
    for path in root.glob("train/*/*"):
        os.utime(path)
    monkeypatch.setattr(_decoded, "decode", lambda *_: pytest.fail("decoded again"))
    prepared(root)


# ---- transparency


def shape(path: Path, mode: Mode, wide: bool) -> None:
    """A bar, lying or standing, that is there in the alpha channel alone: the colors under it are all black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    alpha = Image.new("L", (16, 16), 0)
    ImageDraw.Draw(alpha).rectangle((1, 6, 14, 9) if wide else (6, 1, 9, 14), fill=255)
    if mode == "palette":
        image = Image.new("P", (16, 16), 0)
        image.putpalette([0] * 6)
        image.paste(1, mask=alpha)
        image.save(path, transparency=0)
        return
    image = Image.new("LA" if mode == "LA" else "RGBA", (16, 16))
    image.putalpha(alpha)
    image.save(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
def test_a_shape_in_the_alpha_channel_is_seen_on_white(tmp_path: Path, mode: Mode) -> None:
    for label, wide in (("lying", True), ("standing", False)):
        shape(tmp_path / "photos/train" / label / "0.png", mode, wide)
        shape(tmp_path / "photos/train" / label / "1.png", mode, wide)
    seen = prepared(tmp_path / "photos", image_size=16).train.images[:]
    assert seen[0, 0, 7].float().mean() < 40 < 150 < seen[0, 0, :, 7].float().mean()
    assert seen[2, 0, :, 7].float().mean() < 40 < 150 < seen[2, 0, 7].float().mean()
    on_red = prepared(tmp_path / "photos", image_size=16, background="red").train.images[:]
    assert on_red[0, :, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(InputError, match=r"all 4 training images.*data\.background"):
        prepared(tmp_path / "photos", image_size=16, background="black")


def test_wholly_transparent_images_are_counted_and_named(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for label in ("a", "b"):
        for number in range(2):
            shape(root / "train" / label / f"{number}.png", "RGBA", label == "a")
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(root / "train/a/empty.png")
    with pytest.warns(UserWarning, match=r"1 of 5 .*data\.background=white.*empty\.png"):
        prepare(settings(root), NO_NOISE, tmp_path / "cache")


def test_the_background_names_a_run_only_where_it_changes_it(tmp_path: Path) -> None:
    opaque = folder_of(tmp_path / "opaque", a=10, b=200)
    assert name_of(opaque) == name_of(opaque, "data.background=red") == name_of(opaque, "data.background=none")
    clear = tmp_path / "clear"
    for label in ("a", "b"):
        shape(clear / "train" / label / "0.png", "RGBA", label == "a")
    names = [name_of(clear, f"data.background={color}") for color in ("white", "'#ffffff'", "red", "none")]
    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.parametrize("color", ["whiet", "3", "'#12'", "'#11223344'"])
def test_a_background_that_is_no_color(color: str) -> None:
    with pytest.raises(InputError, match=r"data\.background"):
        config_of("data=image_folder", "data.root=/nowhere", f"data.background={color}")


# ---- copies


def gradient(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def test_copies_are_said_with_their_labels(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for seed, name in enumerate(("train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "test/dog/0.png")):
        gradient(root / name, seed)
    gradient(root / "train/dog/as_cat.bmp", 0)  # another file format: the same pixels
    gradient(root / "test/cat/0.png", 1)
    copies = prepared(root).copies
    assert [(each.image, each.part, each.key.removeprefix("train/"), each.label) for each in copies] == [
        (1, "train", "cat/0.png", "cat"),
        (1, "train", "dog/as_cat.bmp", "dog"),
        (2, "train", "cat/1.png", "cat"),
        (2, "test", copies[3].key, "cat"),
    ]


def test_images_that_are_all_one_are_refused(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(3):
            gradient(tmp_path / "photos/train" / label / f"{number}.png", 0)
    with pytest.raises(InputError, match="all 6 "):
        prepared(tmp_path / "photos")


# ---- size


def test_a_huge_image_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_colors, "MOST_PIXELS", 60)
    root = folder_of(tmp_path / "photos", a=10, b=200)
    with pytest.raises(InputError) as refused:
        load(settings(root), tmp_path / "cache")
    line = str(refused.value)
    assert str(root / "train/a/0.bmp") in line
    assert "8 x 8 pixels" in line
    assert "attack" not in line.lower()


# ---- what a run makes of copies


def rows(path: Path) -> list[Mapping[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_copy_with_another_label_is_a_suspect(tmp_path: Path) -> None:
    from analysis.labels.__main__ import main
    from tests.trained import run_in

    root = tmp_path / "photos"
    for label, first in (("cat", 0), ("dog", 100)):
        for number in range(24):
            gradient(root / "train" / label / f"{number:02d}.png", first + number)
    gradient(root / "train/dog/copy.png", 3)
    words = ("data=image_folder", f"data.root={root}", "data.image_size=8", "noise=none", "model.widths=[8]")
    small = ("model.blocks=[1]", "trainer.epochs=1", "trainer.batch_size=8", "base_method=ce", "components=none")
    with pytest.warns(UserWarning, match=r"copies\.csv"):
        directory = run_in(tmp_path / "runs", "data.subset=null", "data.test_subset=null", *words, *small)
    assert {row["key"] for row in rows(directory.path / "copies.csv")} == {"train/cat/03.png", "train/dog/copy.png"}
    assert main([str(directory.path)]) == 0
    suspects = {row["key"]: row for row in rows(directory.path / "labels" / "label_errors.csv")}
    assert "cat" in suspects["train/dog/copy.png"]["copy_with_another_label"]
    assert suspects["train/dog/copy.png"]["is_label_issue"] in ("True", "true", "1")
    assert "dog" in suspects["train/cat/03.png"]["copy_with_another_label"]


def test_files_that_change_under_a_running_command_are_said(tmp_path: Path) -> None:
    from sanm.run import check_unchanged

    root = folder_of(tmp_path / "photos", a=10, b=200)
    config = config_of("data=image_folder", f"data.root={root}", "noise=none", f"cache_dir={tmp_path / 'cache'}")
    look_again()
    record = identity(config)
    check_unchanged(config, record)
    bmp(root / "train/a/0.bmp", 77)
    with pytest.raises(InputError, match=r"fingerprint.*changed"):
        check_unchanged(config, record)
