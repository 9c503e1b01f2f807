"""The verdict on each label, and the order in which to look at them.

Columns that mean the same as cleanlab's are called as in its `Datalab.get_issues("label")`.
"""

import numpy as np
import pandas as pd

from analysis.labels.record import Record
from analysis.records.npz import Array

CLEAN_BELOW = 0.5


def is_label_issue(record: Record) -> Array:
    """[N] Whether a label is suspected: rather wrong than right by its loss, and the method predicts another class; or
    most copies of the same image, or as many, have another label.

    Measured in docs/labels.md: either of the first two alone finds hardly more wrong labels, and suspects more right
    ones.
    """
    suspected: Array = (record.clean_probability < CLEAN_BELOW) & (record.predicted != record.given)
    return suspected | record.copies.outvoted


def verdicts(record: Record, by_cleanlab: Array | None = None) -> pd.DataFrame:
    """A row a training sample, in the run's order; what is not recorded, or was not asked for, is empty."""
    names = np.array(record.class_names, dtype=object)
    return pd.DataFrame(
        {
            "index": record.index,
            "key": record.keys,
            "is_label_issue": is_label_issue(record),
            "label_score": record.clean_probability,
            "given_label": names[record.given],
            "predicted_label": names[record.predicted],
            "given_class": record.given,
            "predicted_class": record.predicted,
            "confidence": record.confidence,
            "self_confidence": record.self_confidence,
            "is_cleanlab_issue": np.nan if by_cleanlab is None else by_cleanlab,
            "copy_with_another_label": record.copies.first,
        }
    )


def worst_first(rows: pd.DataFrame) -> pd.DataFrame:
    """The suspected ones by rising score; of equals the one whose given label the network thinks least likely."""
    suspected = rows[rows["is_label_issue"]]
    return suspected.sort_values(["label_score", "self_confidence", "index"], kind="stable", ignore_index=True)
