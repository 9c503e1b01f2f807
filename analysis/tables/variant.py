"""How the paper is read: each setting of `variant` that is not its reading, and all of the released code's at once."""

import pandas as pd

from analysis.compare.blocks import shown
from analysis.compare.comparison import HEAD_OF_SANM, Comparison, listed, of_sanm
from sanm.config.limits import option, options

PAPER = "paper"
READINGS = {name: option("variant", name) for name in options("variant")}


def _readings(runs: pd.DataFrame) -> pd.Series:
    keys = [key for key in runs.columns if key.startswith("variant.")]
    found = [_reading({key.partition(".")[2]: value for key, value in run.items()}) for run in _known(runs[keys])]
    return pd.Series(found, runs.index, dtype=object)


def _known(settings: pd.DataFrame) -> list[dict[str, object]]:
    runs = settings.to_dict("records")
    return [{str(key): value for key, value in run.items() if not pd.isna(value)} for run in runs]


def _reading(variant: dict[str, object]) -> str | None:
    """A run's reading by what is not the paper's in it; None without any. A run lacks what cannot matter to it."""
    if not variant:
        return None
    others = {key: value for key, value in variant.items() if READINGS[PAPER].get(key) != value}
    for name, reading in READINGS.items():
        if len(others) > 1 and all(reading.get(key) == value for key, value in variant.items()):
            return name
    return ", ".join(f"{key}={shown(value)}" for key, value in sorted(others.items())) or PAPER


table = Comparison(
    title="How the paper is read",
    rows="reading",
    row_of=of_sanm(_readings),
    rows_of=listed(("none", PAPER, *(name for name in READINGS if name != PAPER)), references=(PAPER, "none")),
    needs="variant settings",
    make="python -m sweeps.launch run variant data.root=PATH",
    varies=("variant",),
    least=2,
    head=HEAD_OF_SANM,
    notes=("reading: what of variant is not as the paper is read by default (conf/variant/paper.yaml).",),
).table
