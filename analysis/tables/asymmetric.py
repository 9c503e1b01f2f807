"""The paper's Table 2: methods under asymmetric noise, with and without SANM."""

from functools import partial

from analysis import method_rows
from analysis.beside_paper import PaperTable
from analysis.comparison import COMPONENTS

PROTOCOL = {key: value for key, value in method_rows.PAPER.items() if key != "noise.convention"} | {"noise.map": None}

table = method_rows.of_methods(
    "Methods under asymmetric noise",
    make="python -m sweeps.launch run asymmetric data.root=PATH",
    only={"noise.name": ("asymmetric",), COMPONENTS: method_rows.COMPARED},
    paper_table=PaperTable(
        title="Table 2 ({dataset}, asymmetric noise)",
        numbers=partial(method_rows.numbers, "table2_asymmetric", "asymmetric"),
        asked=PROTOCOL,
        experiment={"noise.name": "asymmetric"},
        datasets=("cifar10",),
    ),
).table
