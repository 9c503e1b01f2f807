"""The paper's Table 4: masks by the network that learns, by an ImageNet one, and none."""

from collections.abc import Mapping

import pandas as pd

from analysis import paper
from analysis.compare.comparison import HEAD_OF_SANM, Comparison, listed, of_sanm, setting
from analysis.paper.beside_paper import PaperTable

METHODS = {"dividemix": "SANM(DivideMix)", "c2d": "SANM(C2D)"}


def _numbers(settings: Mapping[str, object]) -> pd.DataFrame:
    found = paper.numbers_of("table4_mask_source", settings.get("data.name"))
    same = found["method"] == METHODS.get(str(settings.get("base_method.name")))
    found = found[same & (settings.get("noise.name") == "symmetric")]
    return found.assign(row=found["setting"].str.removeprefix("mask_source="))[
        ["row", "dataset", "rate", "statistic", "paper", "footnote"]
    ]


table = Comparison(
    title="Whose activation says where to mask",
    rows="mask_source",
    row_of=of_sanm(setting("mask_source.name")),
    rows_of=listed(("none", "self", "pretrained"), always=("self", "pretrained"), references=("none", "self")),
    needs="mask_source.name",
    make="python -m sweeps.launch run mask_source data.root=PATH",
    varies=("mask_source",),
    least=2,
    head=HEAD_OF_SANM,
    paper=PaperTable(
        title="Table 4 (SANM on {method}, {dataset}, symmetric noise)",
        numbers=_numbers,
        asked=paper.PROTOCOL | {"base_method.learn_from": "weak"},
        experiment=paper.EXPERIMENT,
    ),
).table
