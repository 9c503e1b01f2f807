"""`samples.npz` is read whole, or refused by name."""

from pathlib import Path

import numpy as np
import pytest

from analysis.records.samples import read
from sanm.errors import InputError
from tests.analysis.sampled import sample_arrays, write_samples


def refused(run: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(run)
    message = str(caught.value)
    assert message.startswith(str(run / "samples.npz"))
    assert "\n" not in message
    return message


def test_what_is_written_is_read(tmp_path: Path) -> None:
    arrays = write_samples(tmp_path, views=2)
    found = read(tmp_path)
    assert found.masks is not None
    for name, array in arrays.items():
        holder = found if hasattr(found, name) else found.masks
        assert np.array_equal(getattr(holder, name), array), name


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    write_samples(tmp_path, masks=False, truth=False)
    found = read(tmp_path)
    assert (found.true, found.is_wrong, found.masks) == (None, None, None)


@pytest.mark.parametrize("shrink", [1, 4])
def test_pixels_inside_the_boxes(tmp_path: Path, shrink: int) -> None:
    arrays = sample_arrays()
    arrays |= {"shrink": np.array(shrink), "size": shrink * arrays["size"], "boxes": shrink * arrays["boxes"]}
    write_samples(tmp_path, arrays)
    expected = np.zeros((2, 8, 8), dtype=bool)
    expected[0, 2:6, 3:5] = expected[1, :2, :2] = True
    inside = read(tmp_path).inside
    assert inside.shape == (32, 2, 8, 8)
    assert (inside == expected).all()


def test_a_missing_file(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "samples.npz").mkdir()
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "samples.npz").write_bytes(content)
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file(tmp_path: Path, part: float) -> None:
    write_samples(tmp_path)
    file = tmp_path / "samples.npz"
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    assert "cannot be read" in refused(tmp_path)


def test_a_damaged_array(tmp_path: Path) -> None:
    write_samples(tmp_path)
    file = tmp_path / "samples.npz"
    content = bytearray(file.read_bytes())
    start = content.index(b"image.npy") + 60
    content[start : start + 40] = bytes(40)
    file.write_bytes(content)
    assert "cannot be read" in refused(tmp_path)


def test_objects_are_not_executed(tmp_path: Path) -> None:
    write_samples(tmp_path, {**sample_arrays(), "key": np.array([print] * 32, dtype=object)})
    assert "cannot be read" in refused(tmp_path)


def test_a_single_array_under_its_name(tmp_path: Path) -> None:
    with open(tmp_path / "samples.npz", "wb") as file:
        np.save(file, np.ones(3))
    assert "cannot be read" in refused(tmp_path)


def test_a_file_of_another_version(tmp_path: Path) -> None:
    arrays = sample_arrays()
    for name in ("mixture", "share"):
        del arrays[name]
    write_samples(tmp_path, arrays)
    assert "lacks mixture, share" in refused(tmp_path)
