"""The training images on the device, and batched augmentation of them with parameters of their own per sample.

``bank`` holds the images and names the pools; each pool that is more than a crop and a flip has a file of its own.
"""

from sanm.data.augment.bank import POOLS, ImageBank, center_crop, images_at_once, normalise

__all__ = ["POOLS", "ImageBank", "center_crop", "images_at_once", "normalise"]
