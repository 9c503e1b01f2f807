"""The figures of the report: drawings inside the page, with the numbers that they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from analysis.compare.blocks import shown
from analysis.figures.chart import Chart
from analysis.report.drawing import embedded

MOST_CHARTS = 12
MOST_NUMBERS = 60


@dataclass(frozen=True)
class PrintedChart:
    """A chart as a page shows it; its numbers too, unless they are more than a person reads."""

    about: str
    caption: str
    drawing: Markup
    headings: list[str]
    numbers: list[list[str]]


@dataclass(frozen=True)
class PrintedFigure:
    """A figure as a page shows it: at most `MOST_CHARTS` charts, and only while there is room; the others counted."""

    title: str
    charts: list[PrintedChart]
    left_out: int


def printed(name: str, charts: Sequence[Chart], room: int) -> PrintedFigure:
    """The figure as text and graphics of at most `room` characters."""
    kept: list[PrintedChart] = []
    for position, chart in enumerate(charts[:MOST_CHARTS]):
        candidate = _chart(chart, f"{name}-{position}")
        if size(kept) + len(candidate.drawing) > room:
            break
        kept.append(candidate)
    return PrintedFigure(name.replace("_", " ").capitalize(), kept, len(charts) - len(kept))


def size(charts: Sequence[PrintedChart]) -> int:
    """How many characters of the page are their drawings."""
    return sum(len(chart.drawing) for chart in charts)


def _chart(chart: Chart, identifier: str) -> PrintedChart:
    few = len(chart.numbers) <= MOST_NUMBERS
    return PrintedChart(
        about=chart.about,
        caption=chart.caption,
        drawing=embedded(chart.drawing, identifier, f"{chart.about}. {chart.caption}"),
        headings=[str(column) for column in chart.numbers.columns],
        numbers=[[_text(value) for value in row] for row in chart.numbers.itertuples(index=False)] if few else [],
    )


def _text(value: object) -> str:
    return "—" if value is None or value != value or value is pd.NA else shown(value)
