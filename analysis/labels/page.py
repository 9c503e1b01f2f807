"""The page of pictures: template, style and script of this folder in one file that asks the network nothing."""

import base64
import hashlib
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.labels.pictures import Picture

HERE = Path(__file__).parent


def page(title: str, worst: pd.DataFrame, shown: list[Picture], suspected: int, note: str) -> str:
    """The suspected samples `worst`, with a picture each; `note` says why there is none, if so."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rows = worst.to_dict("records")
    return environment.get_template("page.html").render(
        title=title,
        cards=list(zip(rows, shown, strict=True)) if shown else [(row, None) for row in rows],
        pairs=_pairs(worst),
        suspected=suspected,
        note=note,
        known=lambda value: not pd.isna(value),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The browser runs this script and no other, whatever a record may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _pairs(worst: pd.DataFrame) -> list[tuple[str, int]]:
    """Given and suggested label with the number of their samples on the page, the most frequent first."""
    counts = worst.groupby(["given_label", "predicted_label"]).size().sort_values(ascending=False, kind="stable")
    return [(" → ".join(map(str, pair)), int(count)) for pair, count in zip(counts.index, counts, strict=True)]
