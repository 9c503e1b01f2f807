"""`samples.npz` as a run writes it, without running anything."""

from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 4
SIDE = 8


def sample_arrays(
    count: int = 32, channels: int = 1, networks: int = 1, views: int = 1, masks: bool = True, truth: bool = True
) -> dict[str, Any]:
    """Consistent arrays: every box is 4 x 2 at (2, 3) and 2 x 2 at (0, 0), every third label is wrong."""
    stream = np.random.default_rng(0)
    given = np.arange(count) % CLASSES
    clean = np.linspace(0, 1, count, dtype=np.float32)
    image = stream.integers(0, 256, (count, channels, SIDE, SIDE), dtype=np.uint8)
    belief = np.eye(CLASSES, dtype=np.float32)[given]
    losses = np.concatenate([stream.normal(0.2, 0.05, (networks, 200)), stream.normal(0.7, 0.1, (networks, 100))], 1)
    arrays: dict[str, Any] = {
        "class_names": np.array(["cat", "dog", "bird", "a class with a long name"]),
        "size": np.array([SIDE, SIDE]),
        "shrink": np.array(1),
        "index": np.arange(count) * 7,
        "key": np.array([f"train/{number}.png" for number in range(count)]),
        "image": image,
        "given": given,
        "predicted": (given + (clean < 0.3)) % CLASSES,
        "clean_probability": clean,
        "loss": 1 - clean,
        "belief": belief,
        "activation": stream.random((count, SIDE, SIDE)).astype(np.float16),
        "activation_range": np.array([[-1.0, 2.0]] * count),
        "normalised_losses": losses.clip(0, 1).astype(np.float16),
        "clean_probabilities": (losses < 0.45).astype(np.float16),
        "loss_range": np.array([[0.25, 5.0]] * networks),
        "mixture": np.array([[[2 / 3, 1 / 3], [0.2, 0.7], [0.0025, 0.01]]] * networks),
    }
    if truth:
        arrays |= {"true": (given + (clean < 0.5)) % CLASSES, "is_wrong": np.arange(300) >= 210}
    if masks:
        boxes = np.array([[[2, 3, 4, 2], [0, 0, 2, 2]]] * count)
        masked = np.repeat(image[:, None], views, 1)
        masked[:, 0, :, 2:6, 3:5] = 255 - masked[:, 0, :, 2:6, 3:5]
        masked[:, -1, :, :2, :2] = 255 - masked[:, -1, :, :2, :2]
        share = np.array([[12 / 64]] * count) if views == 1 else np.array([[8 / 64, 4 / 64]] * count)
        arrays |= {
            "masked": masked,
            "boxes": boxes,
            "nominal_ratio": np.array([[0.12, 0.06]] * count),
            "share": share,
            "target": np.repeat((0.8 * belief + 0.2 * (1 - belief) / (CLASSES - 1))[:, None], views, 1),
            "masks_trained": np.array(True),
        }
    return arrays


def write_samples(run: Path, arrays: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Writes the file into a run directory and returns what is in it."""
    arrays = arrays or sample_arrays(**options)
    np.savez_compressed(run / "samples.npz", **arrays)
    return arrays
