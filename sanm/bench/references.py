"""Image by image, as it is usually written: what the batched masks and views replace. The bench alone runs these.

They do the same work: the same distributions, the same results but for their own random draws.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision import transforms


def mask_one_by_one(
    images: Tensor,
    features: Tensor,
    probs: Tensor,
    weight: Tensor,
    clean: Tensor,
    targets: Tensor,
    mean: Tensor,
    std: Tensor,
    tau: float,
    lowest_aspect: float,
) -> tuple[Tensor, Tensor]:
    """SANM's masked views and their targets (Eq. 1 to 5, 7; ``variant=paper``), a loop over the batch.

    ``images [B, C, H, W]`` normalised by ``mean`` and ``std [C, 1, 1]``, ``features [B, D, h, w]``, ``probs`` and
    ``targets [B, K]``, the classifier's ``weight [K, D]``, clean probability ``clean [B]``.
    """
    views, believed = [], []
    height, width = images.shape[2:]
    for image, maps, prob, trust, target in zip(images, features, probs, clean.tolist(), targets, strict=True):
        activation = (maps * weight[prob.argmax()][:, None, None]).sum(0)
        activation = interpolate(activation[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        aspect = random.uniform(lowest_aspect, 1 / lowest_aspect)
        mask = torch.zeros(height, width, dtype=torch.bool)
        for peak, ratio in ((activation.argmax(), tau * (2 - trust)), (activation.argmin(), tau * (1 - trust))):
            row, column = divmod(int(peak), width)
            tall = min(round(math.sqrt(ratio * height * width * aspect)), height)
            wide = min(round(math.sqrt(ratio * height * width / aspect)), width)
            top = min(max(row - tall // 2, 0), height - tall)
            left = min(max(column - wide // 2, 0), width - wide)
            mask[top : top + tall, left : left + wide] = True
        paint = (torch.rand(image.shape) - mean) / std
        views.append(torch.where(mask, paint, image))
        top_class = target.argmax()
        moved = torch.minimum(mask.float().mean(), target[top_class])
        softened = target + moved / (len(target) - 1)
        softened[top_class] = target[top_class] - moved
        believed.append(softened)
    return torch.stack(views), torch.stack(believed)


def mask_as_released(images: Tensor, features: Tensor, clean: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Two masked views of each image and their targets (``variant=released``), a loop over the batch.

    ``images [B, C, H, W]``, ``features [B, D, h, w]``, clean probability ``clean [B]``, ``targets [B, K]``. As in the
    authors' code the map is resized and rounded to 8 bits image by image, outside of torch.
    """
    views, believed = [], []
    height, width = images.shape[2:]
    for image, maps, trust, target in zip(images, features, clean, targets, strict=True):
        energy = (maps**2).sum(0)
        energy = (energy / energy.norm()).numpy()
        resized = np.asarray(Image.fromarray(energy).resize((width, height), Image.Resampling.BILINEAR))
        gray = np.uint8(255 * (resized - resized.min()) / (resized.max() - resized.min()))
        ratio = random.uniform(0.02, 0.07) + 0.03 * (1 - trust.item())
        aspect = random.uniform(0.8, 1 / 0.8)
        tall = round(math.sqrt(0.5 * ratio * height * width * aspect))
        wide = round(math.sqrt(0.5 * ratio * height * width / aspect))
        for peak in (gray.argmax(), gray.argmin()):
            row, column = divmod(int(peak), width)
            top, left = min(row, height - tall), min(column, width - wide)
            view = image.clone()
            for channel in view:
                channel[top : top + tall, left : left + wide] = random.random()
            views.append(view)
        top_class = target.argmax().item()
        softened = target + ratio / (len(target) - 1)
        softened[top_class] = target[top_class] - ratio
        believed.append(softened)
    return torch.stack(views), torch.stack(believed)


def pil_pipelines(size: tuple[int, int], padding: int, mean: Tensor, std: Tensor) -> dict[str, Callable[[Any], Tensor]]:
    """torchvision's transforms of PIL images, as data loaders run them: crop, flip, policy, tensor, normalisation."""
    crop = [transforms.RandomCrop(size, padding=padding), transforms.RandomHorizontalFlip()]
    tensor = [transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())]
    policies: dict[str, list[Any]] = {
        "weak": [],
        "autoaugment": [transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)],
        "randaugment": [transforms.RandAugment(num_ops=2, magnitude=10)],
    }
    return {pool: transforms.Compose([*crop, *policy, *tensor]) for pool, policy in policies.items()}


def as_pil(images: Tensor) -> list[Image.Image]:
    """uint8 images ``[B, C, H, W]`` as a data set of PIL images holds them."""
    return [Image.fromarray(each.permute(1, 2, 0).squeeze(-1).numpy()) for each in images]
