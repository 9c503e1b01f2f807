"""FMix's masks: their size and that they are blobs; the image against numpy's inverse transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sanm.parts.fmix import low_frequency_mask
from sanm.step import Random

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (9, 9), (1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.37, 1.0])
def test_share_of_a_mask(size: tuple[int, int], share: float) -> None:
    mask = low_frequency_mask(torch.zeros(3, *size), share, Random(0, CPU))
    pixels = share * size[0] * size[1]
    assert mask.shape == size
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert int(mask.sum()) in (math.floor(pixels), math.ceil(pixels))


@pytest.mark.parametrize("side", [8, 9, 32])
def test_ones_are_where_the_image_of_the_released_code_is_brightest(side: int) -> None:
    """Frequencies of the first two rows, two of each transformed: the rest of its spectrum it does not read."""
    found = low_frequency_mask(torch.zeros(side, side), 0.4, Random(5, CPU)).bool()
    again = Random(5, CPU)
    along = np.fft.fftfreq(side)[: side // 2 + 1 + side % 2]
    drawn = torch.randn(2, len(along), 2, generator=again.device).numpy()
    spectrum = np.zeros((len(along), 2), dtype=complex)
    for i, frequency in enumerate(along):
        for row, unit in enumerate((1, 1j)):
            strength = max(math.hypot(frequency, row / side), 1 / side) ** -3
            spectrum[i] += unit * strength * drawn[row, i]
    image = np.fft.irfftn(spectrum, (side, side), axes=(0, 1))
    assert image[found.numpy()].min() > image[~found.numpy()].max() - 1e-4 * np.ptp(image)


def test_masks_are_blobs() -> None:
    """Few neighbours differ, of many more that would in a mask of pixels drawn one by one."""
    random = Random(1, CPU)
    masks = torch.stack([low_frequency_mask(torch.zeros(32, 32), 0.5, random) for _ in range(20)])
    assert float((masks[:, 1:] != masks[:, :-1]).float().mean()) < 0.1
    assert float((masks[:, :, 1:] != masks[:, :, :-1]).float().mean()) < 0.1
