"""The paper's Table 1: methods under symmetric noise, with and without SANM."""

from functools import partial

from analysis import method_rows
from analysis.beside_paper import PaperTable
from analysis.comparison import COMPONENTS

table = method_rows.of_methods(
    "Methods under symmetric noise",
    make="python -m sweeps.launch run symmetric data.root=PATH",
    only={"noise.name": ("symmetric",), COMPONENTS: method_rows.COMPARED},
    paper_table=PaperTable(
        title="Table 1 ({dataset}, symmetric noise)",
        numbers=partial(method_rows.numbers, "table1_symmetric", "symmetric"),
        asked=method_rows.PAPER,
        experiment={"noise.name": "symmetric"},
    ),
).table
