"""The reconstruction's decoder."""

from __future__ import annotations

import pytest
import torch

from sanm.models import build
from sanm.plugins.sanm.smr import decoder_for, reconstruction_error


@pytest.mark.parametrize("size", [8, 28, 32, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_rebuilds_the_size_of_the_image(size: int, channels: int) -> None:
    network = build({"name": "preact_resnet", "widths": [8, 16, 16], "blocks": [1, 1, 1]}, channels, 10)
    images = torch.randn(2, channels, size, size)
    decoder = decoder_for(network, images)
    rebuilt = decoder(network.features(images))
    assert rebuilt.shape[1] == channels
    assert rebuilt.shape[-1] >= size
    error = reconstruction_error(
        decoder, network.features(images.repeat(2, 1, 1, 1)), images, torch.ones(channels, 1, 1)
    )
    assert error.shape == ()
    error.backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_a_decoder_learns_to_rebuild() -> None:
    torch.manual_seed(0)
    network = build({"name": "preact_resnet", "widths": [16, 32], "blocks": [1, 1]}, 3, 10)
    images = torch.randn(8, 3, 8, 8)
    decoder = decoder_for(network, images)
    optimizer = torch.optim.Adam([*network.parameters(), *decoder.parameters()], 1e-2)
    first = None
    for _ in range(60):
        error = reconstruction_error(decoder, network.features(images), images, torch.ones(3, 1, 1))
        first = first or float(error.detach())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert float(error.detach()) < 0.5 * first


def test_the_unit_turns_normalised_differences_into_those_of_pixels() -> None:
    std = torch.tensor([0.2, 0.25, 0.3])[:, None, None]
    images, rebuilt = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    found = reconstruction_error(torch.nn.Identity(), rebuilt, images, std)
    pixels = [((rebuilt - images)[:, c] * std[c]).square().mean() for c in range(3)]
    assert torch.isclose(found, torch.stack(pixels).mean())
