"""Networks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, relu

from sanm.data import TrainingSet
from sanm.errors import InputError
from sanm.models import build
from sanm.models.convolution import convolution
from sanm.parts.dropout import ChannelDropout
from sanm.training.trainer import Trainer
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


def option(name: str) -> dict[str, Any]:
    return dict(config_of(f"model={name}")["model"])


@pytest.mark.parametrize(
    ("name", "parameters", "maps"),
    [
        ("resnet18", 11_173_962, (2, 512, 4, 4)),
        ("resnet34", 21_282_122, (2, 512, 4, 4)),
        ("resnet50", 23_520_842, (2, 2048, 4, 4)),
        ("cnn9", 4_434_570, (2, 128, 2, 2)),
        ("imagenet_resnet18", 11_181_642, (2, 512, 1, 1)),
        ("imagenet_resnet50", 23_528_522, (2, 2048, 1, 1)),
        ("vgg19_bn", 20_040_522, (2, 512, 1, 1)),
    ],
)
def test_sizes_of_published_networks(name: str, parameters: int, maps: tuple[int, ...]) -> None:
    network = build(option(name), 3, 10)
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.no_grad():
        features = network.eval().features(torch.randn(2, 3, 32, 32))
    assert features.shape == maps


def test_names_of_the_post_activation_network_are_the_published_ones() -> None:
    names = set(build(option("resnet50"), 3, 10).state_dict())
    assert {
        "conv1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "layer1.0.shortcut.0.weight",
        "layer1.0.shortcut.1.bias", "layer3.5.bn3.weight", "layer4.2.conv1.weight",
    } <= names  # fmt: skip
    assert not any(name.startswith("layer1.1.shortcut") for name in names), "an identity has no parameters"


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_post_activation_forward_spelled_out(block: str) -> None:
    torch.manual_seed(0)
    settings = {"name": "resnet", "block": block, "widths": [4, 8], "blocks": [2, 1]}
    network = build(settings, 3, 5).eval()
    x = torch.randn(2, 3, 8, 8)
    out = relu(network.bn1(network.conv1(x)))
    for part in (*network.layer1, *network.layer2):
        inner = relu(part.bn1(part.conv1(out)))
        if block == "basic":
            inner = part.bn2(part.conv2(inner))
        else:
            inner = part.bn3(part.conv3(relu(part.bn2(part.conv2(inner)))))
        out = relu(inner + part.shortcut(out))
    assert torch.allclose(network.features(x), out, atol=1e-6)
    assert bool((out >= 0).all())
    assert network.classifier.in_features == out.shape[1] == (8 if block == "basic" else 32)


def test_post_activation_weights_start_with_unit_gain_of_the_output() -> None:
    torch.manual_seed(0)
    weight = build(option("resnet18"), 3, 10).get_parameter("layer3.1.conv2.weight").detach()
    assert float(weight.std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_the_imagenet_network_is_torchvisions() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole, ours = resnet18(weights=None).eval(), build(option("imagenet_resnet18"), 3, 1000).eval()
    state = {key.replace("fc.", "classifier."): value for key, value in whole.state_dict().items()}
    ours.load_state_dict(state)
    x = torch.randn(2, 3, 64, 64)
    assert torch.allclose(ours(x), whole(x), atol=1e-5)


def test_vgg_is_torchvisions_up_to_its_last_map() -> None:
    from torchvision.models import vgg

    torch.manual_seed(0)
    layers, ours = vgg.make_layers(vgg.cfgs["E"], batch_norm=True).eval(), build(option("vgg19_bn"), 3, 10).eval()
    layers.load_state_dict(ours.layers.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours.features(x), layers(x))
    assert layers(x).shape == (2, 512, 2, 2)
    weight = ours.layers[7].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", ["imagenet_resnet18", "vgg19_bn"])
def test_networks_of_colored_images_alone(name: str) -> None:
    with pytest.raises(InputError, match=r"3 channels, .* 1:"):
        build(option(name), 1, 10)
    with pytest.raises(InputError, match=r"32x32 .*16x16"):
        build(option(name), 3, 10, (16, 16))


def test_a_depth_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"model\.depth=20: .*18, 34, 50"):
        build({"name": "imagenet_resnet", "depth": 20}, 3, 10)


def test_images_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(InputError, match=r"model=cnn9 .*28x28 .*8x8"):
        build(option("cnn9"), 1, 10, (8, 8))
    network = build(option("cnn9"), 1, 10, (28, 28))
    assert network.eval().features(torch.zeros(1, 1, 28, 28)).shape == (1, 128, 1, 1)


def test_channel_dropout_drops_its_share_in_training_alone() -> None:
    torch.manual_seed(0)
    drop, x = ChannelDropout(0.25), torch.ones(64, 128, 2, 2)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((out.amax((2, 3)) == out.amin((2, 3))).float().mean()) == 1.0, "whole channels"
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(drop(x), out)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(ChannelDropout(0.0)(x), x)


def test_channel_dropout_goes_on_where_its_state_was_taken() -> None:
    torch.manual_seed(0)
    first, x = ChannelDropout(0.5), torch.ones(8, 8, 1, 1)
    other = ChannelDropout(0.5)
    first(x)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x), other(x))
    twin = copy.deepcopy(first)
    assert torch.equal(first(x), twin(x))
    torch.manual_seed(0)
    again = ChannelDropout(0.5)
    again(x)
    again(x)
    again(x)
    assert torch.equal(first(x), again(x)), "nothing but the seed at construction decides"


NARROW = ("model.widths=[4,8,8,16]",)
EVERY_NETWORK = [("resnet18", NARROW), ("resnet34", NARROW), ("resnet50", NARROW), ("cnn9", ())]


@pytest.mark.parametrize(("name", "overrides"), EVERY_NETWORK)
def test_every_network_trains_with_all_components_and_resumes(name: str, overrides: tuple[str, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    train = TrainingSet(
        images=torch.randint(0, 256, (16, 3, 32, 32), generator=generator).to(torch.uint8),
        mean=(0.5,) * 3, std=(0.25,) * 3, given_labels=torch.arange(16) % 4, index=torch.arange(16),
        keys=tuple(map(str, range(16))), num_classes=4, class_names=tuple("abcd"),
    )  # fmt: skip
    config = config_of(
        "base_method=ce", "components=full", "components.start=0", "trainer.batch_size=8", "trainer.lr=0.01",
        "data.augment.crop_padding=2", f"model={name}", *overrides,
    )  # fmt: skip
    made, resumed = (Trainer(config, train, torch.device("cpu")) for _ in range(2))
    summary = made.train_epoch(lambda step, steps: None)
    assert 0 < summary.loss < 100
    resumed.load(copy.deepcopy(made.state()))
    again, same = (trainer.train_epoch(lambda step, steps: None).loss for trainer in (made, resumed))
    assert again == same


def test_a_narrow_shortcut_is_the_convolution_with_a_stride() -> None:
    torch.manual_seed(0)
    narrow = convolution(4, 8, 1, 2)
    x = torch.randn(2, 4, 7, 6).to(memory_format=torch.channels_last).requires_grad_()
    grown = torch.randn(2, 8, 4, 3)
    of_x, of_weight = torch.autograd.grad((narrow(x) * grown).sum(), (x, narrow.weight))
    expected_x, expected_weight = torch.zeros(2, 4, 7, 6), torch.zeros(8, 4)
    for image, row, column in itertools.product(range(2), range(4), range(3)):
        assert torch.allclose(
            narrow(x)[image, :, row, column], narrow.weight[:, :, 0, 0] @ x[image, :, 2 * row, 2 * column]
        )
        at = grown[image, :, row, column]
        expected_x[image, :, 2 * row, 2 * column] = at @ narrow.weight[:, :, 0, 0]
        expected_weight += torch.outer(at, x[image, :, 2 * row, 2 * column])
    assert torch.allclose(of_x, expected_x, atol=1e-6)
    assert torch.allclose(of_weight[:, :, 0, 0], expected_weight, atol=1e-5)
