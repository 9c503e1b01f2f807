"""The basic mask ratio tau, against data set and noise rate (the paper's Fig. 4)."""

import pandas as pd

from analysis.compare.comparison import FOLLOW_THE_RATE, HEAD_OF_SANM, Comparison, listed, of_sanm, setting

# What methods tabulate against the data set.
FOLLOW_THE_DATA = (
    *("data.fingerprint", "components.start"),
    *(
        f"base_method.{key}"
        for key in ("warm_up", "confidence_penalty", "beta", "lambda_elr", "lambda_ramp", "average_ramp")
    ),
)


def _ratio(runs: pd.DataFrame) -> pd.Series:
    """Tau, and the strategy that it is used by where that is not Eq. 2."""
    tau, strategy = setting("tau.value")(runs), setting("mask_strategy.name")(runs)
    return tau.where((strategy == "adaptive").fillna(False), tau + " " + strategy)


table = Comparison(
    title="Sensitivity to the basic mask ratio",
    rows="tau",
    row_of=of_sanm(_ratio),
    rows_of=listed(("none",), references=("none", "0.2")),
    needs="tau.value",
    make="python -m sweeps.launch run tau data.root=PATH",
    columns=("data.name", "noise.rate"),
    varies=("tau.value", "mask_strategy.name"),
    follows=(*FOLLOW_THE_RATE, *FOLLOW_THE_DATA),
    least=2,
    head={key: shape for key, shape in HEAD_OF_SANM.items() if key != "data.name"},
    notes=("tau: basic mask ratio, a share of the image; default 0.2. The paper shows it in Fig. 4, without numbers.",),
).table
