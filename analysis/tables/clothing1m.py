"""The paper's Table 3: methods on labels as they come (Clothing1M), of which no noise rate is known."""

from functools import partial

from analysis import method_rows
from analysis.beside_paper import PaperTable
from analysis.comparison import COMPONENTS

# Nobody has run preset=clothing1m on the real images yet, so what would equal the paper's protocol is not known: its
# numbers are a block of their own.
table = method_rows.of_methods(
    "Methods on labels as they come",
    make="python -m sanm.run -m preset=clothing1m data.root=PATH base_method=ce,dividemix components=none,full",
    columns=("data.name",),
    only={"noise.rate": (None,), COMPONENTS: method_rows.COMPARED},
    statistics=("selected", "best", "last"),
    follows=(),
    head={"data.name": "{}", "noise.name": "noise={}", "noise.convention": "{}"},
    paper_table=PaperTable(
        title="Table 3 ({dataset}, pretrained ResNet-50)",
        numbers=partial(method_rows.numbers, "table3_clothing1m", "real"),
        asked={},
        experiment={"noise.name": "real"},
        datasets=("clothing1m",),
    ),
).table
