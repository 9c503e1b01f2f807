"""The paper's Table 3: methods on labels as they come (Clothing1M), of which no noise rate is known."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis import paper
from analysis.compare import method_rows
from analysis.compare.comparison import COMPONENTS
from analysis.paper.beside_paper import PaperTable
from sanm.config.limits import option

TABLE = "table3_clothing1m"
_TRAINER = {**option("trainer", "short"), **option("preset", "clothing1m")["trainer"]}
_DATA, _MODEL = option("data", "clothing1m"), option("model", "imagenet_resnet50")
# What preset=clothing1m sets: the protocol as far as the paper tells it.
PROTOCOL: dict[str, object] = {
    "noise.name": "none",
    "model.depth": _MODEL["depth"],
    **{f"data.{key}": _DATA[key] for key in ("train_part", "subset", "test_subset", "validation", "image_size")},
    **{f"data.augment.{key}": value for key, value in _DATA["augment"].items()},
    **{key: value for key, value in paper.PROTOCOL.items() if key.startswith("trainer.")},
    **{
        f"trainer.{key}": tuple(value) if isinstance(value, list) else value
        for key, value in _TRAINER.items()
        if f"trainer.{key}" in paper.PROTOCOL
    },
}
START: paper.Start = {"pretrain.name": ("imagenet",), "model.name": (_MODEL["name"],)}
START_OF: dict[str, paper.Start] = {
    "c2d": {"pretrain.name": ("imagenet", "simclr")},
    "gce": {"pretrain.name": ("simclr",)},
}


def _numbers(settings: Mapping[str, object]) -> pd.DataFrame:
    """The data set is a column here, no setting of a block."""
    return method_rows.numbers(TABLE, None, {"data.name": "clothing1m"})


table = method_rows.of_methods(
    "Methods on labels as they come",
    make="python -m sweeps.launch run clothing1m data.root=PATH",
    rows_of=partial(method_rows.printed_rows, TABLE),
    columns=("data.name",),
    only={"noise.rate": (None,), COMPONENTS: method_rows.COMPARED},
    statistics=("selected", "best", "last"),
    follows=(),
    head={"data.name": "{}", "noise.name": "noise={}", "noise.convention": "{}"},
    paper_table=PaperTable(
        title="Table 3 ({dataset}, pretrained ResNet-50)",
        numbers=_numbers,
        asked=PROTOCOL,
        apart=partial(paper.methods_departures, start=START, start_of=START_OF),
        experiment={"noise.name": "real"},
        datasets=("clothing1m",),
    ),
).table
