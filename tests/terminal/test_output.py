"""What reaches a terminal: one line, in its own characters, that it shows and does not obey."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.__main__ import main as analysis_main
from analysis.figures.__main__ import main as figures_main
from analysis.labels.__main__ import main as labels_main
from analysis.report.__main__ import main as report_main
from analysis.tables.__main__ import main as tables_main
from sanm.bench.__main__ import main as bench_main
from sanm.export.__main__ import main as export_main
from sanm.predict.__main__ import main as predict_main
from sanm.terminal import output
from sweeps.launch import main as launch_main
from tests.conftest import Command
from tests.data.pictures import paint

HOSTILE = "ü\x1b[31m\n\u202egnp.\x07猫"
"""A name with a letter, a colour, a line break, a change of direction, a bell and a sign."""
RAW = ("\x1b", "\x07", "\u202e")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 猫 — ±", "plain ü 猫 — ±"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31mred\x1b[0m \x9b2J", r"\x1b[31mred\x1b[0m \x9b2J"),
        ("cat\u202egnp.exe \u2066x\u2069 \u200f", r"cat\u202egnp.exe \u2066x\u2069 \u200f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("half \udcff", r"half \udcff"),
        ("ﷺ می‌خواهم 👩‍🚀", "ﷺ می‌خواهم 👩‍🚀"),  # joiners are part of how words are written
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert output.printable(text) == shown
    assert output.printable("a\nb\x07", keep="\n") == "a\nb\\x07"


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (analysis_main, [HOSTILE]),
        (tables_main, [HOSTILE, "--table", "components"]),
        (figures_main, [HOSTILE, "--figure", "tau"]),
        (report_main, [HOSTILE]),
        (labels_main, [HOSTILE]),
        (predict_main, [HOSTILE, "x.png"]),
        (predict_main, ["model.pt", "x.png", "--no-such", HOSTILE]),
        (export_main, [HOSTILE, "--format", "onnx"]),
        (bench_main, ["bench.ü\x1b猫=1"]),
        (launch_main, ["status", HOSTILE]),
    ],
)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_command_refuses_in_one_line_of_any_terminals_characters(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[list[str]], int], words: list[str], encoding: str
) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(words) == 2
    stream.flush()
    (line,) = written.getvalue().decode(encoding).splitlines()
    assert not any(character in line for character in RAW)
    assert "猫" in line or r"\u732b" in line, "it is still told what"


def test_long_texts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert bench_main(["--help"]) == 0
    with pytest.raises(SystemExit):
        tables_main(["--help"])
    stream.flush()
    assert b"usage" in written.getvalue()


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    output.begin()
    warnings.showwarning(UserWarning(HOSTILE), UserWarning, "file.py", 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning  ü\\x1b[31m\\n")


def test_a_run_on_files_with_hostile_names(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning and a refusal that name them, on a terminal of ASCII."""
    for label in ("a", "b"):
        paint(tmp_path / "train" / label / "0.png")
    (tmp_path / "train" / "a" / f"{HOSTILE}.png").write_bytes(b"no image")
    (tmp_path / "train" / "a" / "x.\x1b[31m").write_bytes(b"")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = command("data=image_folder", f"data.root={tmp_path}")
    assert done.returncode == 2
    warning, error = (line for line in done.stderr.splitlines() if not line.startswith("decode"))
    assert warning.startswith("warning")
    assert r"\x1b[31m" in warning
    assert error.startswith("error")
    assert r"\xfc\x1b[31m\n\u202egnp.\x07\u732b.png" in error
