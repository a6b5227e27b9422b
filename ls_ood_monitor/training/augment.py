"""Random changes of a training picture and its labels, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from ..vision import torchvision_compat as _compat  # noqa: F401  must come before torchvision

from torchvision import tv_tensors  # isort: skip
from torchvision.transforms import v2  # isort: skip

#: none; mirror (half of the pictures); reference (one of crop, mirror, hue, brightness for half of the pictures).
AUGMENTATIONS: tuple[str, ...] = ("none", "mirror", "reference")


class Augmentation:
    """(uint8 picture (H, W, 3) BGR, uint8 labels (H, W)) -> the changed pair; draws from torch's generator.

    Labels are resampled by nearest neighbour, so no class is invented. A class and no closure: reading processes get it
    by pickle.

    Args:
        name: one of ``AUGMENTATIONS``.
        height: of the picture, pixels.
        width: of the picture, pixels.
    """

    def __init__(self, name: str, height: int, width: int) -> None:
        self._transform = _transform(name, height, width)

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The pair, changed alike."""
        if self._transform is None:
            return image, labels
        # torchvision thinks in RGB planes; only hue cares, and it must see the true colours.
        planes = tv_tensors.Image(image.permute(2, 0, 1).flip(0))
        changed, mask = self._transform(planes, tv_tensors.Mask(labels))
        return changed.as_subclass(Tensor).flip(0).permute(1, 2, 0).contiguous(), mask.as_subclass(Tensor)


def _transform(name: str, height: int, width: int) -> torch.nn.Module | None:
    if name == "none":
        return None
    if name == "mirror":
        return v2.RandomHorizontalFlip(0.5)
    choices = [
        v2.RandomResizedCrop((height, width), scale=(0.5, 1.0), ratio=(width / height,) * 2, antialias=True),
        v2.RandomHorizontalFlip(1.0),
        v2.ColorJitter(hue=0.1),
        v2.ColorJitter(brightness=0.3),
    ]
    return v2.RandomApply([v2.RandomChoice(choices)], p=0.5)
