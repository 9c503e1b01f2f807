"""The slow references do the same work as what replaced them."""

from __future__ import annotations

import pytest
import torch

from sanm.bench.references import as_pil, mask_as_released, mask_one_by_one, pil_pipelines
from sanm.bench.replaced import adaptive_masks, looked_at
from sanm.components import nlr
from sanm.data import TrainingSet
from sanm.trainer import Trainer
from sanm.types import Step
from tests.conftest import config_of

CONFIG = (
    "trainer.batch_size=32",
    "model.widths=[8,16]",
    "model.blocks=[1,1]",
    "mask_strategy.aspect=1",
    "tau.value=0.2",
)


def test_masks_one_by_one_are_the_batched_ones(training_set: TrainingSet) -> None:
    """With an aspect of 1 nothing but the paint is drawn."""
    trainer = Trainer(config_of(*CONFIG), training_set, torch.device("cpu"))
    trainer.quality.probability.copy_(torch.linspace(0, 1, 160).roll(70).expand_as(trainer.quality.probability))
    network = trainer.networks[0]
    look, clean, targets = looked_at(trainer, network)  # type: ignore[arg-type]
    masks = adaptive_masks(trainer, "paper").masks
    masked = masks(look, network, clean, Step(0, 0, 0.0, trainer.random))  # type: ignore[arg-type]
    believed = nlr.soften(targets[None], masked.ratio, bounded=True)
    mean, std = trainer.bank.mean[:, None, None], trainer.bank.std[:, None, None]
    weight = network.classifier.weight.detach()  # type: ignore[union-attr]
    given = (look.x[0], look.maps(0)[0], look.probs(0)[0], weight, clean, targets, mean, std)
    views, softened = mask_one_by_one(*given, tau=0.2, lowest_aspect=1)  # type: ignore[arg-type]
    assert torch.equal((views != look.x[0]).any(1), (masked.x[0] != look.x[0]).any(1))
    assert torch.allclose(softened, believed[0], atol=1e-6)


def test_the_released_loop_paints_two_boxes_of_one_color_and_takes_belief_from_the_top_class() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 2 + torch.rand(200, 3, 32, 32, generator=generator)  # nothing is as dark as the paint
    features = torch.rand(200, 6, 4, 4, generator=generator)
    targets = torch.nn.functional.one_hot(torch.arange(200) % 10, 10).float()
    for trust, share in ((1.0, 0.022), (0.0, 0.037)):
        views, softened = mask_as_released(images, features, torch.full((200,), trust), targets)
        painted = (views < 1).all(1)
        assert torch.equal(painted, (views < 1).any(1))
        assert painted.float().mean().item() == pytest.approx(share, rel=0.1)
        first = views[:, 0][painted].split(painted.flatten(1).sum(1).tolist())
        assert all((box == box[0]).all() for box in first)
        assert torch.equal(painted[0::2].flatten(1).sum(1), painted[1::2].flatten(1).sum(1))
        taken = 1 - softened.max(1).values
        assert torch.allclose(softened.sum(1), torch.ones(200))
        assert taken.mean().item() == pytest.approx(0.045 + 0.03 * (1 - trust), rel=0.1)


def test_pipelines_give_normalised_images_like_the_pools() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    for pool, pipeline in pil_pipelines((32, 32), 0, mean, std).items():
        views = torch.stack([pipeline(each) for each in as_pil(images)])
        assert views.shape == images.shape, pool
        low, high = (-mean / std)[:, None, None], ((1 - mean) / std)[:, None, None]
        assert bool(((views >= low - 1e-5) & (views <= high + 1e-5)).all()), pool
        if pool == "weak":  # without padding: the image or its mirror image
            plain = (images / 255 - mean[:, None, None]) / std[:, None, None]
            for view, image in zip(views, plain, strict=True):
                assert any(torch.allclose(view, each, atol=1e-5) for each in (image, image.flip(-1)))
