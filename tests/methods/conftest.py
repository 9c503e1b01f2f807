"""Small networks, batches and steps for tests of single methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sanm.models import build
from sanm.network import Network
from sanm.step import Batch, Random, Step, Task
from sanm.survey import Survey
from tests.conftest import config_of

CLASSES = 4


def settings_of(method: str, **changes: Any) -> dict[str, Any]:
    """The method's settings for digits at 50 % symmetric noise, with SANM's start at epoch 2, and changes."""
    own: dict[str, Any] = config_of(f"base_method={method}", "data=digits", "noise.rate=0.5")["base_method"]
    return {**own, "warm_up": 2, **changes}


def a_step(epoch: int, network: int = 0, progress: float | None = None, seed: int = 0) -> Step:
    return Step(network, epoch, float(epoch) if progress is None else progress, Random(seed, torch.device("cpu")))


def networks(count: int) -> list[Network]:
    """Different small networks, in eval mode."""
    torch.manual_seed(0)
    model = {"name": "preact_resnet", "widths": [8, 8], "blocks": [1, 1]}
    return [build(model, 3, CLASSES).eval() for _ in range(count)]


def a_batch(batch: int, views: int = 1, num_labeled: int | None = None, seed: int = 0) -> Batch:
    """Random images, random given labels at positions that are not in order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator)
    kept = batch if num_labeled is None else num_labeled
    return Batch(
        given=labels,
        own=views,
        index=torch.randperm(2 * batch, generator=generator)[:batch],
        x=torch.randn(views, batch, 3, 8, 8, generator=generator),
        y=torch.eye(CLASSES)[labels].expand(views, batch, CLASSES),
        clean=torch.rand(batch, generator=generator),
        labeled=torch.arange(batch) < kept,
        num_labeled=kept,
    )


def a_task(samples: int, batch_size: int = 16) -> Task:
    """Given labels of all classes in turn."""
    return Task(torch.arange(samples) % CLASSES, CLASSES, batch_size, samples)


def a_survey(networks: Sequence[Network], samples: int, seed: int = 0) -> Survey:
    """Of random images with given labels of all classes in turn."""
    images = torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def scan(pool: str, network: Network, answer: Callable[[Tensor], Tensor]) -> Tensor:
        return answer(images)

    return Survey(networks, torch.arange(samples) % CLASSES, torch.arange(samples), scan)


def same_gradients(network: Network, fast: torch.Tensor, slow: torch.Tensor) -> None:
    """Fails unless both losses have the same gradients of the network's weights."""
    parameters = list(network.parameters())
    ours, theirs = (torch.autograd.grad(each, parameters, retain_graph=True) for each in (fast, slow))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
