"""Self-supervised masked reconstruction: SANM Eq. 9 and 10. A decoder rebuilds the unmasked image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from sanm.network import Network


def decoder_for(network: Network, images: Tensor) -> nn.Sequential:
    """A decoder from the feature maps of ``network`` to images like ``images [B, C, H, W]``.

    Transposed convolutions, each of which doubles the map and halves the channels, until the image size is reached.
    """
    with torch.no_grad():
        learning = network.training
        shape = network.eval().features(images).shape
        network.train(learning)
    channels, size = shape[1], shape[2]
    layers: list[nn.Module] = []
    while size * 2 < images.shape[2]:
        layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        channels, size = channels // 2, size * 2
    layers.append(nn.ConvTranspose2d(channels, images.shape[1], 4, stride=2, padding=1))
    return nn.Sequential(*layers)


def reconstruction_error(decoder: nn.Module, features: Tensor, images: Tensor, unit: Tensor) -> Tensor:
    """Mean squared error between the images ``[B, C, H, W]`` and what is rebuilt from ``features [M * B, D, h, w]``.

    The features are those of masked views of the same images, view by view. The error is over the whole image,
    that of several masked views the sum of theirs, as in the released code; ``unit [C, 1, 1]`` is what a difference of
    one is worth: the data's deviation to count pixels in [0, 1], else 1.
    """
    rebuilt = decoder(features).float()
    if rebuilt.shape[-2:] != images.shape[-2:]:  # sizes that are not a power of two times the map
        rebuilt = interpolate(rebuilt, images.shape[-2:], mode="bilinear", align_corners=False)
    views = len(rebuilt) // len(images)
    return views * mse_loss(rebuilt * unit, images.repeat(views, 1, 1, 1) * unit)
