"""Charts as files: names, formats, and bytes that depend on nothing but the drawing."""

from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.chart import Chart
from analysis.figures.files import picture, stems, write
from analysis.figures.style import figure, look, title
from sanm.errors import InputError


def drawn() -> Figure:
    with look():
        drawing = figure(height=2)
        axes = drawing.subplots()
        axes.plot([1, 2, 3], [1, 4, 2], marker="o")
        axes.set_xlabel("some words")
        title(drawing, "whose")
    return drawing


def chart(about: str) -> Chart:
    return Chart(about, "What is shown ± how.", drawn(), pd.DataFrame({"x": [1, 2], "y": [0.5, None]}))


@pytest.mark.parametrize("form", ["png", "svg"])
def test_equal_drawings_are_equal_bytes(form: str) -> None:
    assert picture(drawn(), form, "words") == picture(drawn(), form, "words")


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_persons_settings_change_no_byte_and_stay_theirs(form: str) -> None:
    expected = picture(drawn(), form)
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "svg.hashsalt": "other", "lines.linewidth": 5}):
        assert picture(drawn(), form) == expected
        assert matplotlib.rcParams["font.size"] == 20


def test_an_svg_has_words_a_generic_font_and_no_date() -> None:
    text = picture(drawn(), "svg", "the caption").decode()
    assert ">some words</text>" in text
    assert "sans-serif" in text
    assert "the caption" in text
    assert "<dc:date>" not in text


def test_a_png_is_a_text_column_at_200_dpi(tmp_path: Path) -> None:
    (tmp_path / "it.png").write_bytes(picture(drawn(), "png", "mean ± deviation"))
    with Image.open(tmp_path / "it.png") as image:
        assert image.size == (1300, 400)
        assert image.info["Description"] == "mean ± deviation"
        assert "Software" not in image.info


def test_one_chart_has_the_name_of_its_figure(tmp_path: Path) -> None:
    ((paths, _),) = write("tau", [chart("digits · ce")], tmp_path / "new" / "folder", ["png", "svg"])
    assert [path.name for path in paths] == ["tau.png", "tau.svg", "tau.csv"]
    assert all(path.is_file() for path in paths)
    assert paths[-1].read_text() == "x,y\n1,0.5\n2,\n"


def test_several_are_told_apart_by_what_differs() -> None:
    abouts = ["digits · ce · rate 0.5", "digits · elr · rate 0.5", "digits · ce · rate 0.8 · a/b=[1, 2]"]
    assert stems("curves", abouts) == ["curves-ce-rate_0.5", "curves-elr-rate_0.5", "curves-ce-rate_0.8-a_b=_1_2"]


def test_names_never_collide() -> None:
    same = ["digits · é", "digits · è", "digits · " + "x" * 300, "digits · " + "x" * 301]
    names = stems("curves", same)
    assert len(set(names)) == 4
    assert max(map(len, names)) < 130


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        write("tau", [chart("digits")], tmp_path / "file" / "figures", ["png"])
