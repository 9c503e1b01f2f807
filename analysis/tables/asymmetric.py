"""The paper's Table 2: methods under asymmetric noise, with and without SANM."""

from functools import partial

from analysis import paper
from analysis.compare import method_rows
from analysis.compare.comparison import COMPONENTS
from analysis.paper.beside_paper import PaperTable

TABLE = "table2_asymmetric"
PROTOCOL = {key: value for key, value in method_rows.PAPER.items() if key != "noise.convention"} | {"noise.map": None}

table = method_rows.of_methods(
    "Methods under asymmetric noise",
    make="python -m sweeps.launch run asymmetric data.root=PATH",
    rows_of=partial(method_rows.printed_rows, TABLE),
    only={"noise.name": ("asymmetric",), COMPONENTS: method_rows.COMPARED},
    paper_table=PaperTable(
        title="Table 2 ({dataset}, asymmetric noise)",
        numbers=partial(method_rows.numbers, TABLE, "asymmetric"),
        asked=PROTOCOL,
        apart=paper.methods_departures,
        experiment={"noise.name": "asymmetric"},
        datasets=("cifar10",),
    ),
).table
