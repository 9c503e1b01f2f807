"""The paper's Table 5: what each of SANM's components adds, against the noise rate."""

from collections.abc import Mapping

import pandas as pd

from analysis import paper
from analysis.compare import provenance
from analysis.compare.blocks import settings_of_sanm
from analysis.compare.comparison import COMPONENTS, FOLLOW_THE_RATE, HEAD, Comparison, listed
from analysis.paper.beside_paper import PaperTable


def _numbers(settings: Mapping[str, object]) -> pd.DataFrame:
    numbers = paper.reported_components(settings.get("data.name")).rename(columns={"components": "row"})
    same = all(settings.get(key) == value for key, value in paper.EXPERIMENT.items())
    return numbers if same else numbers.iloc[:0]


table = Comparison(
    title="Components of SANM",
    rows=COMPONENTS,
    row_of=lambda runs: runs.reindex(columns=[COMPONENTS])[COMPONENTS],
    rows_of=listed(("none", "amg", "amg_nlr", "amg_smr", "full"), always=("none", "amg", "amg_nlr", "full")),
    needs=COMPONENTS,
    make="python -m sweeps.launch run components data.root=PATH",
    varies=("components",),
    follows=FOLLOW_THE_RATE,
    head=HEAD,
    paper=PaperTable(
        title="Table 5 (DivideMix, {dataset}, PreAct ResNet-18, 300 epochs)",
        numbers=_numbers,
        asked=paper.SETTING,
        experiment=paper.EXPERIMENT,
    ),
    warnings_of=lambda runs: provenance.mixed_settings(runs, settings_of_sanm(runs)),
).table
