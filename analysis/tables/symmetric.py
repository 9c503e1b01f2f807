"""The paper's Table 1: methods under symmetric noise, with and without SANM."""

from functools import partial

from analysis import paper
from analysis.compare import method_rows
from analysis.compare.comparison import COMPONENTS
from analysis.paper.beside_paper import PaperTable

TABLE = "table1_symmetric"

table = method_rows.of_methods(
    "Methods under symmetric noise",
    make="python -m sweeps.launch run symmetric data.root=PATH",
    rows_of=partial(method_rows.printed_rows, TABLE),
    only={"noise.name": ("symmetric",), COMPONENTS: method_rows.COMPARED},
    paper_table=PaperTable(
        title="Table 1 ({dataset}, symmetric noise)",
        numbers=partial(method_rows.numbers, TABLE, "symmetric"),
        asked=method_rows.PAPER,
        apart=paper.methods_departures,
        experiment={"noise.name": "symmetric"},
    ),
).table
