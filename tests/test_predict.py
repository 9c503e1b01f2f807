"""Predictions of image files: those of the run's own test, streamed, whole or not there."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.labels.__main__ import main as labels_main
from sanm.errors import InputError
from sanm.formats.spreadsheet import table_text
from sanm.predict import decoding
from sanm.predict.__main__ import main
from sanm.predict.decoding import check_input, decoded_batches
from sanm.predict.image_list import listed
from sanm.predict.predictions import columns
from sanm.record.directory import RunDirectory
from sanm.terminal.command_line import RECORD
from sanm.trained_model import FILE_NAME, read_model
from tests.closed import close
from tests.conftest import ROOT
from tests.data.pictures import paint
from tests.trained import ALONE, run_in, write_test_digits

ALL = ("data.subset=null", "data.test_subset=null")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Of two networks that have learned something."""
    words = ("base_method=coteaching", "base_method.ensemble=true", "components=none", "noise.rate=0.2")
    return run_in(tmp_path_factory.mktemp("runs"), *words, *ALL, "trainer.epochs=5", "trainer.milestones=[4]")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_test_digits(folder)
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def accuracy(rows: list[dict[str, str]]) -> float:
    """In percent, of images whose folder is their class."""
    return 100 * sum(Path(row["file"]).parent.name == row["predicted_label"] for row in rows) / len(rows)


def test_the_runs_own_test_accuracy(tmp_path: Path, digits: RunDirectory, pictures: Path) -> None:
    out = tmp_path / "predictions.csv"
    done = subprocess.run(
        [sys.executable, "-m", "sanm.predict", digits.path, pictures, "--out", out, "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{digits.name}: last epoch (5), test accuracy {digits.result()['last_accuracy']:.2f} %" in done.stdout
    assert "500 images" in done.stdout
    rows = read(out)
    assert [row["file"] for row in rows] == sorted(str(path) for path in pictures.glob("*/*.png"))
    assert accuracy(rows) == pytest.approx(digits.result()["last_accuracy"])
    assert 20 < accuracy(rows) < 100
    for row in rows:
        probabilities = [float(row[str(digit)]) for digit in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert float(row["confidence"]) == max(probabilities) == probabilities[int(row["predicted_class"])]


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, Path]:
    """A run of colors that overlap, images of several sizes and modes, and class names that a table could stumble over;
    and its data."""
    folder = tmp_path_factory.mktemp("colors")
    draws = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 20)):
        for label, name in enumerate(("file", 'a, "b"', "c")):
            for number in range(count):
                size = tuple(draws.integers(12, 40, 2))
                pixels = draws.integers(0, 120, (*size, 3)) + np.eye(3, dtype=int)[label] * draws.integers(0, 60)
                path = folder / "data" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).convert("RGB" if number % 4 else "L").save(path)
    words = ("data=image_folder", f"data.root={folder / 'data'}", "noise=none", "data.augment.crop_padding=0")
    run = run_in(folder / "runs", *ALONE, *ALL, *words, "data.image_size=20", "data.augment.crop=16")
    return run, folder / "data"


def test_an_image_folder_is_decoded_and_cropped_as_its_run_did(
    tmp_path: Path, colors: tuple[RunDirectory, Path]
) -> None:
    run, data = colors
    out = tmp_path / "out.csv"
    assert main([str(run.path), str(data / "test"), "--out", str(out)]) == 0
    rows = read(out)
    assert len(rows) == 60
    assert list(rows[0])[4:] == ['a, "b"', "c", "file (class)"]
    assert len({row["predicted_label"] for row in rows}) > 1
    assert accuracy(rows) == pytest.approx(run.result()["last_accuracy"])
    assert 0 < accuracy(rows) < 100


def test_labels_and_classes_are_called_as_in_the_record_and_its_mended_table_is_read(
    tmp_path: Path, colors: tuple[RunDirectory, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = colors
    labels, out = tmp_path / "labels", tmp_path / "out.csv"
    assert labels_main([str(run.path), "--out", str(labels), "--fix", "relabel", "--confidence", "1"]) == 0
    words = [str(run.path), str(labels / "cleaned_labels.csv"), "--out", str(out)]
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cleaned_labels.csv, line 2, looked for relative to {labels}): give --root PATH" in line
    assert main([*words, "--root", str(data)]) == 0
    found = {row["file"]: row for row in read(out)}
    assert len(found) == 48 + 60
    kept = read(labels / "labels.csv")
    assert 40 < len(kept) < 48, "all but those that were held out"
    assert {(row["predicted_label"], row["predicted_class"]) for row in found.values()} == {
        (row["predicted_label"], row["predicted_class"]) for row in kept
    }
    for row in kept:
        assert found[row["key"]]["predicted_label"] == row["predicted_label"]


def test_tables_are_read_as_for_training(tmp_path: Path, digits: RunDirectory, pictures: Path) -> None:
    """Another column, in any case of letters, any separator, a mark in front; relative to the root or absolute."""
    first, second, *_ = sorted(pictures.glob("4/*.png"))
    (tmp_path / "a.csv").write_text(f"\ufefflabel\tphoto name\n4\t4/{first.name}\n\n4\t{second}\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text(f"sep=;\nPhoto Name; label\n4/{second.name} ; 4\n")
    tables = [str(tmp_path / "a.csv"), str(tmp_path / "b.tsv")]
    out = tmp_path / "p.csv"
    words = ["--root", str(pictures), "--column", "photo name", "--out", str(out)]
    assert main([str(digits.path), *tables, str(first), *words]) == 0
    rows = read(out)
    assert [row["file"] for row in rows] == [f"4/{first.name}", str(second), f"4/{second.name}", str(first)]
    told = [(row["predicted_label"], row["confidence"]) for row in rows]
    assert (told[0], told[1]) == (told[3], told[2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.png", "gone.png is not there (IN/t.csv, line 3, looked for relative to IN): give --root PATH if names"),
        ("in\\a.png", "relative to IN; names are written with /, and this one has a backslash): give --root"),
        ("e\u0301.png", "a file is there whose name looks the same, in the Unicode form NFC: write the name so)"),
        (
            "a\u030a/\u00fc.png",
            "whose name looks the same, in the Unicode form NFD: write the name so)",
        ),
        ("IN/gone.png", "IN/gone.png is not there (IN/t.csv, line 3): mend the table, or give --skip_bad"),
        ("a", "a.png lies there): give --root"),
        ("A.PNG", "a.png lies there): give --root"),
        ("s3://bucket/a.png", "it is an address"),
        ("~/a.png", "~ stands for no folder"),
        ("a.png/b.png", "a.png/b.png is not there (IN/t.csv, line 3, looked for relative to IN): give --root"),
    ],
)
def test_a_name_in_a_table_that_is_not_found(
    tmp_path: Path, digits: RunDirectory, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    for there in ("a.png", "\u00e9.png", "a\u030a/u\u0308.png"):
        paint(tmp_path / there)
    name, message = name.replace("IN", str(tmp_path)), message.replace("IN", str(tmp_path))
    (tmp_path / "t.csv").write_text(f"file,label\na.png,1\n{name},1\n", encoding="utf-8")
    words = [str(digits.path), str(tmp_path / "t.csv"), "--out", str(tmp_path / "p.csv")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "p.csv").exists()
    assert main([*words, "--skip_bad"]) == 0
    assert "is not there" in capsys.readouterr().err
    assert [row["file"] for row in read(tmp_path / "p.csv")] == ["a.png"]


def test_files_folders_and_tables_by_their_names(tmp_path: Path, digits: RunDirectory, pictures: Path) -> None:
    first, *_ = sorted(pictures.glob("0/*.png"))
    table = pictures / "some.csv"
    table.write_text(f"\ufefflabel;file\nx;1/{next(pictures.glob('1/*')).name}\n\ny; {first} \n")
    out = tmp_path / "p.csv"
    words = [str(digits.path), str(first), "--out", str(out), str(table), str(pictures / "2")]
    assert main(words) == 0
    names = [row["file"] for row in read(out)]
    assert names[0] == names[2] == str(first)
    assert names[1].startswith("1/")
    assert names[3:] == sorted(str(path) for path in pictures.glob("2/*"))
    same = {(row["predicted_label"], row["confidence"]) for row in read(out) if row["file"] == str(first)}
    assert len(same) == 1


def test_batches_change_nothing_and_are_all_that_is_decoded(
    tmp_path: Path, digits: RunDirectory, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("500", "33"):
        words = [str(digits.path), str(pictures), "--out", str(tmp_path / size), "--batch_size", size]
        assert main(words) == 0
    whole, parts = read(tmp_path / "500"), read(tmp_path / "33")
    assert [row["file"] for row in whole] == [row["file"] for row in parts]
    for one, other in zip(whole, parts, strict=True):
        assert float(one["confidence"]) == pytest.approx(float(other["confidence"]), abs=1e-5)
    opened, decode = [], decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *words: opened.append(words) or decode(*words))
    batches = decoded_batches(listed([str(pictures)]), read_model(digits.path / FILE_NAME), 20)
    assert len(next(batches).images) == 20
    assert len(opened) <= 40
    batches.close()


def test_a_bad_image_stops_all_or_is_left_out(
    tmp_path: Path, digits: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.png"):
        paint(tmp_path / "in" / name)
    (tmp_path / "in/b.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:60])
    (tmp_path / "in/d.jpg").symlink_to(tmp_path / "gone")
    out = tmp_path / "p.csv"
    words = [str(digits.path), str(tmp_path / "in"), "--out", str(out), "--batch_size", "1"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error    {tmp_path / 'in/b.png'} cannot be decoded (")
    assert line.endswith("repair or remove it, or give --skip_bad to leave such out")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert main([*words, "--skip_bad"]) == 0
    said = capsys.readouterr()
    assert [line.split(" cannot")[0] for line in said.err.splitlines()] == [
        f"left out {tmp_path / 'in/b.png'}",
        f"left out {tmp_path / 'in/d.jpg'}",
    ]
    assert "2 images (2 left out)" in said.out
    assert [Path(row["file"]).name for row in read(out)] == ["a.png", "c.png"]
    assert main([str(digits.path), str(tmp_path / "in/b.png"), "--skip_bad", "--out", str(tmp_path / "no.csv")]) == 2
    assert "none of the 1 images can be decoded" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


def test_folders_are_read_as_for_training(
    tmp_path: Path, digits: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links that go round, what machines leave, a pipe, a closed folder and a closed file."""
    folder = tmp_path / "in"
    for name in ("a.png", "closed/b.png", "shut.png", "@eaDir/a.png", "sub/c.png"):
        paint(folder / name)
    for name in ("x", "y"):
        (folder / "sub" / name).symlink_to("..")
    os.mkfifo(folder / "pipe.png")
    words = [str(digits.path), str(folder), "--out", str(tmp_path / "p.csv")]
    close(monkeypatch, folder / "closed", folder / "shut.png")
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder / 'closed'} cannot be read (Permission denied)" in line
    assert "--skip_bad" in line
    assert main([*words, "--skip_bad"]) == 0
    said = capsys.readouterr().err.splitlines()
    for part in (
        f"left out {folder / 'closed'} cannot be read (Permission denied)",
        f"left out {folder / 'pipe.png'} cannot be read (it is a pipe, no regular file)",
        f"left out {folder / 'shut.png'} cannot be read (Permission denied)",
    ):
        assert part in said
    assert sum("@eaDir" in line for line in said) == sum("2 links" in line for line in said) == 1
    assert len(said) == 5
    assert [row["file"] for row in read(tmp_path / "p.csv")] == [str(folder / "a.png"), str(folder / "sub/c.png")]


def test_files_in_a_folder_that_are_no_images_are_said(
    tmp_path: Path, digits: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.gif"):
        paint(tmp_path / "in" / name)
    for name in ("c.heic", "d.txt", ".hidden"):
        (tmp_path / "in" / name).write_text("no image")
    assert main([str(digits.path), str(tmp_path / "in"), "--out", str(tmp_path / "p.csv")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"warning  2 files below {tmp_path / 'in'} are no images by the extension (.heic, .txt): left out"
    assert [Path(row["file"]).name for row in read(tmp_path / "p.csv")] == ["a.png", "b.gif"]


def test_never_overwrites_unless_told(tmp_path: Path, digits: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "a.png")
    out = tmp_path / "p.csv"
    out.write_text("mine")
    words = [str(digits.path), str(tmp_path / "a.png"), "--out", str(out)]
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert len(read(out)) == 1


@pytest.mark.parametrize(
    ("images", "out"),
    [
        ("photo", "photo"),
        ("photo", "link"),
        ("linked", "aim"),
        ("named.csv", "named.csv"),
        ("named.csv", "photo"),
        ("in", "in/a.png"),
        ("in", "new.JPG"),
        ("photo", "RUN/model.pt"),
        ("photo", "RUN/metrics.csv"),
        ("photo", "moved.pt"),
    ],
)
def test_what_is_read_is_never_replaced(
    tmp_path: Path,
    digits: RunDirectory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    images: str,
    out: str,
) -> None:
    """An image without an extension, by a link, below a folder, in a table; the table, the model, its run."""
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "in/a.png")
    for name in ("photo", "aim"):
        (tmp_path / name).write_bytes((tmp_path / "in/a.png").read_bytes())
    (tmp_path / "link").symlink_to("photo")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/b.png").symlink_to(tmp_path / "aim")
    (tmp_path / "named.csv").write_text("file\nphoto\n")
    (tmp_path / "moved.pt").write_bytes((digits.path / FILE_NAME).read_bytes())
    place = Path(out.replace("RUN", str(digits.path)))
    before = place.read_bytes() if place.exists() else b""
    model = "moved.pt" if out == "moved.pt" else str(digits.path)
    assert main([model, images, "--out", str(place), "--overwrite"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{place} is read here" in line or "is called like an image" in line or "record of a run" in line
    assert (place.read_bytes() if place.exists() else b"") == before


def test_all_that_a_run_leaves_is_its_record(digits: RunDirectory) -> None:
    assert {path.name for path in digits.path.iterdir() if not path.name.startswith(".")} <= set(RECORD)


def test_top_names_the_most_probable(tmp_path: Path, digits: RunDirectory, pictures: Path) -> None:
    words = [str(digits.path), str(pictures / "3")]
    assert main([*words, "--out", str(tmp_path / "all")]) == 0
    assert main([*words, "--out", str(tmp_path / "top"), "--top", "2"]) == 0
    for whole, short in zip(read(tmp_path / "all"), read(tmp_path / "top"), strict=True):
        ranked = sorted((str(digit) for digit in range(10)), key=lambda digit: -float(whole[digit]))
        assert list(short)[4:] == ["class_1", "probability_1", "class_2", "probability_2"]
        assert [short["class_1"], short["class_2"]] == ranked[:2]
        assert short["probability_2"] == whole[ranked[1]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "gone.png"], "gone.png is not there: give images, folders of them, or CSV files"),
        (["RUN", "empty"], "empty has no images"),
        (["RUN", "other.csv"], "its first line has no column 'file' ('name,label')"),
        (["RUN", "header.csv"], "names no files"),
        (["RUN", "short.csv"], "short.csv, line 3: names no file"),
        (["RUN", "nul.csv"], "nul.csv, line 2: names no file"),
        (["RUN", "open.csv"], "open.csv is no intact table (line 3: unexpected end of data)"),
        (["RUN", "long.csv"], "its first line has no column 'file' ('xxx"),
        (["gone", "a.png"], "gone is not there: give a model.pt, or the folder of a finished run"),
        (["other.csv", "a.png"], "other.csv is no intact model.pt"),
        (["RUN", "a.png", "--batch_size", "0"], "--batch_size 0: must be at least 1"),
        (["RUN", "a.png", "--batch_size", "many"], "argument --batch_size: invalid int value"),
        (["RUN", "a.png", "--top", "11"], "--top 11: must be a number of classes, 1 to 10"),
        (["RUN", "a.png", "--device", "tpu9"], "device=tpu9 is not there"),
        (["RUN", "a.png", "--out", "empty"], "empty is a folder: give --out a file"),
        (["RUN", "a.png", "--out", "gone/p.csv"], "cannot write gone/p.csv"),
        (["RUN", "a.png", "--root", "empty"], "--root empty: is for tables (.csv .tsv), and IMAGES has none"),
        (["RUN", "empty", "--column", "x"], "--column x: is for tables (.csv .tsv), and IMAGES has none"),
        (["RUN", "other.csv", "--root", "gone"], "--root gone is not a folder"),
        (["RUN", "twice.csv"], "twice.csv has 2 columns 'file': name another"),
        (["RUN", "other.csv", "--column", "x"], "has no column 'x' ('name,label'): name the column of files with"),
        (["RUN"], "the following arguments are required: IMAGES"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    digits: RunDirectory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    paint(tmp_path / "a.png")
    (tmp_path / "other.csv").write_text("name,label\na.png,1\n")
    (tmp_path / "twice.csv").write_text("sep=,\nfile,label,file\na.png,1,a.png\n")
    (tmp_path / "header.csv").write_text("file\n")
    (tmp_path / "short.csv").write_text("label,file\n1,a.png\n2\n")
    (tmp_path / "nul.csv").write_text("file\na\0.png\n")
    (tmp_path / "open.csv").write_text('file,label\na.png,1\n"b.png,1\n')
    (tmp_path / "long.csv").write_text("x" * 140_000 + ",file\n")
    assert main([str(digits.path) if word == "RUN" else word for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error    ")
    assert message in line
    assert not list(tmp_path.glob("*predictions.csv*"))


def test_refuses_a_model_whose_images_are_no_squares(digits: RunDirectory) -> None:
    model = read_model(digits.path / FILE_NAME)
    model.image_size = (8, 10)
    with pytest.raises(InputError, match=r"\[1, 8, 10\]"):
        check_input(model)


def test_a_class_has_a_column_of_its_own_whatever_it_is_called() -> None:
    names = ("file", "file (class)", "=1+1")
    assert columns(names, None)[4:] == ["file (class) (class)", "file (class)", "=1+1"]


def test_names_in_a_table_of_ours_are_the_files(tmp_path: Path) -> None:
    paint(tmp_path / "=a.png")
    paint(tmp_path / "@b" / "c.png")
    (tmp_path / "table.csv").write_text(table_text([["file"], ["=a.png"], ["@b/c.png"]]))
    found = listed([str(tmp_path / "table.csv")])
    assert [image.name for image in found] == ["=a.png", "@b/c.png"]
    assert all(image.path.is_file() for image in found)
