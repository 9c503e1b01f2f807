"""How noisy the labels are: all of them, class by class, pair by pair. Estimates, from a run's own record.

A label's chance of being wrong is 1 - its clean probability where the method predicts another class, which is then
what it is counted as; where the method predicts the given label, it counts as right.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.labels.issues import is_label_issue
from analysis.labels.record import Record
from analysis.records.npz import Array


@dataclass(frozen=True, eq=False)
class Health:
    """Estimates of a run's labels."""

    samples: int
    label_issues: int  # suspected one by one
    noise_rate: float  # estimated share of wrong labels
    joint: Array  # [K, K] estimated number of samples; rows: true class, columns: given label
    classes: pd.DataFrame  # a row a class
    pairs: pd.DataFrame  # a row a pair of classes that are confused, the most confused first

    def transition_matrix(self, names: tuple[str, ...]) -> pd.DataFrame:
        """P(given | true): a row a true class, which adds up to 1; a column a given label.

        This is cleanlab's `noise_matrix`, transposed. A class that no sample is estimated to be has no row of numbers.
        """
        with np.errstate(invalid="ignore"):
            shares = self.joint / self.joint.sum(1, keepdims=True)
        return pd.DataFrame(shares, index=pd.Index(names, name="true_label"), columns=[*names])


def health(record: Record) -> Health:
    """The estimates of a record."""
    suspected, joint = is_label_issue(record), _joint(record)
    return Health(
        samples=len(record.given),
        label_issues=int(suspected.sum()),
        noise_rate=float(1 - np.trace(joint) / joint.sum()),
        joint=joint,
        classes=_classes(record, suspected, joint),
        pairs=_pairs(record, suspected, joint),
    )


def _joint(record: Record) -> Array:
    wrong = np.where(record.predicted != record.given, 1 - record.label_score, 0.0)
    count = len(record.class_names)
    joint = np.zeros((count, count))
    np.add.at(joint, (record.given, record.given), 1 - wrong)
    np.add.at(joint, (record.predicted, record.given), wrong)
    return joint


def _classes(record: Record, suspected: Array, joint: Array) -> pd.DataFrame:
    count = len(record.class_names)
    given, right = joint.sum(0), np.diag(joint)
    with np.errstate(invalid="ignore", divide="ignore"):
        label_noise, inverse = 1 - right / given, 1 - right / joint.sum(1)
    return pd.DataFrame(
        {
            "class_name": record.class_names,
            "class_index": np.arange(count),
            "given": np.bincount(record.given, minlength=count),
            "label_issues": np.bincount(record.given[suspected], minlength=count),
            "inverse_label_issues": np.bincount(
                record.predicted[suspected & (record.predicted != record.given)], minlength=count
            ),
            "label_noise": label_noise,
            "inverse_label_noise": inverse,
            "label_quality_score": 1 - label_noise,
        }
    )


def _pairs(record: Record, suspected: Array, joint: Array) -> pd.DataFrame:
    issues = np.zeros(joint.shape, dtype=np.int64)
    np.add.at(issues, (record.predicted[suspected], record.given[suspected]), 1)
    true, given = np.nonzero((joint > 0) & ~np.eye(len(joint), dtype=bool))
    names = np.array(record.class_names, dtype=object)
    found = pd.DataFrame(
        {
            "given_label": names[given],
            "predicted_label": names[true],
            "label_issues": issues[true, given],
            "estimated_wrong": joint[true, given],
            "share_of_given": joint[true, given] / joint.sum(0)[given],
        }
    )
    return found.sort_values("estimated_wrong", ascending=False, kind="stable", ignore_index=True)
