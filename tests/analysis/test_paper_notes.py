"""Known traps of the published tables: each note has its number, and is printed exactly where that number is."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis import paper
from analysis.compare.render import csv, latex, markdown
from analysis.tables import build


def row_of(text: str, name: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith("| best") and f" {name}" in line)
    return line


@pytest.mark.parametrize("note", paper.notes().to_dict("records"), ids=lambda note: f"{note['table']}-{note['method']}")
def test_every_note_is_about_a_number(note: dict[str, Any]) -> None:
    assert paper.applies(note, paper.reported()).any()
    assert note["note"].endswith(".")


def test_a_note_without_a_rate_is_about_the_row() -> None:
    numbers = paper.numbers_of("table1_symmetric", "cifar100")
    assert (numbers["footnote"] != "").groupby(numbers["method"]).sum().to_dict()["GCE"] == 4
    noted = numbers[(numbers["method"] == "MOIT+") & (numbers["footnote"] != "")]
    assert noted["rate"].tolist() == [0.8]


@pytest.fixture
def asymmetric(runs_dir: Path, settings: Any, write_run: Any) -> pd.DataFrame:
    write_run(settings("none", 0.4, noise__name="asymmetric"), best=70.0)
    return analysis.load(runs_dir)


def test_marks_in_markdown(asymmetric: pd.DataFrame) -> None:
    text = markdown(build("asymmetric", asymmetric))
    assert "GCE[^" in row_of(text, "GCE")
    assert "86.3[^" in row_of(text, "M-correction")
    assert "91.2[^" in row_of(text, "PENCIL")
    assert "[^" not in row_of(text, "DivideMix")
    marks = {mark.split("]")[0] for mark in text.split("[^")[1:]}
    assert all(f"\n[^{mark}]: " in text for mark in marks)
    assert "88.5" in text


def test_notes_in_latex(asymmetric: pd.DataFrame) -> None:
    text = latex(build("asymmetric", asymmetric))
    assert "86.3$^{" in text
    assert "\\end{tabular}\n\\par\\footnotesize $^{1}$" in text
    assert text.isascii()


def test_a_column_in_csv(asymmetric: pd.DataFrame) -> None:
    frame = pd.read_csv(io.StringIO(csv(build("asymmetric", asymmetric))))
    noted = frame[frame["footnote"].notna()]
    assert set(noted["method"]) == {"PENCIL", "Meta-Learning", "M-correction", "GCE"}
    assert noted["paper"].notna().all()


def test_beside_our_numbers_too(runs_dir: Path, paper_settings: Any, write_run: Any) -> None:
    write_run(paper_settings("none", 0.9, base_method__name="coteaching"), best=15.0)
    block = build("generality", analysis.load(runs_dir)).blocks[0]
    ours = block.cells[(block.cells["method"] == "coteaching") & (block.cells["statistic"] == "best")]
    assert "Not the row of the paper's Table 1" in ours["footnote"].iloc[0]
    assert "inferred" in ours["footnote"].iloc[0]
    assert "14.6[^1][^2] " in markdown(build("generality", analysis.load(runs_dir)))
