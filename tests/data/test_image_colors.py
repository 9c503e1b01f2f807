"""More than 8 bits a channel, in the containers that have them: what is seen, what is dim, what is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanm.formats.image_colors import Depth, as_seen

SIDE = 2
EIGHT, SIXTEEN, DIM = Depth(False, False), Depth(True, False), Depth(True, True)


def seen(path: Path) -> tuple[list[int], Depth]:
    """The upper row's red, and the depth."""
    with Image.open(path) as opened:
        image, depth, _ = as_seen(opened, None)
    assert image.mode == "RGB"
    return np.asarray(image)[0, :, 0].tolist(), depth


def write_png(path: Path, values: Sequence[int], channels: int) -> None:
    """One of 16 bits a channel, which all hold the values."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = b"\0" + np.repeat(np.array(values, ">u2"), channels).tobytes()
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * SIDE)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_tiff(path: Path, pixels: bytes, bits: int, form: int, order: str = "<") -> None:
    """Gray; ``form`` is 1 for unsigned, 2 for signed numbers, 3 for floating-point ones."""
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: SIDE, 279: len(pixels), 339: form}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = struct.pack(f"{order}IH", 8, len(tags))
    path.write_bytes(mark + head + entries + struct.pack(f"{order}I", 0) + pixels)


@pytest.mark.parametrize(("values", "depth"), [((25_600, 65_535), SIXTEEN), ((300, 4_095), DIM), ((0, 0), SIXTEEN)])
def test_the_upper_bits_of_sixteen_are_seen(tmp_path: Path, values: tuple[int, int], depth: Depth) -> None:
    expected = ([value >> 8 for value in values], depth)
    for channels in (1, 2, 3, 4):
        write_png(tmp_path / "a.png", values, channels)
        assert seen(tmp_path / "a.png") == expected, f"PNG of {channels} channels"
    for order in "<>":
        write_tiff(tmp_path / "a.tif", np.array(values * SIDE, f"{order}u2").tobytes(), 16, 1, order)
        assert seen(tmp_path / "a.tif") == expected, f"TIFF {order}"
    Image.fromarray(np.array([values] * SIDE, np.uint16)).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert seen(tmp_path / "a.tif") == expected
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 2\n65535\n" + np.array(values * SIDE, ">u2").tobytes())
    assert seen(tmp_path / "a.pgm") == expected
    colors = np.array([value - value // 16 for value in values] * SIDE, ">u2").repeat(3)  # Pillow rounds these
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 2\n65535\n" + colors.tobytes())
    assert seen(tmp_path / "a.ppm")[1] == expected[1]


def test_a_range_that_the_file_says_is_seen_whole(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 2\n4095\n" + np.array([0, 4095] * SIDE, ">u2").tobytes())
    assert seen(tmp_path / "a.pgm") == ([0, 255], SIXTEEN)
    write_tiff(tmp_path / "a.tif", bytes.fromhex("800fff") * SIDE, 12, 1)
    assert seen(tmp_path / "a.tif") == ([128, 255], EIGHT)


def test_eight_bits_are_never_dim(tmp_path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE), (3, 2, 1)).save(tmp_path / "a.tif")
    assert seen(tmp_path / "a.tif") == ([3, 3], EIGHT)


@pytest.mark.parametrize(
    ("bits", "form", "kind"),
    [(32, 1, "i4"), (32, 2, "i4"), (16, 2, "i2"), (32, 3, "f4")],
)
def test_numbers_without_an_agreed_range_are_refused(tmp_path: Path, bits: int, form: int, kind: str) -> None:
    write_tiff(tmp_path / "a.tif", np.array([0, 255] * SIDE, f"<{kind}").tobytes(), bits, form)
    with pytest.raises(ValueError, match=r"8 or 16 bits"):
        seen(tmp_path / "a.tif")
