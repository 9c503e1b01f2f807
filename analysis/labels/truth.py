"""How good the verdicts are, where the run recorded which labels are wrong."""

from dataclasses import dataclass

from analysis.labels.issues import is_label_issue
from analysis.labels.record import Record


@dataclass(frozen=True)
class AgainstTruth:
    """Scores in [0, 1]; None where nothing is there to divide by."""

    known: int  # samples whose truth is recorded
    wrong_share: float
    precision: float | None
    recall: float | None
    auroc: float | None


def against_truth(record: Record) -> AgainstTruth | None:
    """Precision and recall of `is_label_issue`, AUROC of `label_score`; None where no truth is recorded."""
    from sklearn.metrics import roc_auc_score

    if not len(record.known):
        return None
    wrong, found = record.known_wrong, is_label_issue(record)[record.known]
    hits, both = int((wrong & found).sum()), bool(wrong.any()) and not bool(wrong.all())
    return AgainstTruth(
        known=len(wrong),
        wrong_share=float(wrong.mean()),
        precision=hits / int(found.sum()) if found.any() else None,
        recall=hits / int(wrong.sum()) if wrong.any() else None,
        auroc=float(roc_auc_score(~wrong, record.label_score[record.known])) if both else None,
    )
