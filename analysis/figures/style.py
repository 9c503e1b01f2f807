"""How all figures look: readable in print and on screen, in gray, and for color-blind readers too."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colors for color-blind readers, in the order of their contrast on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Lines differ in more than color, so that they can be told apart in gray.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
WIDTH = 6.5  # inches, a text column of a page
LOOK: Any = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",  # words in an SVG can be searched, and edited
    "svg.hashsalt": "sanm",  # the same numbers make the same bytes
}


@contextmanager
def look() -> Iterator[None]:
    """Within it drawings look alike, whatever a person's own settings of matplotlib; theirs come back after."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK)
        yield


def figure(height: float = 3.6, width: float = WIDTH) -> Figure:
    """An empty figure of that size in inches, which no global state of matplotlib knows about."""
    drawing = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing


def line(position: int) -> dict[str, Any]:
    """How the line at that position of a legend is drawn: color, marker and dashes, 28 different ones."""
    return {
        "color": COLORS[position % len(COLORS)],
        "marker": MARKERS[(position + position // len(COLORS)) % len(MARKERS)],
        "linestyle": DASHES[position % len(DASHES)],
    }


def title(drawing: Figure, about: str) -> None:
    """Whose drawing it is, above it, in as many lines as it needs."""
    drawing.suptitle(textwrap.fill(about, 105), color="0.3")


def legend_below(drawing: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend of the whole figure under its panels, in as many columns as its longest label leaves room for."""
    wrapped = [textwrap.fill(label, 100) for label in labels]
    longest = max(len(row) for label in wrapped for row in label.split("\n"))
    columns = max(1, min(len(labels), 4, int(118 / (longest + 8))))
    drawing.legend(handles, wrapped, loc="outside lower center", ncols=columns, handlelength=3)


def legend_of_panels(drawing: Figure) -> None:
    """A legend below with every label of the panels once."""
    entries: dict[str, Artist] = {}
    for axes in drawing.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    legend_below(drawing, list(entries.values()), list(entries))
