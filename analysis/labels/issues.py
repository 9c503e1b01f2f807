"""The verdict on each label, and the order in which to look at them.

Columns that mean the same as cleanlab's are called as in its `Datalab.get_issues("label")`.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.labels.record import Record
from analysis.records.npz import Array

CLEAN_BELOW = 0.5


def is_label_issue(record: Record) -> Array:
    """[N] Whether a label is suspected: rather wrong than right by its score, and another class is predicted; or most
    copies of the same image, or as many, have another label.

    Measured in docs/labels.md: either of the first two alone finds hardly more wrong labels, and suspects more right
    ones.
    """
    suspected: Array = (record.label_score < CLEAN_BELOW) & (record.predicted != record.given)
    return suspected | record.copies.outvoted


def verdicts(record: Record, by_cleanlab: Array | None = None) -> pd.DataFrame:
    """A row a training sample, in the run's order; what is not recorded, or was not asked for, is empty."""
    names = np.array(record.class_names, dtype=object)
    return pd.DataFrame(
        {
            "index": record.index,
            "key": record.keys,
            "is_label_issue": is_label_issue(record),
            "label_score": record.label_score,
            "given_label": names[record.given],
            "predicted_label": names[record.predicted],
            "given_class": record.given,
            "predicted_class": record.predicted,
            "confidence": record.confidence,
            "self_confidence": record.self_confidence,
            "is_cleanlab_issue": np.nan if by_cleanlab is None else by_cleanlab,
            "copy_with_another_label": record.copies.first,
            **_evidence(record, names),
        }
    )


def _evidence(record: Record, names: Array) -> dict[str, Any]:
    """What the score is made of, and what else features say; no columns in a run without them."""
    found = record.evidence
    if found is None:
        return {}
    rows, copies = np.arange(len(record.given)), found.near_copies(record.given)
    return {
        "linear_fit": found.linear[rows, record.given],
        "neighbour_votes": found.votes[rows, record.given],
        "clean_probability": record.clean_probability,
        "near_copy_with_another_label": [
            f"{record.keys[copy]} is {names[record.given[copy]]}" if copy >= 0 else "" for copy in copies.tolist()
        ],
    }


def worst_first(rows: pd.DataFrame) -> pd.DataFrame:
    """The suspected ones by rising score; of equals the one whose given label the network thinks least likely."""
    suspected = rows[rows["is_label_issue"]]
    return suspected.sort_values(["label_score", "self_confidence", "index"], kind="stable", ignore_index=True)
