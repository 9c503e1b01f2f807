"""How well wrong labels are found: by the clean probability of each training sample at the end of a run."""

import pandas as pd

from analysis.compare import method_rows
from analysis.compare.summary import Measure

ERRORS = "result.label_errors."
MEASURES = {
    "auroc": Measure("clean_auroc", "area under the ROC curve of right against wrong labels", digits=3),
    "found_precision": Measure(
        f"{ERRORS}found_precision", "share of wrong labels among those of clean probability below 0.5", digits=3
    ),
    "found_recall": Measure(f"{ERRORS}found_recall", "share of the wrong labels that are among them", digits=3),
    "precision_at_count": Measure(
        f"{ERRORS}precision_at_count",
        "share of wrong labels among the n of lowest clean probability, n the true number of wrong ones",
        digits=3,
    ),
}


def _with_all_columns(runs: pd.DataFrame) -> pd.DataFrame:
    """Records that are older than a number do not have its column."""
    columns = [measure.column for measure in MEASURES.values()]
    numbers = runs.reindex(columns=columns).apply(pd.to_numeric, errors="coerce")
    return runs.assign(**{name: numbers[name] for name in columns})


table = method_rows.of_methods(
    "Finding wrong labels",
    make="python -m sanm.run -m base_method=ce,dividemix components=none,full noise.rate=0.2,0.5,0.8",
    measures=MEASURES,
    statistics=tuple(MEASURES),
    prepare=_with_all_columns,
).table
