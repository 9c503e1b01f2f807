"""Folders of images as people have them: mixed sizes and colour modes, stray files, damage; and the decoded cache."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from sanm.data import prepare
from sanm.data.datasets import _decoded, load
from sanm.data.stored import StoredImages
from sanm.data.types import Source
from sanm.errors import InputError
from sanm.files import read_json, write_json
from sanm.record.identity import folder_fingerprint, identity
from tests.closed import close
from tests.conftest import config_of
from tests.data.pictures import MIDDLE, paint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two training images and one test image each."""
    folder = tmp_path / "photos"
    for name, color in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
        for part, count in (("train", 2), ("test", 1)):
            for position in range(count):
                paint(folder / part / name / f"{position}.png", color)
    return folder


def load_folder(root: Path | None, fallback: Path = Path("unused"), **settings: Any) -> Source:
    given = {"name": "image_folder", "root": root and str(root), "image_size": 16, "cache_dir": None}
    return load({**given, **settings}, fallback)


def refuse_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *_: object) -> None:
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr(_decoded, "decode", fail)


def test_layout(root: Path) -> None:
    source = load_folder(root)
    assert source.train.images().shape == (4, 3, 16, 16)
    assert source.train.images().dtype == torch.uint8
    assert source.test.images().shape == (2, 3, 16, 16)
    assert source.class_names == ("cat", "dog")
    assert source.train.keys == ("train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png")
    assert source.train.labels.tolist() == [0, 0, 1, 1]
    assert source.test.labels.tolist() == [0, 1]
    assert source.train.images()[0, :, MIDDLE, MIDDLE].tolist() == [255, 0, 0]
    assert source.mean == (0.5, 0.0, 0.5)
    assert source.std == (0.5, 1.0, 0.5)  # green never varies
    assert not source.labels_verified


def test_classes_called_by_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    """As a table sorts them, too; positions of samples follow."""
    for name in ("0", "1", "2", "10", "11"):
        paint(tmp_path / "train" / name / "a.png", (int(name), 0, 0))
    source = load_folder(tmp_path)
    assert source.class_names == ("0", "1", "2", "10", "11")
    assert source.train.images()[:, 0, MIDDLE, MIDDLE].tolist() == [0, 1, 2, 10, 11]
    assert source.train.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("names", "another"), [(("0", "9"), False), (("2", "10"), True), (("2", "10", "x"), False)])
def test_runs_are_others_only_where_their_classes_are_in_another_order(
    tmp_path: Path, names: tuple[str, ...], another: bool
) -> None:
    for name in names:
        paint(tmp_path / "train" / name / "a.png")
    data = {"data": {"name": "image_folder", "root": str(tmp_path), "files": ["train/*", "test/*"]}}
    before = folder_fingerprint(str(tmp_path), ("train/*", "test/*"))
    now = identity({**config_of("data=image_folder", f"data.root={tmp_path}"), **data})["data"]["fingerprint"]
    assert (now != before) == another


def test_what_is_found_and_what_is_ignored(root: Path) -> None:
    train = root / "train"
    paint(train / "cat" / "deeper" / "down" / "2.JPG")
    paint(train / "cat" / ".hidden.png")
    paint(train / "cat" / ".cache" / "3.png")
    paint(train / "cat" / "__MACOSX" / "4.png")
    paint(train / ".ipynb_checkpoints" / "5.png")
    paint(train / "__MACOSX" / "6.png")
    (train / "cat" / "notes.txt").write_text("not an image")
    paint(train / "loose.png")
    (train / "cat" / "circle").symlink_to(train / "cat", target_is_directory=True)
    paint(root / "elsewhere" / "7.png")
    (train / "dog" / "linked").symlink_to(root / "elsewhere", target_is_directory=True)
    source = load_folder(root)
    assert source.train.keys == (
        "train/cat/0.png",
        "train/cat/1.png",
        "train/cat/deeper/down/2.JPG",
        "train/dog/0.png",
        "train/dog/1.png",
        "train/dog/linked/7.png",
    )


def test_the_first_frame_of_several_counts(root: Path) -> None:
    frames = [Image.new("RGB", (9, 9), color) for color in ((0, 200, 0), (200, 0, 0))]
    frames[0].save(root / "train" / "cat" / "0.gif", save_all=True, append_images=frames[1:])
    assert load_folder(root).train.images()[0, :, MIDDLE, MIDDLE].tolist() == [0, 200, 0]


def test_what_is_not_read_is_said_with_counts(root: Path) -> None:
    for number in range(3):
        (root / "train" / "cat" / f"{number}.HEIC").write_bytes(b"")
    (root / "train" / "dog" / "deep").mkdir()
    (root / "train" / "dog" / "deep" / "README").write_bytes(b"")
    (root / "train" / "dog" / ".notes.txt").write_bytes(b"")
    (root / "test" / "dog" / "Thumbs.db").write_bytes(b"")
    for name in ("loose.png", ".hidden.png", "stray.jpg"):
        paint(root / "train" / name)
    paint(root / "Val" / "cat" / "0.png")
    paint(root / "Train" / "cat" / "0.png")
    for name in ("0.png", "1.png"):
        paint(root / "testing" / "cat" / name)
    (root / "validation").mkdir()
    (root / "TEST").write_text("no folder")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_folder(root).train.keys) == 4
    assert [str(each.message) for each in caught if each.category is UserWarning] == [
        f"{root}: 4 files below train are no images by the extension (.heic, none): left out",
        f"{root / 'train'}: 2 images lie in no class folder: left out",
        f"{root}: 1 file or folder below test is of a kind that machines leave (Thumbs.db): left out",
        f"{root / 'Train'} is not read (1 image): training images are those of {root}/train alone; move its images "
        "there",
        f"{root / 'Val'} is not read (1 image): data.validation=SHARE holds out training images instead, and a table "
        "(data=csv) may name validation images",
        f"{root / 'testing'} is not read (2 images): test images are those of {root}/test alone; rename it, or move "
        "its images there",
    ]


def test_training_images_under_another_name(root: Path) -> None:
    (root / "train").rename(root / "Train")
    with pytest.raises(InputError, match=r"photos/Train .*/train; rename"):
        load_folder(root)


def test_classes_that_differ_in_the_case_of_letters_are_a_warning(root: Path) -> None:
    for part in ("train", "test"):
        paint(root / part / "Cat" / "0.png")
    with pytest.warns(UserWarning, match=r"train: .*'Cat' and 'cat'"):
        assert len(load_folder(root).class_names) == 3


def test_folders_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    for number in range(12):
        paint(tmp_path / "train" / f"patient {number}" / "0.png")
    with pytest.raises(InputError, match=r"train: 12 classes for 12 images"):
        load_folder(tmp_path)


def test_class_folders_that_look_wrong_are_said(root: Path) -> None:
    for name in ("cat|dog", " bee"):
        for number in range(3):
            paint(root / "train" / name / f"{number}.png")
            paint(root / "test" / name / f"{number}.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_folder(root)
    said = [str(each.message) for each in caught if "train: " in str(each.message)]
    several, unseen = said
    assert "'cat|dog' (3 images) looks like several labels" in several
    assert "' bee' (3 images) has characters that nobody sees" in unseen


def test_nothing_is_said_of_a_folder_that_is_read_whole(root: Path) -> None:
    (root / "labels.txt").write_text("beside the parts")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_folder(root)


def test_classes_sort_as_text(root: Path) -> None:
    for part in ("train", "test"):
        for name in ("10", "2"):
            paint(root / part / name / "0.png")
    assert load_folder(root).class_names == ("10", "2", "cat", "dog")


@pytest.mark.parametrize(
    ("file", "mode", "color", "expected"),
    [
        ("gray.png", "L", 90, (90, 90, 90)),
        ("gray_alpha.png", "LA", (90, 255), (90, 90, 90)),
        ("bilevel.bmp", "1", 1, (255, 255, 255)),
        ("deep.png", "I;16", 25_600, (100, 100, 100)),
        ("deep.tiff", "I;16", 25_600, (100, 100, 100)),
        ("alpha.png", "RGBA", (10, 20, 30, 128), (10, 20, 30)),
        ("print.jpg", "CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("map.pgm", "L", 7, (7, 7, 7)),
        ("any.webp", "RGB", (0, 0, 0), (0, 0, 0)),
        ("any.gif", "P", 0, (0, 0, 0)),
        ("web.JFIF", "RGB", (9, 90, 200), (9, 90, 200)),
        ("web.jpe", "L", 60, (60, 60, 60)),
    ],
)
def test_colour_modes(root: Path, file: str, mode: str, color: Any, expected: tuple[int, ...]) -> None:
    paint(root / "train" / "aaa" / file, color, (33, 7), mode)
    source = load_folder_without_test_class(root)
    found = source.train.images()[0, :, MIDDLE, MIDDLE].int()
    assert (found - torch.tensor(expected)).abs().max() <= 3


def load_folder_without_test_class(root: Path) -> Source:
    with pytest.warns(UserWarning, match=r"test .*aaa"):
        return load_folder(root)


def test_palette_with_transparency(root: Path) -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    path = root / "train" / "cat" / "0.png"
    image.save(path, transparency=b"\x00\xff")
    assert load_folder(root).train.images()[0, :, MIDDLE, MIDDLE].tolist() == [10, 200, 30]


def test_exif_rotation(root: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255  # white above black
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: white goes right
    Image.fromarray(pixels).save(root / "train" / "cat" / "0.jpg", exif=exif, quality=95)
    image = load_folder(root).train.images()[0].float().mean(0)
    assert image[:, :6].mean() < 30
    assert image[:, 10:].mean() > 225


def test_shrinking_is_antialiased(root: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(root / "train" / "cat" / "0.png")
    inner = load_folder(root).train.images()[0, :, :, 2:-2].float()
    assert (inner - 127).abs().max() < 20


def test_second_load_does_not_decode(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_folder(root)
    assert sorted(path.name for path in (root / ".sanm_cache").iterdir()) == [
        ".test-16.npy.lock",
        ".train-16.npy.lock",
        "test-16.json",
        "test-16.npy",
        "train-16.json",
        "train-16.npy",
        "train-16.statistics.json",
    ]
    refuse_to_decode(monkeypatch)
    second = load_folder(root)
    assert torch.equal(first.train.images(), second.train.images())
    assert torch.equal(first.test.images(), second.test.images())
    with pytest.raises(InputError, match="is decoded again"):
        load_folder(root, image_size=8)


def test_changed_added_and_removed_files_are_decoded(root: Path) -> None:
    load_folder(root)
    changed = root / "train" / "cat" / "0.png"
    before = changed.stat()
    paint(changed, (0, 255, 0))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert load_folder(root).train.images()[0, :, MIDDLE, MIDDLE].tolist() == [0, 255, 0]
    paint(root / "train" / "cat" / "00.png", (0, 0, 0))
    assert load_folder(root).train.images()[1, :, MIDDLE, MIDDLE].tolist() == [0, 0, 0]
    changed.unlink()
    assert len(load_folder(root).train.images()) == 4


@pytest.mark.parametrize("damage", ["truncate", "foreign", "no_json", "bad_json", "other_shape"])
def test_damaged_cache_is_made_again(root: Path, damage: str) -> None:
    expected = load_folder(root).train.images().clone()  # or the damage would show in it, too
    array, description = root / ".sanm_cache" / "train-16.npy", root / ".sanm_cache" / "train-16.json"
    if damage == "truncate":
        array.write_bytes(array.read_bytes()[:200])
    elif damage == "foreign":
        array.write_bytes(b"")
    elif damage == "no_json":
        description.unlink()
    elif damage == "bad_json":
        description.write_text("{")
    else:
        np.save(array, np.zeros((4, 3, 8, 8), np.uint8))
    assert torch.equal(load_folder(root).train.images(), expected)
    assert np.load(array).shape == (4, 3, 16, 16)
    assert [row[0] for row in read_json(description)["files"]] == list(load_folder(root).train.keys)


def test_what_a_killed_process_left_of_an_array_is_removed(root: Path) -> None:
    cache = root / ".sanm_cache"
    cache.mkdir()
    for name in (".train-16.npy.123.part", ".train-32.npy.123.part"):
        (cache / name).write_bytes(b"half")
    load_folder(root)
    assert [path.name for path in cache.glob(".*.part")] == [".train-32.npy.123.part"], "that may be underway"


def test_one_process_decodes_and_others_wait_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load_folder(root).train.images().clone()
    description = root / ".sanm_cache" / "train-16.json"
    hidden = description.rename(root / ".sanm_cache" / "hidden")
    refuse_to_decode(monkeypatch)
    found, said = [], ""
    with FileLock(root / ".sanm_cache" / ".train-16.npy.lock"):
        other = threading.Thread(target=lambda: found.append(load_folder(root).train.images()))
        other.start()
        while not said and other.is_alive():
            said = capsys.readouterr().out
        hidden.rename(description)
    other.join()
    assert said == f"decode   {root}/.sanm_cache/train-16.npy: another process is at it, waiting for it\n"
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize(("number", "kept"), [(errno.ENOLCK, True), (errno.EROFS, False)])
def test_a_disk_without_locks_is_written_and_one_that_takes_none_is_not(
    root: Path, tmp_path: Path, number: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: FileLock, timeout: float = 0) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with nullcontext() if kept else pytest.warns(UserWarning, match="not kept"):
        load_folder(root, cache_dir=str(tmp_path / "cache"))
    assert bool(list(tmp_path.glob("cache/*/*.npy"))) == kept


def test_chosen_cache_folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = str(tmp_path / "cache")
    load_folder(root, cache_dir=chosen)
    assert not (root / ".sanm_cache").exists()
    refuse_to_decode(monkeypatch)
    load_folder(root, cache_dir=chosen)


def test_caches_of_two_folders_do_not_meet(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    paint(other / "train" / "cat" / "0.png", (0, 255, 0))
    for folder, color in ((root, [255, 0, 0]), (other, [0, 255, 0]), (root, [255, 0, 0])):
        source = load_folder(folder, cache_dir=str(tmp_path / "cache"))
        assert source.train.images()[0, :, MIDDLE, MIDDLE].tolist() == color


def test_falls_back_when_the_data_cannot_be_written_to(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".sanm_cache").write_text("a file is in the way, as on a read-only disk")
    first = load_folder(root, fallback=tmp_path / "fallback")
    refuse_to_decode(monkeypatch)
    assert torch.equal(load_folder(root, fallback=tmp_path / "fallback").train.images(), first.train.images())


def test_no_place_for_a_cache_is_a_warning(root: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.warns(UserWarning, match=r"not kept, .*data\.cache_dir"):
        assert len(load_folder(root, cache_dir=str(blocked)).train.images()) == 4


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_damaged_image(root: Path, content: bytes) -> None:
    (root / "train" / "dog" / "1.png").write_bytes(content)
    with pytest.raises(InputError, match=r"train/dog/1\.png .*\(.*\)") as raised:
        load_folder(root)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_truncated_images(root: Path, extension: str) -> None:
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
    for name in ("a", "b"):
        path = root / "train" / "cat" / f"{name}.{extension}"
        noise.save(path)
        path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match=rf"train/cat/a\.{extension} and 1 more"):
        load_folder(root)


@pytest.mark.parametrize(("mode", "kind"), [("F", "floating-point numbers"), ("I", "signed or 32-bit whole numbers")])
def test_pixels_of_no_agreed_range(root: Path, mode: str, kind: str) -> None:
    paint(root / "train" / "cat" / "0.tiff", 100, mode=mode)
    said = rf"0\.tiff cannot be decoded \(its pixels are {kind}, of unknown range: save it as 8 or 16 bits a channel\)"
    with pytest.raises(InputError, match=said):
        load_folder(root)


def test_what_a_cache_kept_before_such_pixels_were_refused_is_decoded_again(root: Path) -> None:
    load_folder(root)
    description = root / ".sanm_cache" / "train-16.json"
    found = read_json(description)
    del found["conversion"], found["sixteen_bits"]
    write_json(description, found)
    np.save(root / ".sanm_cache" / "train-16.npy", np.zeros((4, 3, 16, 16), np.uint8))
    assert load_folder(root).train.images()[0, :, MIDDLE, MIDDLE].tolist() == [255, 0, 0]


def test_images_that_use_12_of_16_bits_are_a_warning_each_time(root: Path) -> None:
    for name, value in (("a.png", 60_000), ("b.png", 4_095), ("c.tif", 300), ("black.png", 0)):
        for part in ("train", "test"):
            paint(root / part / "cat" / name, value, mode="I;16")
    for _ in range(2):  # decoded, then from the cache
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            image = load_folder(root).train.images()[3, :, MIDDLE, MIDDLE]
        assert [str(each.message) for each in caught if each.category is UserWarning] == [
            f"{root / 'train/cat/b.png'} is read as nearly black: it has 16 bits a channel and no value above 4095, as "
            "have 2 of the 4 such images read with it; they probably use 12 bits or fewer: rescale them to all 16, or "
            "to 8",
        ]
        assert image.tolist() == [15, 15, 15]


def test_bright_images_of_16_bits_need_no_word(root: Path) -> None:
    paint(root / "train" / "cat" / "a.png", 4_096, mode="I;16")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_folder(root)


def test_broken_link(root: Path) -> None:
    (root / "train" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match=r"train/cat/gone\.png .*No such file"):
        load_folder(root)


def test_a_pipe_among_the_images(root: Path) -> None:
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    with pytest.raises(InputError, match=r"train/cat/pipe\.png .*pipe,"):
        load_folder(root)
    (left_out,) = load_folder(root, skip_bad=True).train.decode(np.arange(5)).left_out
    assert (left_out.key, left_out.reason) == (
        "train/cat/pipe.png",
        "cannot be read (it is a pipe, no regular file)",
    )


def test_a_closed_file_is_refused_or_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch, root / "train" / "cat" / "1.png")
    patterns = ("train/*", "test/*")
    with pytest.raises(InputError, match=r"train/cat/1\.png .*Permission denied"):
        load_folder(root)
    closed = folder_fingerprint(str(root), patterns)
    source = load_folder(root, skip_bad=True)
    assert source.train.decode(np.arange(4)).positions.tolist() == [0, 2, 3]
    monkeypatch.undo()
    folder_fingerprint.cache_clear()
    assert folder_fingerprint(str(root), patterns) != closed, "a run without the image is another run"
    assert load_folder(root).train.decode(np.arange(4)).positions.tolist() == [0, 1, 2, 3], "opened again, it is read"


def test_a_closed_folder_is_refused_or_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "test"):
        paint(root / part / "dog" / "deep" / "3.png")
    close(monkeypatch, *(root / part / "dog" / "deep" for part in ("train", "test")))
    said = r"train/dog/deep cannot be read \(Permission denied\), and 1 more .*data\.skip_bad=true"
    with pytest.raises(InputError, match=said):
        load_folder(root)
    source = load_folder(root, skip_bad=True)
    assert [each.key for each in source.left_out] == ["train/dog/deep", "test/dog/deep"]
    settings = {"name": "image_folder", "root": str(root), "image_size": 16, "cache_dir": None, "skip_bad": True}
    assert [each.key for each in prepare(settings, {"name": "none"}, root).left_out] == [
        "train/dog/deep",
        "test/dog/deep",
    ]
    assert len(source.train.keys) == 4
    close(monkeypatch, root / "train" / "dog")
    with pytest.raises(InputError, match=r"train/dog .*Permission denied"):
        load_folder(root, skip_bad=True)


def test_thumbnails_of_a_disk_on_the_network_are_not_trained_on(root: Path) -> None:
    expected = load_folder(root).train.keys
    paint(root / "train" / "cat" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.jpg")
    paint(root / "train" / "@eaDir" / "1.png")
    with pytest.warns(UserWarning, match=r"2 .* train .*\(@eaDir\)"):
        source = load_folder(root)
    assert source.train.keys == expected
    assert source.class_names == ("cat", "dog")


def test_a_link_that_leads_back_is_no_class(root: Path) -> None:
    expected = load_folder(root)
    for place in ("train/all", "train/cat/x", "train/cat/y", "train/dog/up"):
        (root / place).symlink_to(".." if place.endswith("up") else ".")
    with pytest.warns(UserWarning, match=r"4 links below train"):
        source = load_folder(root)
    assert (source.class_names, source.train.keys) == (expected.class_names, expected.train.keys)


def test_file_name_that_is_not_utf8(root: Path) -> None:
    try:
        (root / "train" / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(InputError, match="UTF-8"):
        load_folder(root)


def test_class_in_test_only(root: Path) -> None:
    paint(root / "test" / "owl" / "0.png")
    with pytest.raises(InputError, match=r"test/owl: "):
        load_folder(root)


def test_class_in_train_only_is_a_warning(root: Path) -> None:
    shutil.rmtree(root / "test" / "dog")
    with pytest.warns(UserWarning, match=r"test .*dog"):
        source = load_folder(root)
    assert source.test.labels.tolist() == [0]
    assert source.class_names == ("cat", "dog")


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_class(root: Path, part: str) -> None:
    shutil.rmtree(root / part / "dog")
    (root / part / "dog").mkdir()
    with pytest.raises(InputError, match=rf"{part}/dog .*\(\.jpg"):
        load_folder(root)


def test_missing_training_part(root: Path) -> None:
    shutil.rmtree(root / "train")
    with pytest.raises(InputError, match=r"train .*expected train/<class>/<images>"):
        load_folder(root)


@pytest.mark.parametrize("part", ["train", "test"])
def test_part_without_classes(root: Path, part: str) -> None:
    shutil.rmtree(root / part)
    (root / part).mkdir()
    with pytest.raises(InputError, match=rf"{part} .*; expected train/<class>/<images>"):
        load_folder(root)


def test_no_test_part(root: Path) -> None:
    expected = load_folder(root)
    shutil.rmtree(root / "test")
    source = load_folder(root)
    assert source.test is None
    assert (source.train.keys, source.mean) == (expected.train.keys, expected.mean)


def test_bad_images_are_left_out_where_that_is_asked_for(root: Path) -> None:
    (root / "train" / "cat" / "1.png").write_bytes(b"no image")
    (root / "train" / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match=r"train/dog/gone\.png .*No such file.*data\.skip_bad=true"):
        load_folder(root)
    for _ in range(2):  # decoded, then from the cache
        source = load_folder(root, skip_bad=True)
        decoded = source.train.decode(np.array([0, 1, 3, 4]))
        assert decoded.positions.tolist() == [0, 3]
        assert decoded.images[:][:, :, MIDDLE, MIDDLE].tolist() == [[255, 0, 0], [0, 0, 255]]
        assert [(each.key, each.reason[:17]) for each in decoded.left_out] == [
            ("train/cat/1.png", "cannot be decoded"),
            ("train/dog/gone.png", "cannot be read (N"),
        ]
        assert len(source.train.labels) == 5
    with pytest.raises(InputError, match=r"gone\.png"):  # the cache does not hide it
        load_folder(root)
    (root / "train" / "dog" / "gone.png").unlink()
    with pytest.raises(InputError, match=r"train/cat/1\.png"):
        load_folder(root)


def test_only_bad_images(root: Path) -> None:
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"train/cat/0\.png and 3 more"):
        load_folder(root, skip_bad=True)


def test_neither_disk_nor_memory_takes_the_images(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 3000}
    monkeypatch.setattr(os, "sysconf", lambda name: memory[name])
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(5000, 3000, 2000))
    refused = (
        r"4 images of data\.image_size=16 are 3\.07e-06 GB, this machine's memory is 3e-06 GB, and on no disk that it "
        r"may take: .*/unused/.* has less than the 3\.07e-06 GB left that they take \(data\.cache_dir\): "
        r"lower data\.image_size, or list a part of them in a table for data=csv"
    )
    with monkeypatch.context() as patched:
        refuse_to_decode(patched)
        with pytest.raises(InputError, match=refused):
            load_folder(root, tmp_path / "unused")
    memory["SC_PAGE_SIZE"] = 3100
    with pytest.warns(UserWarning, match="not kept"):
        assert len(load_folder(root, tmp_path / "unused").train.images()) == 4


def test_more_images_than_memory_stay_on_the_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 3000}.__getitem__)
    decoded = load_folder(root).train.decode(np.array([0, 3]))
    assert isinstance(decoded.images, StoredImages)
    assert decoded.images.shape == (2, 3, 16, 16)
    assert torch.equal(decoded.images[:], load_folder(root).train.images()[[0, 3]])


def test_the_cache_is_never_written_through(root: Path) -> None:
    images = load_folder(root).train.images()
    images.zero_()
    assert load_folder(root).train.images().any()


def test_one_class_is_not_enough(root: Path) -> None:
    shutil.rmtree(root / "train" / "dog")
    shutil.rmtree(root / "test" / "dog")
    with pytest.raises(InputError, match=r"\(cat\)"):
        load_folder(root)


def test_bad_settings(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root=FOLDER; expected train/<class>"):
        load_folder(None)
    with pytest.raises(InputError, match=r"data\.root=.*absent"):
        load_folder(tmp_path / "absent")
