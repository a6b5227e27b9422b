"""Random augmentation of a training picture and its labels, by name."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..vision import torchvision_compat as _compat  # noqa: F401  must come before torchvision

from torchvision import tv_tensors  # isort: skip
from torchvision.transforms import v2  # isort: skip

#: none; mirror: half of the pictures; reference: one of crop, mirror, hue, brightness on half of the pictures.
AUGMENTATIONS: tuple[str, ...] = ("none", "mirror", "reference")


class Augmentation:
    """Changes a uint8 BGR picture (H, W, 3) and its uint8 labels (H, W) alike; draws from torch's global generator.

    ``name`` is one of ``AUGMENTATIONS``, and the size is that of the picture in pixels. Labels are resampled by nearest
    neighbour, so no class is invented. This is a class, not a closure, because reading processes receive it as a
    pickle.
    """

    def __init__(self, name: str, height: int, width: int) -> None:
        self._transform = _transform(name, height, width)

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The changed picture and labels."""
        if self._transform is None:
            return image, labels
        # torchvision expects RGB planes; the order matters for hue.
        planes = tv_tensors.Image(image.permute(2, 0, 1).flip(0))
        changed, mask = self._transform(planes, tv_tensors.Mask(labels))
        return changed.as_subclass(Tensor).flip(0).permute(1, 2, 0).contiguous(), mask.as_subclass(Tensor)


def _transform(name: str, height: int, width: int) -> Any:  # torchvision has no type stubs
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
