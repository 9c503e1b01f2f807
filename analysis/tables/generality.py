"""The paper's Table 6: does SANM lift any base method? Every method alone, with SANM, and the gain by equal seeds."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis import paper
from analysis.compare import method_rows
from analysis.compare.comparison import COMPONENTS, Comparison
from analysis.paper.beside_paper import PaperTable


def _numbers(settings: Mapping[str, object]) -> pd.DataFrame:
    return method_rows.with_gains(method_rows.numbers("table6_generality", "symmetric", settings))


table = Comparison(
    title="SANM on every base method",
    rows=method_rows.ROWS,
    row_of=method_rows.labels,
    rows_of=partial(method_rows.rows, gains=True),
    needs=method_rows.METHOD,
    make="python -m sweeps.launch run generality data.root=PATH",
    only={COMPONENTS: method_rows.COMPARED},
    varies=method_rows.VARIES,
    alike=method_rows.ALIKE,
    follows=method_rows.FOLLOWS,
    head=method_rows.HEAD,
    contest=method_rows.METHOD,
    bold="the better of a method and SANM on it",
    paper=PaperTable(
        title="Table 6 ({dataset}, symmetric noise)",
        numbers=_numbers,
        asked=method_rows.PAPER,
        experiment={"noise.name": "symmetric"},
        apart=paper.methods_departures,
        who=lambda row: method_rows.split(row)[0],
    ),
    notes=("Gain: SANM(m) − m.",),
    warnings_of=method_rows.mixed,
    notes_of=lambda runs: [*method_rows.remarks(runs), *method_rows.cost(runs)],
).table
