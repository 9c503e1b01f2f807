"""The page of pictures, in one file."""

from pathlib import Path

import pandas as pd

from analysis.labels.pictures import Picture
from analysis.one_file import filled
from sanm.terminal.output import printable


def page(title: str, worst: pd.DataFrame, shown: list[Picture], suspected: int, note: str) -> str:
    """The suspected samples `worst`, with a picture each; `note` says why there is none, if so."""
    worst = worst.assign(**{name: worst[name].map(printable) for name in ("key", "given_label", "predicted_label")})
    rows = worst.to_dict("records")
    return filled(
        Path(__file__).parent,
        title=title,
        cards=list(zip(rows, shown, strict=True)) if shown else [(row, None) for row in rows],
        pairs=_pairs(worst),
        suspected=suspected,
        note=note,
        known=lambda value: not pd.isna(value),
    )


def _pairs(worst: pd.DataFrame) -> list[tuple[str, int]]:
    """Given and suggested label with the number of their samples on the page, the most frequent first."""
    counts = worst.groupby(["given_label", "predicted_label"]).size().sort_values(ascending=False, kind="stable")
    return [(" → ".join(map(str, pair)), int(count)) for pair, count in zip(counts.index, counts, strict=True)]
