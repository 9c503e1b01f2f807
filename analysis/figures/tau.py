"""The paper's Fig. 4: accuracy over the basic mask ratio tau, beside fixed, random and no masks."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import paper
from analysis.compare.blocks import Group, labelled, shown
from analysis.compare.comparison import HEAD_OF_SANM, PLAIN
from analysis.compare.summary import summarise
from analysis.figures import masking
from analysis.figures.chart import Chart
from analysis.figures.masking import NAMES, ORDER, RATE, STRATEGY, STYLES, TAU
from analysis.figures.style import figure, legend_of_panels, title
from analysis.records import Records
from sanm.errors import InputError

MASKING = "masking"
SWEPT = "adaptive"
FEWEST = 3  # a line through two points says nothing of what lies between
MOST_COLUMNS = 4
HOW_TO_MAKE = "python -m sweeps.launch run tau data.root=PATH"


def charts(records: Records) -> tuple[Chart, ...]:
    """A chart a protocol: a column of panels a noise rate, a row a statistic.

    Runs are one curve if they differ in tau alone; fixed, random and no masks are lines across. Raises `InputError`
    when no protocol has three taus.
    """
    runs = records.runs
    usable = masking.masked_runs(runs)
    usable = usable.assign(**{MASKING: _masking(usable)})
    swept = [
        group for group in masking.protocols(usable, MASKING, (TAU, STRATEGY)) if _taus(group.runs).nunique() >= FEWEST
    ]
    if not swept:
        taus = ", ".join(map(shown, sorted(_taus(usable).unique()))) or "none"
        raise InputError(
            f"figure tau needs finished runs of {FEWEST} taus or more that differ in nothing else; with "
            f"mask_strategy=adaptive these {len(runs)} runs have tau {taus}; make some with: {HOW_TO_MAKE}"
        )
    return tuple(_chart(about, group, runs, usable) for about, group in masking.named(swept))


def _masking(runs: pd.DataFrame) -> list[str]:
    """How much a run masks, in words: "adaptive 0.2", or "none"."""
    pairs = zip(runs[STRATEGY], runs[TAU], strict=True)
    return [PLAIN if strategy == PLAIN else f"{strategy} {shown(tau)}" for strategy, tau in pairs]


def _taus(runs: pd.DataFrame) -> pd.Series:
    done = runs[(runs["status"] == "done") & (runs[STRATEGY] == SWEPT)]
    return done[TAU]


def _chart(about: str, group: Group, runs: pd.DataFrame, usable: pd.DataFrame) -> Chart:
    names = masking.statistics(group.runs)
    ways = group.runs.drop_duplicates(MASKING).set_index(MASKING)[[STRATEGY, TAU]]
    order = sorted(ways.index, key=lambda way: (ORDER.index(ways[STRATEGY][way]), ways[TAU][way]))
    cells = summarise(group.runs, MASKING, RATE, order, names)
    cells, comparison = masking.beside_the_paper(cells, group, adaptive=f"{SWEPT} {paper.TAU:g}")
    cells = cells.join(ways, on=MASKING)
    sentences = [
        f"Test accuracy over the basic mask ratio tau: {about}.",
        "Band: the standard deviation; runs that do not vary tau are lines across, with their bands at the right (from "
        "the left: no masks, fixed, random).",
        f"Shaded: the taus from {paper.GOOD_TAU[0]} to {paper.GOOD_TAU[1]} that the paper finds good; dotted: its "
        f"{paper.TAU}. The curves of its Fig. 4 are not drawn: it gives them no numbers.",
        *comparison,
    ]
    caption = masking.caption(sentences, group, cells, MASKING, runs, usable)
    return Chart(about, caption, _drawing(about, cells, names), labelled(cells, group.settings, HEAD_OF_SANM))


def _drawing(about: str, cells: pd.DataFrame, names: list[str]) -> Figure:
    rates = sorted(cells[RATE].unique())
    columns = min(len(rates), MOST_COLUMNS)
    rows = math.ceil(len(rates) / columns) * len(names)
    drawing = figure(height=1.9 * rows + 1.0)
    grid = drawing.subplots(rows, columns, squeeze=False, sharex=True)
    for place, rate in enumerate(rates):
        panels = grid[place // columns * len(names) :, place % columns][: len(names)]
        for axes, name in zip(panels, names, strict=True):
            if axes is not panels[0]:
                axes.sharey(panels[0])
            _panel(axes, cells[(cells[RATE] == rate) & (cells["statistic"] == name)])
            if place % columns == 0:
                axes.set_ylabel(f"{name} accuracy, %")
        panels[0].set_title(masking.percent(rate))
        panels[-1].set_xlabel("basic mask ratio tau")
        panels[-1].tick_params(labelbottom=True)
    for axes in grid[-len(names) :, (len(rates) - 1) % columns + 1 :].flat:
        axes.remove()
    title(drawing, about)
    legend_of_panels(drawing)
    return drawing


def _panel(axes: Axes, cells: pd.DataFrame) -> None:
    for strategy in reversed(ORDER):
        own = cells[(cells[STRATEGY] == strategy) & (cells["n"] > 0)].sort_values(TAU)
        if strategy == SWEPT or own[TAU].nunique() > 1:
            _curve(axes, own, strategy)
        elif not own.empty:
            _across(axes, own.iloc[0], strategy)
    known = cells.dropna(subset=["paper"])
    for strategy, number in zip(known[STRATEGY], known["paper"], strict=True):
        axes.plot(paper.TAU, number, "*", markersize=9, color=STYLES[strategy]["color"], markeredgecolor="white",
                  zorder=5, label=f"paper's Table 5, {NAMES[strategy]}")  # fmt: skip
    masking.mark_paper(axes)


def _curve(axes: Axes, cells: pd.DataFrame, strategy: str) -> None:
    low, high = (
        (cells["mean"] - cells["std"]).fillna(cells["mean"]),
        (cells["mean"] + cells["std"]).fillna(cells["mean"]),
    )
    style = STYLES[strategy]
    axes.fill_between(cells[TAU], low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(cells[TAU], cells["mean"], label=NAMES[strategy], **style)


def _across(axes: Axes, cell: pd.Series, strategy: str) -> None:
    style = STYLES[strategy]
    label = NAMES[strategy] if strategy == PLAIN else f"{NAMES[strategy]} {shown(cell[TAU])}"
    axes.axhline(cell["mean"], label=label, color=style["color"], linestyle=style["linestyle"])
    if cell["n"] > 1:
        # Right of the panel: bands of four lines over each other could not be told apart.
        left = 1.015 + 0.03 * ORDER.index(strategy)
        low, high = cell["mean"] - cell["std"], cell["mean"] + cell["std"]
        axes.axhspan(low, high, left, left + 0.02, color=style["color"], alpha=0.5, linewidth=0, clip_on=False)
