"""What a figure is made of."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """One drawing of a figure: those of one protocol, or of one run.

    `numbers` is what is drawn, in long form, so that nobody has to read it off the axes; `caption` says what is
    shown, how many runs are behind it, the selection rule, what is missing, and the paper's numbers where they are
    drawn; `about` says in a few words whose drawing it is (`cifar10 · dividemix · symmetric noise`).
    """

    about: str
    caption: str
    drawing: Figure
    numbers: pd.DataFrame
