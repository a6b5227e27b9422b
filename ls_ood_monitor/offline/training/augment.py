"""Random changes of a training picture and its labels, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...vision import torchvision_compat as _compat  # noqa: F401  must come before torchvision

from torchvision import tv_tensors  # isort: skip
from torchvision.transforms import v2  # isort: skip

#: none; mirror (half of the pictures); reference (one of crop, mirror, hue, brightness for half of the pictures).
AUGMENTATIONS: tuple[str, ...] = ("none", "mirror", "reference")

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_augmentation(name: str, height: int, width: int) -> Augment:
    """A function of (uint8 picture (H, W, 3) BGR, uint8 labels (H, W)) to the changed pair; draws from torch's generator.

    Labels are resampled by nearest neighbour, so no class is invented.
    """
    if name == "none":
        return lambda image, labels: (image, labels)
    if name == "mirror":
        transform: torch.nn.Module = v2.RandomHorizontalFlip(0.5)
    else:
        choices = [
            v2.RandomResizedCrop((height, width), scale=(0.5, 1.0), ratio=(width / height,) * 2, antialias=True),
            v2.RandomHorizontalFlip(1.0),
            v2.ColorJitter(hue=0.1),
            v2.ColorJitter(brightness=0.3),
        ]
        transform = v2.RandomApply([v2.RandomChoice(choices)], p=0.5)

    def augment(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # torchvision thinks in RGB planes; only hue cares, and it must see the true colours.
        planes = tv_tensors.Image(image.permute(2, 0, 1).flip(0))
        changed, mask = transform(planes, tv_tensors.Mask(labels))
        return changed.as_subclass(Tensor).flip(0).permute(1, 2, 0).contiguous(), mask.as_subclass(Tensor)

    return augment
