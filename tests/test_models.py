"""Networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, relu

from sanm.errors import InputError
from sanm.models import build
from tests.conftest import config_of

EIGHTEEN = {"name": "preact_resnet", "widths": [64, 128, 256, 512], "blocks": [2, 2, 2, 2]}


@pytest.mark.parametrize(("classes", "parameters"), [(10, 11_171_274), (100, 11_217_444)])
def test_size_of_the_papers_network(classes: int, parameters: int) -> None:
    assert sum(p.numel() for p in build(EIGHTEEN, 3, classes).parameters()) == parameters
    assert config_of("model=preact_resnet18")["model"] == EIGHTEEN


def test_forward_is_the_dividemix_familys() -> None:
    """Against the definition spelled out: shortcuts take the activated input, nothing follows the last block."""
    torch.manual_seed(0)
    network = build({"name": "preact_resnet", "widths": [4, 8], "blocks": [2, 2]}, 3, 5).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.weight.normal_(1, 0.1)
    x = torch.randn(2, 3, 8, 8)
    out = relu(network.norm(network.stem(x)))
    for block in network.stages:
        activated = relu(block.norm1(out))
        short = activated if isinstance(block.shortcut, nn.Identity) else block.shortcut(activated)
        out = block.conv2(relu(block.norm2(block.conv1(activated)))) + short
    assert out.shape == (2, 8, 4, 4)
    assert torch.allclose(network(x), network.classifier(avg_pool2d(out, 4).flatten(1)), atol=1e-6)


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.widths"):
        build({"name": "preact_resnet", "widths": [8, 16], "blocks": [1]}, 3, 10)
