"""What a user names is looked at before it is read: no pipe is waited for, no device read without end."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.labels.pictures import _of_file
from sanm import given_files
from sanm.config.explain import one_line
from sanm.data.datasets._decoded import decode
from sanm.data.datasets._label_lists import lines_of
from sanm.data.noise import file, human
from sanm.errors import InputError
from sanm.formats.image_table import table_text
from sanm.plugins.sanm.mask_source import FrozenResNet18
from sanm.pretraining.published import read_encoder
from sanm.record.identity import file_fingerprint, table_fingerprint
from sanm.trained_model import read_model
from tests.closed import close

TASK: Any = None  # nothing is asked of it before the file is read
READERS: dict[str, Callable[[Path], object]] = {
    "noise.path": lambda path: file.corrupt(TASK, {"path": str(path)}),
    "noise.path of people": lambda path: human.corrupt(TASK, {"path": str(path), "key": "worse"}),
    "noise.order": lambda path: human._order(path, 3),
    "pretrain.path": lambda path: read_encoder(str(path), {}),
    "mask_source.weights": lambda path: FrozenResNet18(str(path)),
    "any path in an identity": lambda path: file_fingerprint(str(path), "noise.path"),
    "a table": lambda path: table_text(path, str(path)),
    "a published list": lines_of,
    "model.pt": read_model,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "system"])
def test_what_is_no_regular_file_is_refused_by_name(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / "labels.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/proc/self/mem")
        if not path.exists():
            pytest.skip("there is no such file")
    with pytest.raises(InputError, match=re.escape(str(path))) as refused:
        READERS[reader](path)
    assert "\n" not in str(refused.value)


def test_readers_above_read_regular_files(tmp_path: Path) -> None:
    """That they refuse the others for what they are, not whatever they are given."""
    path = tmp_path / "labels.csv"
    path.write_text("file,label\r\na.png,1\r\n", encoding="utf-8-sig")
    assert table_text(path, "t") == "file,label\na.png,1\n"
    assert lines_of(path) == ["file,label", "a.png,1"]
    assert given_files.read_bytes(path) == path.read_bytes()
    assert given_files.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_fingerprint(str(path), "noise.path") == given_files.sha256(path)[:16]


def test_images_that_are_pipes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):
        decode(path, 8, None)
    assert _of_file(path, None).reason == "cannot be read (it is a pipe, no regular file)"
    (tmp_path / "t.csv").write_text("file,label\na.png,1\n")
    columns = (("file", "file"), ("label", "label"), ("split", None), ("true_label", None))
    assert table_fingerprint(str(tmp_path / "t.csv"), None, columns)


def test_sockets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(OSError, match="socket"):
            given_files.status_of(Path("s"))


def test_a_file_without_an_end_in_sight_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with open(path, "wb") as handle:
        handle.truncate(2**40)  # which takes no place
    with pytest.raises(InputError, match=r"labels\.json .*1\.02e\+03 GiB"):
        file.corrupt(TASK, {"path": str(path)})


def test_a_closed_file_is_said_to_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[1]")
    close(monkeypatch, path)
    for read in (READERS["noise.path"], READERS["any path in an identity"], READERS["a table"]):
        with pytest.raises(InputError, match=r"labels\.json .*Permission denied"):
            read(path)


def test_reading_is_not_called_writing() -> None:
    said = one_line(PermissionError(13, "Permission denied", "/data/a.png"))
    assert said
    assert "/data/a.png (Permission denied)" in said
    assert "write" not in said


def test_folders_that_nobody_can_look_at(tmp_path: Path) -> None:
    assert given_files.is_folder(tmp_path)
    assert not given_files.is_folder(tmp_path / "none" / "deeper")
    (tmp_path / "file").write_text("")
    assert not given_files.is_folder(tmp_path / "file" / "deeper")
    assert given_files.is_there(tmp_path / "file")
    with pytest.raises(InputError, match=r"xxx .*File name too long"):
        given_files.is_folder(tmp_path / ("x" * 5000))
