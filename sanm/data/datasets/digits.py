"""scikit-learn's bundled handwritten digits: 1,797 images of 8 x 8, no download.

They are the test part of UCI's "Optical Recognition of Handwritten Digits". Samples that follow each other share a
writer, so the split is by position: a shuffled one would test on writers seen in training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sanm.data.pixels import mean_and_std
from sanm.data.types import Source, in_memory

NUM_TRAIN = 1297  # the remaining 500 test
DARKEST = 16  # pixel values are 0..16


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """1,297 training and 500 test images ``[N, 1, 8, 8]``; statistics are those of the training pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / DARKEST)).astype(np.uint8)
    images = torch.from_numpy(pixels[:, None])
    labels = torch.from_numpy(digits.target.astype(np.int64))
    mean, std = mean_and_std(images[:NUM_TRAIN])
    return Source(
        train=in_memory(images[:NUM_TRAIN], labels[:NUM_TRAIN]),
        test=in_memory(images[NUM_TRAIN:], labels[NUM_TRAIN:]),
        class_names=tuple(str(name) for name in digits.target_names),
        mean=mean,
        std=std,
        labels_verified=True,
    )
