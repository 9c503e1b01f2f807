"""The one rule of every file that a command writes: nothing is lost that is not the command's own."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml  # type: ignore[import-untyped]

from analysis.figures.__main__ import main as figures
from analysis.labels.__main__ import main as labels
from analysis.report.__main__ import main as report
from analysis.tables.__main__ import main as tables
from sanm.bench.__main__ import main as bench
from sanm.errors import InputError
from sanm.export.__main__ import main as export
from sanm.files import write_atomically
from sanm.predict.__main__ import main as predict
from tests.analysis.conftest import runs_dir, settings, write_run  # noqa: F401 - fixtures
from tests.analysis.labelled import write_labelled_run

Main = Callable[[list[str]], int]

WRITERS: dict[str, tuple[Main, list[str]]] = {
    "tables": (tables, ["RUNS", "--table", "components", "--out", "OUT"]),
    "tables --list": (tables, ["RUNS", "--list", "--out", "OUT"]),
    "report": (report, ["RUNS", "--out", "OUT"]),
    "predict": (predict, ["model.pt", "photo", "--out", "OUT"]),
    "export": (export, ["model.pt", "--format", "torch_export", "--out", "OUT"]),
    "bench": (bench, ["bench.json=OUT"]),
}
"""Commands that write a file of a name that the user gives. All of them look at it before they do anything else."""


@pytest.fixture
def place(tmp_path: Path, settings: Any, write_run: Any, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """The working folder, with runs, a study, a model's file, a picture, and files of the user's."""
    for seed in (1, 2):
        write_run(settings("full", seed=seed), best=80.0)
        write_run(settings("none", seed=seed), best=70.0)
    study = tmp_path / "runs/studies/tau"
    (study / "locks").mkdir(parents=True)
    for name in ("token", "study.db"):
        (study / name).write_text("of the study")
    for name in ("model.pt", "photo", "photo.JPG", "notes.md", "other/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"mine: {name}")
    for name, aim in {"link": "notes.md", "link.csv": "photo.JPG", "nowhere": "absent"}.items():
        (tmp_path / name).symlink_to(aim)
    (tmp_path / "round").symlink_to("round")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def all_below(folder: Path) -> dict[str, object]:
    """What there is, byte for byte; of what is no regular file its kind."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        kept: object = stat.S_IFMT(mode)
        if stat.S_ISREG(mode):
            kept = path.read_bytes()
        elif stat.S_ISLNK(mode):
            kept = os.readlink(path)
        found[str(path)] = kept
    return found


def refused(capsys: pytest.CaptureFixture[str], writer: str, out: str, *more: str) -> str:
    """What the command says of that output: one line; nothing is changed by it."""
    main, words = WRITERS[writer]
    before = all_below(Path())
    assert main([*(word.replace("OUT", out).replace("RUNS", "runs") for word in words), *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all_below(Path()) == before
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("out", ["notes.md", "link", "other/../notes.md"])
def test_a_file_that_is_there_is_replaced_only_if_told(
    place: Path, capsys: pytest.CaptureFixture[str], writer: str, out: str
) -> None:
    line = refused(capsys, writer, out)
    assert out in line
    assert "--overwrite" in line


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("out", ["photo.JPG", "link.csv", "new.png"])
def test_an_image_never(place: Path, capsys: pytest.CaptureFixture[str], writer: str, out: str) -> None:
    assert out in refused(capsys, writer, out, "--overwrite")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "out", ["runs/run-0000/metrics.csv", "runs/run-0000/failure.txt", "runs/studies/tau/study.db", "runs/studies/tau/x"]
)
def test_a_record_never(place: Path, capsys: pytest.CaptureFixture[str], writer: str, out: str) -> None:
    """Also a file of it that is not there yet: ``failure.txt`` would make a run one that failed."""
    line = refused(capsys, writer, out, "--overwrite")
    assert out in line
    assert "record" in line


@pytest.mark.parametrize("writer", ["predict", "export"])
def test_an_input_never(place: Path, capsys: pytest.CaptureFixture[str], writer: str) -> None:
    os.link("model.pt", "same")
    for out in ("model.pt", "same"):
        assert out in refused(capsys, writer, out, "--overwrite")


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("not allowed to make a device here")


def listened_to(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(path.name)


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "device": device,
    "pipe": os.mkfifo,
    "socket": listened_to,
    "folder": Path.mkdir,
    "to a device": lambda path: path.symlink_to(os.devnull),
    "to a folder": lambda path: path.symlink_to("other"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_never(place: Path, capsys: pytest.CaptureFixture[str], writer: str, kind: str) -> None:
    IRREGULAR[kind](place / "n")
    assert "n is " in refused(capsys, writer, "n", "--overwrite")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("out", ["absent/x", "notes.md/x", "round", "x" * 300])
def test_a_place_where_nothing_can_be_written(
    place: Path, capsys: pytest.CaptureFixture[str], writer: str, out: str
) -> None:
    assert out in refused(capsys, writer, out, "--overwrite")


@pytest.mark.parametrize("kind", IRREGULAR)
def test_the_last_writer_looks_too(place: Path, kind: str) -> None:
    IRREGULAR[kind](place / "n")
    before = all_below(place)
    with pytest.raises(InputError, match="no regular file"):
        write_atomically(place / "n", lambda file: file.write(b"ours"))
    assert all_below(place) == before


@pytest.mark.parametrize(("link", "aim"), [("link", "notes.md"), ("nowhere", "absent")])
def test_a_link_is_followed(place: Path, link: str, aim: str) -> None:
    assert tables(["runs", "--table", "components", "--out", link, "--overwrite"]) == 0
    assert Path(link).is_symlink()
    assert Path(aim).read_text().startswith("# ")
    assert not list(place.glob(".*.part"))


# ---- what a command wrote itself


def test_a_report_is_made_again_and_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["runs"]) == report(["runs"]) == 0
    page = Path("runs/report.html")
    Path("kept.html").write_bytes(page.read_bytes())
    assert report(["runs", "--list", "0", "--out", "kept.html"]) == 0
    assert Path("kept.html").read_bytes() != page.read_bytes()

    page.write_text("<html>mine</html>")
    capsys.readouterr()
    assert report(["runs"]) == 2
    assert "report.html is there already" in capsys.readouterr().err
    assert page.read_text() == "<html>mine</html>"
    assert report(["runs", "--overwrite"]) == 0


@pytest.mark.parametrize("mine", ["curves.png", "curves.svg", "curves.csv"])
def test_figures_are_made_again_and_again(place: Path, capsys: pytest.CaptureFixture[str], mine: str) -> None:
    words = ["runs", "--figure", "curves", "--out", "out"]
    assert figures(words) == figures(words) == 0
    (Path("out") / mine).write_text("mine")
    before = all_below(place)
    capsys.readouterr()
    assert figures(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"out/{mine} is there already" in line
    assert all_below(place) == before
    assert figures([*words, "--overwrite"]) == 0
    assert (Path("out") / mine).read_bytes() != b"mine"


@pytest.mark.parametrize("mine", ["labels.csv", "label_errors.html", "cleaned_labels.json"])
def test_labels_of_the_user_are_replaced_only_if_told(tmp_path: Path, mine: str) -> None:
    run = write_labelled_run(tmp_path / "run")
    words = [str(run), "--fix", "relabel", "--out", str(tmp_path)]
    (tmp_path / mine).write_text("mine")
    assert labels(words) == 2
    assert (tmp_path / mine).read_text() == "mine"
    assert labels([*words, "--overwrite"]) == labels(words) == 0
    assert (tmp_path / mine).read_text() != "mine"


@pytest.mark.parametrize("name", ["labels.csv", "written.json"])
def test_labels_do_not_wait_for_a_pipe(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run")
    os.mkfifo(tmp_path / name)
    assert labels([str(run), "--out", str(tmp_path), "--overwrite"]) == 2
    assert str(tmp_path / name) in capsys.readouterr().err


def test_the_record_of_an_encoder_is_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = place / "runs/encoders/simclr"
    encoder.mkdir(parents=True)
    (encoder / "config.yaml").write_text(yaml.safe_dump({}))
    torch.save({}, encoder / "encoder.pt")
    assert "record" in refused(capsys, "tables", "runs/encoders/simclr/encoder.pt", "--overwrite")
