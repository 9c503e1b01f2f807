"""How all figures look: readable in print and on screen, for color-blind readers too."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colors for color-blind readers, in the order of their contrast on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Lines differ in more than color, so that they can be told apart in gray.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 6.5  # inches, a text column of a page


def figure(height: float = 3.6, width: float = WIDTH) -> Figure:
    """An empty figure of that size in inches, which no global state of matplotlib knows about."""
    drawing = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing
