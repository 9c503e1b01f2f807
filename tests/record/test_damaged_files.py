"""A flipped bit in a file of ours is refused, or changes nothing that is read."""

from __future__ import annotations

import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.records.npz import read_arrays
from sanm.data.stored import StoredImages, sum_of
from sanm.errors import InputError, ReadingError
from sanm.files import check_sums, read_json, write_json
from sanm.pretraining.encoders import WEIGHTS, _weights
from sanm.pretraining.published import read_encoder
from sanm.record import checkpoint
from sanm.record.directory import RunDirectory
from sanm.trained_model import FILE_NAME, read_model
from tests.conftest import SMALL
from tests.trained import run_in

FLIPS = 200


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("finished")
    return run_in(folder, *SMALL, "base_method=ce", "components=amg", "trainer.epochs=1", "keep_checkpoint=true")


def flipped(path: Path, content: bytes, place: int, bit: int) -> None:
    path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other, equal_nan=False)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def places(content: bytes) -> list[int]:
    """Anywhere in a file, and as often in what is no array of numbers: at its beginning and at its end."""
    chance = random.Random(0)
    ends = [*range(300), *range(len(content) - 1500, len(content))]
    return [chance.randrange(len(content)) for _ in range(FLIPS // 2)] + chance.sample(ends, FLIPS // 2)


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint.pt": checkpoint.read,
    "model.pt": checkpoint.read,
    "samples.npz": lambda path: read_arrays(path),
    "probabilities.npz": lambda path: read_arrays(path),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_anywhere_is_refused_or_harmless(finished: RunDirectory, tmp_path: Path, name: str) -> None:
    read, file = READERS[name], tmp_path / name
    content, refused = (finished.path / name).read_bytes(), 0
    expected = read(finished.path / name)
    for place in places(content):
        flipped(file, content, place, place % 8)
        try:
            assert same(read(file), expected), place
        except (InputError, ValueError):
            refused += 1
    assert refused > FLIPS / 3


def damage_weights(path: Path) -> None:
    """The highest bit of an exponent, in the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    flipped(path, path.read_bytes(), largest.header_offset + 200 + largest.file_size // 8 * 4 + 3, 6)


def test_a_damaged_model_is_refused_by_name(finished: RunDirectory, tmp_path: Path) -> None:
    file = Path(shutil.copy(finished.path / FILE_NAME, tmp_path))
    read_model(file)
    damage_weights(file)
    with pytest.raises(InputError, match=r"model\.pt .*damaged"):
        read_model(file)


def test_a_damaged_encoder_is_refused_by_name(finished: RunDirectory, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, "simclr")
    directory.path.mkdir()
    weights = read_model(finished.path / FILE_NAME).networks[0].state_dict()
    checkpoint.save(directory.path / WEIGHTS, weights)
    assert same(dict(_weights(directory)), dict(weights))
    damage_weights(directory.path / WEIGHTS)
    with pytest.raises(InputError, match=rf"{WEIGHTS} .*delete"):
        _weights(directory)
    with pytest.raises(InputError, match=rf"{WEIGHTS} .*damaged"):
        read_encoder(str(directory.path / WEIGHTS), weights)


def test_files_of_others_may_have_no_check_sums(tmp_path: Path) -> None:
    """Old files of torch's are no archives; new ones can be written without sums."""
    value = {"conv1.weight": torch.arange(6.0)}
    torch.save(value, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(value, tmp_path / "without.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    for name in ("old.pt", "without.pt"):
        assert same(checkpoint.read(tmp_path / name, own=False), value)
        with pytest.raises(ValueError, match="damaged"):
            checkpoint.read(tmp_path / name)


def test_an_array_read_short_is_checked_to_its_end(tmp_path: Path) -> None:
    """NumPy reads as much as the array's head says, and so passes over the sum of what is behind it."""
    np.savez(tmp_path / "a.npz", a=np.arange(1000, dtype=np.float64))
    content = (tmp_path / "a.npz").read_bytes()
    place = content.index(b"<f8") + 2
    flipped(tmp_path / "a.npz", content, place, 2)  # f8 -> f<
    (tmp_path / "b.npz").write_bytes(content.replace(b"(1000,)", b"(0100,)".replace(b"0100", b" 100")))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(InputError, match=name):
            read_arrays(tmp_path / name)


def test_a_decoded_image_that_is_another_one_is_refused_and_decoded_anew(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
    path = tmp_path / "train-4.npy"
    np.save(path, images)
    stored = StoredImages(path, [sum_of(image) for image in images])
    assert torch.equal(stored[:], torch.from_numpy(images))
    content = path.read_bytes()
    with open(path, "r+b") as handle:
        handle.seek(len(content) - 5 * 48 - 1)
        handle.write(bytes([content[-5 * 48 - 1] ^ 1]))
    chosen = stored.at(np.array([7, 4]))
    assert torch.equal(chosen[:1], torch.from_numpy(images[7:8]))
    with pytest.raises(ReadingError, match=r"train-4\.npy .*retry=true"):
        chosen[:]
    assert not path.exists(), "the next run decodes"
    with pytest.raises((ValueError, OSError)):
        StoredImages(path, [1])


def test_json_that_can_be_made_again_is_not_believed_when_it_changed(tmp_path: Path) -> None:
    file, content = tmp_path / "x.json", {"mean": [0.25, 0.5], "array": [1, 2, 3], "name": "ü", "3": None}
    write_json(file, content)
    assert read_json(file) == content
    whole = file.read_bytes()
    for place in range(len(whole)):
        flipped(file, whole, place, place % 7)
        assert read_json(file) in (None, content)
    for other in (b"", b"null", b"[]", b'{"content": 1}', b"[" * 100_000):
        file.write_bytes(other)
        assert read_json(file) is None


def test_what_is_no_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=os.strerror(21 if place.is_dir() else 2)):
            check_sums(place)
