"""A gallery of masked views: how much is painted for which trust, and what is then believed of them."""

from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures._example_images import (
    FONT,
    box_legend,
    in_color,
    in_numbers,
    masks_in_words,
    outline,
    show,
    write_below,
)
from analysis.figures._sampled_runs import SampledRun, sampled, sampled_runs
from analysis.figures.chart import Chart
from analysis.figures.style import COLORS, WIDTH, figure
from analysis.records import Records
from analysis.records.samples import Samples

COLUMNS = 8
ROWS = ("least trusted", "in between", "most trusted")
# The parts of a target, in the order in which a bar shows them.
PARTS = {"given label": COLORS[2], "likeliest other class": COLORS[5], "all further classes": "0.8"}


def charts(records: Records, run: str | None = None) -> tuple[Chart, ...]:
    """A chart a run with SANM: of that name or id, else of the newest runs of each kind."""
    found = sampled_runs(records, run, lambda samples: samples.masks is not None, "masks in samples.npz")
    return tuple(_chart(each) for each in found)


def _chart(run: SampledRun) -> Chart:
    rows = _rows(run.samples)
    cells = [(row, example, view) for row, examples in rows.items() for example in examples for view in _views(run)]
    numbers = in_numbers(run.samples, [example for _, example, _ in cells])
    assert run.samples.masks is not None
    numbers.insert(0, "row", [row for row, _, _ in cells])
    numbers.insert(0, "run", run.name)
    numbers["view"] = [view for _, _, view in cells]
    numbers["share"] = [float(run.samples.masks.share[example, view]) for _, example, view in cells]
    parts = pd.DataFrame([target_parts(run.samples, example, view) for _, example, view in cells])
    return Chart(run.about, _caption(run), _drawing(run.samples, rows), pd.concat([numbers, parts], axis=1))


def chart_of(row: dict[str, object]) -> Chart | None:
    """The chart of one finished run, by its row of `analysis.load`; None for a run without SANM."""
    run = sampled(row)
    return None if run.samples.masks is None else _chart(run)


def target_parts(samples: Samples, example: int, view: int) -> dict[str, float]:
    """How a masked view's target divides: the given label, the likeliest other class, all further ones."""
    assert samples.masks is not None
    target = samples.masks.target[example, view].copy()
    given = samples.given[example]
    whole, of_given = float(target.sum()), float(target[given])
    target[given] = 0
    of_other = float(target.max())
    return dict(zip(PARTS, (of_given, of_other, whole - of_given - of_other), strict=True))


def _views(run: SampledRun) -> range:
    assert run.samples.masks is not None
    return range(run.samples.masks.masked.shape[1])


def _rows(samples: Samples) -> dict[str, list[int]]:
    """Examples by rising clean probability: from its lower end, from the middle, from its upper end."""
    assert samples.masks is not None
    count = len(samples.index)
    each = min(COLUMNS // samples.masks.masked.shape[1], max(1, count // 3))
    starts = (0, (count - each) // 2, count - each)
    return {row: list(range(start, start + each)) for row, start in zip(ROWS, starts, strict=True)}


def _drawing(samples: Samples, rows: dict[str, list[int]]) -> Figure:
    assert samples.masks is not None
    height, width = samples.image.shape[2:]
    views = samples.masks.masked.shape[1]
    side = 0.92 * WIDTH / COLUMNS * height / width
    drawing = figure(0.4 + len(rows) * (side + 0.5))
    grid = drawing.subplots(2 * len(rows), COLUMNS, squeeze=False, height_ratios=[8, 1] * len(rows))
    for axis in grid.flat:
        axis.set_axis_off()
    for number, (row, examples) in enumerate(rows.items()):
        pictures, bars = grid[2 * number], grid[2 * number + 1]
        for place, (example, view) in enumerate((example, view) for example in examples for view in range(views)):
            _picture(pictures[place], samples, example, view)
            _bar(bars[place], samples, example, view)
        pictures[0].set_ylabel(row, fontsize=FONT + 1)
    parts = [Patch(facecolor=color, label=part) for part, color in PARTS.items()]
    handles = [each for column in zip_longest(parts, box_legend()) for each in column if each is not None]
    drawing.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=FONT, frameon=False)
    return drawing


def _picture(axis: Axes, samples: Samples, example: int, view: int) -> None:
    assert samples.masks is not None
    axis.set_axis_on()
    show(axis, in_color(samples.masks.masked[example, view]))
    outline(axis, samples, example, view)


def _bar(axis: Axes, samples: Samples, example: int, view: int) -> None:
    assert samples.masks is not None
    axis.set_axis_on()
    widths = np.clip(list(target_parts(samples, example, view).values()), 0, None)
    starts = np.cumsum(widths) - widths
    axis.barh(0, widths, left=starts, color=list(PARTS.values()), height=1)
    axis.set(xlim=(0, 1), ylim=(-0.5, 0.5), xticks=[], yticks=[])
    axis.spines[:].set_linewidth(0.5)
    share = 100 * samples.masks.share[example, view]
    write_below(axis, f"w {samples.clean_probability[example]:.2f}\n{share:.0f} % masked")


def _caption(run: SampledRun) -> str:
    parts = (
        "Masked views of training images by rising clean probability w (the mean over networks), the realised masked "
        "share, and as a bar the target that is learned of the view.",
        masks_in_words(run.samples),
        run.standing,
    )
    return " ".join(parts)
