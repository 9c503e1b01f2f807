"""What cleanlab says of the same labels, from the probabilities that the run recorded."""

from analysis.labels.record import PROBABILITIES, Record
from analysis.records.npz import Array
from sanm.errors import InputError


def issues_by_cleanlab(record: Record) -> Array:
    """[N] Which labels `cleanlab.filter.find_label_issues`, with its defaults, finds.

    The probabilities are of samples that were trained on, which cleanlab advises against. Raises `InputError` when
    cleanlab is not installed or the run has no probabilities.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise InputError("--cleanlab: cleanlab is not installed: pip install 'sanm[cleanlab]'") from None
    if record.probabilities is None:
        raise InputError(f"--cleanlab: {record.path} has no {PROBABILITIES}, which older and very large runs lack")
    found: Array = find_label_issues(record.given, record.probabilities, n_jobs=1)
    return found
