"""What frozen features are worth: the accuracy of a linear classifier on them."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from sanm.data import Data
from sanm.data.types import Pixels, rows

PROBED = 10_000
PROBE_ITERATIONS = 200
PROBE_C = 0.1
"""Of scikit-learn's logistic regression: the inverse of its penalty's strength."""


def linear_probe(features: Callable[[Pixels], Tensor], data: Data) -> float | None:
    """Test accuracy, in percent, of a logistic regression from frozen features to true labels.

    ``features`` turns uint8 images ``[N, C, H, W]`` into vectors ``[N, D]``. It is fitted to the training images, or
    to PROBED of them, evenly spaced. None when nobody knows their true labels, or nothing is there to test on.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if data.true_labels is None or data.test is None:
        return None
    usable = torch.nonzero((data.true_labels >= 0) & (data.true_labels < data.train.num_classes))[:, 0]
    count = len(usable)
    chosen = torch.linspace(0, count - 1, min(count, PROBED), dtype=torch.float64).round().long()
    probed = usable[chosen]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=PROBE_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough by then, and it is a diagnosis
        probe.fit(features(rows(data.train.images, probed.numpy())).numpy(), data.true_labels[probed].numpy())
    return 100 * float(probe.score(features(data.test.images).numpy(), data.test.labels.numpy()))
