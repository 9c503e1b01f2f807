"""How the paper is read: each setting of `variant` that is not its reading, and all of the released code's at once."""

import pandas as pd

from analysis.blocks import shown
from analysis.comparison import HEAD_OF_SANM, Comparison, listed, of_sanm

PAPER = "paper"
RELEASED = "released"
READING: dict[str, object] = {
    "masked_views": "joint",
    "unmasked_views": "kept",
    "activation": "class",
    "ratio_at_maximum": "two_minus_w",
    "ratio_at_minimum": "one_minus_w",
    "painted_part": 1.0,
    "anchor": "center",
    "fill": "pixel_uniform",
    "masked_target": "method",
    "label_ratio": "realised",
    "reconstruction_space": "image",
    "reconstruction_weight": 1.0,
}
RELEASED_CODE = READING | {
    "masked_views": "separate",
    "activation": "energy",
    "ratio_at_maximum": "released",
    "ratio_at_minimum": "as_maximum",
    "painted_part": 0.5,
    "anchor": "corner",
    "fill": "box_color",
    "label_ratio": "nominal",
    "reconstruction_space": "normalised",
    "reconstruction_weight": 0.02,
}


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
    others = {key: value for key, value in variant.items() if READING.get(key) != value}
    if others and all(RELEASED_CODE.get(key) == value for key, value in variant.items()) and len(others) > 1:
        return RELEASED
    return ", ".join(f"{key}={shown(value)}" for key, value in sorted(others.items())) or PAPER


table = Comparison(
    title="How the paper is read",
    rows="reading",
    row_of=of_sanm(_readings),
    rows_of=listed(("none", PAPER, RELEASED), references=(PAPER, "none")),
    needs="variant settings",
    make="python -m sweeps.launch run variant data.root=PATH",
    varies=("variant",),
    least=2,
    head=HEAD_OF_SANM,
    notes=("reading: what of variant is not as the paper is read by default (conf/variant/paper.yaml).",),
).table
