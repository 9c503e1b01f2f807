"""torchvision's published ImageNet weights: in torch's own cache, or fetched into it."""

from http.client import HTTPException
from pathlib import Path

import torch

from sanm.errors import InputError


def imagenet_weights(depth: int, asking: str, key: str) -> Path:
    """The file of the first ImageNet weights of torchvision's ResNet of that depth: 18, 34 or 50.

    Raises InputError when it cannot be had, in the name of the setting that is ``asking``, with the ``key`` to set.
    """
    from torchvision import models

    url: str = getattr(models, f"ResNet{depth}_Weights").IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        _download(url, path, asking, key)
    return path


def _download(url: str, path: Path, asking: str, key: str) -> None:
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # runs that start together fetch once
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{asking}: {url} could not be fetched ({reason}): put this file at {path}, or elsewhere and set {key}=FILE"
        ) from error
