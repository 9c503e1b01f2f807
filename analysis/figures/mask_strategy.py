"""The paper's Fig. 2: masks by the label's clean probability, the same for all, by chance, and none."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.compare.blocks import Group, labelled, shown
from analysis.compare.comparison import HEAD_OF_SANM, PLAIN
from analysis.compare.summary import summarise
from analysis.figures import masking
from analysis.figures.chart import Chart
from analysis.figures.masking import NAMES, ORDER, RATE, STRATEGY, STYLES, TAU
from analysis.figures.style import figure, legend_below, title
from analysis.records import Records
from sanm.errors import InputError

FEWEST = 2
HOW_TO_MAKE = "python -m sweeps.launch run mask_strategy data.root=PATH"
PAPER_MARK: dict[str, Any] = {
    "marker": "*",
    "markersize": 9,
    "color": "white",
    "markeredgecolor": "black",
    "linestyle": "none",
}


def charts(records: Records) -> tuple[Chart, ...]:
    """A chart a protocol, tau included: a row of panels a noise rate, a column a statistic.

    Raises `InputError` when no protocol has two ways to mask.
    """
    runs = records.runs
    usable = masking.masked_runs(runs)
    compared = [group for group in masking.protocols(usable, STRATEGY, ()) if len(_masked(group.runs)) >= FEWEST]
    if not compared:
        names = ", ".join(_masked(usable)) or "none"
        raise InputError(
            f"figure mask_strategy needs finished runs of {FEWEST} of fixed, random and adaptive that differ in "
            f"nothing else; these {len(runs)} runs have mask_strategy {names}; make some with: {HOW_TO_MAKE}"
        )
    return tuple(_chart(about, group, runs, usable) for about, group in masking.named(compared))


def _masked(runs: pd.DataFrame) -> list[str]:
    present = set(runs.loc[runs["status"] == "done", STRATEGY])
    return [name for name in ORDER if name in present and name != PLAIN]


def _chart(about: str, group: Group, runs: pd.DataFrame, usable: pd.DataFrame) -> Chart:
    names = masking.statistics(group.runs)
    present = set(group.runs[STRATEGY])
    cells = summarise(group.runs, STRATEGY, RATE, [name for name in ORDER if name in present], names)
    cells, comparison = masking.beside_the_paper(cells, group, adaptive="adaptive")
    sentences = [
        f"Test accuracy by how much is masked, tau {shown(group.settings[TAU])}: {about}.",
        "Adaptive: the more, the less a label is trusted (Eq. 2); fixed: tau of every image; random: U(0, 2 tau). "
        "Axes need not begin at zero; each noise rate has its own. The paper's Fig. 2 is not drawn beside it: it gives "
        "no numbers.",
        *comparison,
    ]
    caption = masking.caption(sentences, group, cells, STRATEGY, runs, usable)
    return Chart(about, caption, _drawing(about, cells, names), labelled(cells, group.settings, HEAD_OF_SANM))


def _drawing(about: str, cells: pd.DataFrame, names: list[str]) -> Figure:
    rates = sorted(cells[RATE].unique())
    order = [name for name in ORDER if name in set(cells[STRATEGY])]
    drawing = figure(height=len(rates) * (0.35 + 0.2 * len(order)) + 0.9)
    grid = drawing.subplots(len(rates), len(names), squeeze=False, sharey=True, sharex="row")
    for axes in grid[:, 1:].flat:
        axes.tick_params(axis="y", length=0)
    for row, rate in zip(grid, rates, strict=True):
        for axes, name in zip(row, names, strict=True):
            _panel(axes, cells[(cells[RATE] == rate) & (cells["statistic"] == name)], order)
        row[0].set_ylabel(masking.percent(rate))
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name)
    for axes in grid[-1]:
        axes.set_xlabel("test accuracy, %")
    title(drawing, about)
    if cells["paper"].notna().any():
        legend_below(drawing, [Line2D([], [], **PAPER_MARK)], ["the paper's Table 5"])
    return drawing


def _panel(axes: Axes, cells: pd.DataFrame, order: list[str]) -> None:
    for cell in cells[cells["n"] > 0].to_dict("records"):
        place, style = order.index(cell[STRATEGY]), STYLES[cell[STRATEGY]]
        spread = cell["std"] if cell["n"] > 1 else None
        axes.errorbar(cell["mean"], place, xerr=spread, fmt=style["marker"], color=style["color"], capsize=2.5)
        axes.annotate(f"{cell['mean']:.1f}", (cell["mean"], place), (0, 5), textcoords="offset points", ha="center",
                      fontsize=7)  # fmt: skip
        if pd.notna(cell["paper"]):
            axes.plot(cell["paper"], place, **PAPER_MARK)
    axes.set_yticks(range(len(order)), [NAMES[name] for name in order])
    axes.set_ylim(-0.6, len(order) - 0.2)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
