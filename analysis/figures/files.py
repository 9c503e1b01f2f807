"""Charts as files: pictures, and the numbers that they show."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from analysis.command_line import holds
from analysis.figures.chart import Chart
from analysis.figures.style import look
from analysis.records.csv_text import csv_text
from sanm.errors import InputError
from sanm.files import write_bytes
from sanm.terminal.command_line import check_output

FORMATS = ("png", "svg")
DOTS_PER_INCH = 200
# Left out of the pictures' metadata: when and by which version a picture was made, so that equal numbers make equal
# bytes.
UNSAID = {"png": ("Software",), "svg": ("Date", "Creator")}
MARK = "python -m analysis.figures"
"""The source of a picture in its metadata, by which it is known again."""
LONGEST_NAME = 120
BETWEEN = " · "


def write(
    name: str, charts: Sequence[Chart], folder: Path, formats: Sequence[str], overwrite: bool = False
) -> list[tuple[list[Path], Chart]]:
    """Writes every chart of the figure of that name, in those formats and as CSV; returns each with its files.

    Raises `InputError` when the folder cannot be made or written, and, before anything is written, when a file is there
    that is not of this command, unless it is to `overwrite` such.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
    named = list(zip(stems(name, [chart.about for chart in charts]), charts, strict=True))
    for stem, chart in named:
        _check(folder, stem, chart, formats, overwrite)
    written = []
    for stem, chart in named:
        content = {form: picture(chart.drawing, form, chart.caption) for form in formats}
        content["csv"] = csv_text(chart.numbers).encode()
        paths = []
        for form, data in content.items():
            paths.append(folder / f"{stem}.{form}")
            write_bytes(paths[-1], data)
        written.append((paths, chart))
    return written


def _check(folder: Path, stem: str, chart: Chart, formats: Sequence[str], overwrite: bool) -> None:
    for form in formats:
        check_output(folder / f"{stem}.{form}", overwrite, ours=lambda path: holds(path, MARK.encode()), image=True)
    header = csv_text(chart.numbers[:0]).encode()
    check_output(folder / f"{stem}.csv", overwrite, ours=lambda path: holds(path, header, len(header)))


def picture(drawing: Figure, form: str, caption: str = "") -> bytes:
    """The drawing as PNG or SVG, its caption among its metadata; the same bytes for the same drawing."""
    metadata: dict[str, str | None] = {**dict.fromkeys(UNSAID[form]), "Source": MARK}
    if caption:
        metadata["Description"] = caption
    content = io.BytesIO()
    with look():
        drawing.savefig(content, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return content.getvalue()


def stems(name: str, abouts: Sequence[str]) -> list[str]:
    """A file name a chart: that of its figure, and what of `abouts` is not common to all of them."""
    parts = [about.split(BETWEEN) for about in abouts]
    common = set.intersection(*map(set, parts))
    result: list[str] = []
    for own in parts:
        stem = "-".join([name, *(_word(part) for part in own if part not in common)])[:LONGEST_NAME].strip("-")
        result.append(stem if stem not in result else f"{stem}-{len(result) + 1}")
    return result


def _word(part: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", part).strip("_")
