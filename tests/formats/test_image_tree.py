"""Walks below folders end, whatever lies there, and tell what they passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanm.errors import InputError
from sanm.formats import image_tree
from sanm.formats.image_tree import folders_in, images_below, not_read, tree_below
from sanm.record.identity import folder_fingerprint
from tests.closed import close


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in images_below(folder))


def test_links_that_go_round_are_left_out_and_counted(tmp_path: Path) -> None:
    """To the folder itself, twice; to one above the start; by way of another folder and back."""
    train = tmp_path / "train"
    touch(train / "a" / "1.png", train / "b" / "2.png", tmp_path / "elsewhere" / "3.png")
    for place, target in (("a/x", "."), ("a/y", "."), ("a/up", ".."), ("a/away", "../../elsewhere"), ("x", ".")):
        (train / place).symlink_to(target)
    (tmp_path / "elsewhere" / "back").symlink_to(train / "a")
    (tmp_path / "elsewhere" / "home").symlink_to(tmp_path)
    assert names(train / "a") == ["1.png", "away/3.png"], "no image of class b by way of a link up"
    assert folders_in(train) == ["a", "b"], "a link back is no class"
    tree = tree_below(train)
    assert len(tree.circles) == 6
    (said,) = not_read(tree, "train")
    assert "6 links below train" in said
    assert str(tree.circles[0]) in said


def test_links_that_multiply_are_refused(tmp_path: Path) -> None:
    """Forty folders, each of which leads to the next in two ways: a million million paths."""
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        for name in ("x", "y"):
            (tmp_path / str(number) / name).symlink_to(tmp_path / str(number + 1))
    touch(tmp_path / "40" / "a.png")
    with pytest.raises(InputError, match=r"more than 100 .* links"):
        images_below(tmp_path / "0")


def test_two_links_to_one_folder_are_both_read(tmp_path: Path) -> None:
    touch(tmp_path / "more" / "1.png")
    (tmp_path / "a").mkdir()
    for name in ("x", "y"):
        (tmp_path / "a" / name).symlink_to(tmp_path / "more")
    assert names(tmp_path / "a") == ["x/1.png", "y/1.png"]


def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_the_systems_own_files_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/(dev|proc|sys), below /,"):
        images_below(Path("/"))
    (tmp_path / "a").symlink_to("/proc/self")
    with pytest.raises(InputError, match="of the system itself"):
        images_below(tmp_path)
    with pytest.raises(InputError, match=r"data\.root=/: .*system"):
        folder_fingerprint("/", ("*training/*",))


def test_a_walk_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(*(tmp_path / str(number // 3) / f"{number}.png" for number in range(9)))
    monkeypatch.setattr(image_tree, "MOST_ENTRIES", 12)
    assert len(images_below(tmp_path)) == 9
    touch(tmp_path / "0" / "more.txt")
    with pytest.raises(InputError, match="more than 12 "):
        images_below(tmp_path)


def test_a_name_is_looked_for_where_it_can_be_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside the data is not looked through, however much it is."""
    touch(tmp_path / "train" / "a" / "1.png", tmp_path / "elsewhere" / "deep" / "2.png")
    close(monkeypatch, tmp_path / "elsewhere")
    seen = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: seen.append(Path(place)) or scandir(place))
    assert folder_fingerprint(str(tmp_path), ("train/*", "test/*"))
    assert seen == [tmp_path, tmp_path / "train", tmp_path / "train" / "a"]


def test_folders_that_machines_leave(tmp_path: Path) -> None:
    kept = tmp_path / "a" / "1.png"
    touch(kept, tmp_path / "Thumbs" / "2.png", tmp_path / "recycler" / "3.png", tmp_path / "a" / ".mine" / "4.png")
    expected = folder_fingerprint(str(tmp_path), ("*.png",))
    folders = ("@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX")
    hidden = (".Trash-1000", ".ipynb_checkpoints", ".thumbnails", ".AppleDouble")
    touch(*(tmp_path / "a" / folder / "1.png" / "THUMB_M.jpg" for folder in (*folders, *hidden)))
    touch(*(tmp_path / "a" / folder / "5.png" for folder in (*folders, *hidden)))
    touch(*(tmp_path / "a" / file for file in (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png")))
    assert names(tmp_path) == ["Thumbs/2.png", "a/1.png", "recycler/3.png"]
    assert folders_in(tmp_path / "a") == []
    (said,) = not_read(tree_below(tmp_path), "photos")
    assert "15 files and folders below photos" in said
    assert "#recycle" in said
    folder_fingerprint.cache_clear()
    assert folder_fingerprint(str(tmp_path), ("*.png",)) == expected, "other data than what is trained on is no part"


def test_what_machines_leave_of_files_counts_in_names_as_it_did(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "a" / "1.png")
    before = folder_fingerprint(str(tmp_path), ("train/*",))
    touch(tmp_path / "train" / "a" / "Thumbs.db")
    folder_fingerprint.cache_clear()
    assert folder_fingerprint(str(tmp_path), ("train/*",)) != before


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "deep" / "2.png", tmp_path / "a" / "lost+found" / "3.png")
    close(monkeypatch, tmp_path / "a" / "deep", tmp_path / "a" / "lost+found")
    (closed,) = tree_below(tmp_path / "a").unreadable
    assert (closed.path, closed.reason) == (tmp_path / "a" / "deep", "cannot be read (Permission denied)")
    with pytest.raises(InputError, match=r"a/deep .*Permission denied"):
        images_below(tmp_path)
    with pytest.raises(InputError, match=r"a/deep .*Permission denied"):
        folders_in(tmp_path / "a" / "deep")
    assert images_below(tmp_path / "none") == []
