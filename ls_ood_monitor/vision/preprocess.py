"""Preprocessing of pictures, the same in training, calibration, evaluation and on the vehicle.

Another normalisation or resampling filter would itself look out of distribution. So the bundle stores the specification,
and nothing else resizes pictures for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..config import Checked, setting
from ..errors import ConfigError
from .area_means import area_means

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: A picture at least so many times the network's size is halved first.
_HALVED_FROM = 3


@dataclass(frozen=True)
class PreprocessSpec(Checked):
    """Size and normalisation of the network's input; mean and std are RGB, in units of full scale."""

    width: int = setting(320, "width of the network's input", low=32, high=8192, unit="pixels")
    height: int = setting(242, "height of the network's input", low=32, high=8192, unit="pixels")
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        super().__post_init__()
        # JSON has no tuples: equal specifications must compare equal after a round trip.
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not all(0.0 < value < inf for value in self.std):
            raise ConfigError(f"mean is {self.mean}, std is {self.std}; three numbers each are needed, std above 0.")


def resize_image(image: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Resize BGR uint8 (H, W, 3), or a mask (H, W), to the network's size: area averaging down, bilinear up.

    A picture with even sides and at least three times the size is halved first: means of 2x2 whole pixels are many times as
    fast as areas that cut pixels, and leave a quarter of the pixels. It is halved once, and only if it stays clearly larger:
    areas hardly larger than a pixel would mix neighbours in some places only.
    """
    height, width = image.shape[:2]
    is_large = height >= _HALVED_FROM * spec.height and width >= _HALVED_FROM * spec.width
    if is_large and height % 2 == 0 and width % 2 == 0:
        height, width = height // 2, width // 2
        image = area_means(image, width, height)
    if (height, width) == (spec.height, spec.width):
        return image
    if height >= spec.height and width >= spec.width:
        return area_means(image, spec.width, spec.height)
    larger = cv2.resize(image, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(larger, dtype=np.uint8)


def resize_labels(labels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize class ids (H, W) by nearest neighbour: any other filter invents classes."""
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def preprocess(
    images: Sequence[NDArray[np.uint8]], spec: PreprocessSpec, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Turn BGR uint8 pictures (H, W, 3) of any sizes into one normalised float32 RGB batch (N, 3, height, width)."""
    batch = np.stack([resize_image(image, spec) for image in images])
    return normalise(torch.from_numpy(batch).to(device), spec)  # uint8 is copied to the device: a quarter of float32


def normalise(pixels: torch.Tensor, spec: PreprocessSpec) -> torch.Tensor:
    """BGR uint8 (N, height, width, 3) -> normalised float32 RGB (N, 3, height, width)."""
    normalised: torch.Tensor = Normalisation(spec).to(pixels.device)(pixels)
    return normalised


class Normalisation(torch.nn.Module):
    """``normalise`` as a module with its constants on the device, for graphs that are captured, compiled or exported."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: PreprocessSpec) -> None:
        super().__init__()
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1) * 255.0, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """BGR uint8 (N, height, width, 3) -> normalised float32 RGB (N, 3, height, width)."""
        # Reorders whole planes of bytes: half the time of reordering pixels, or planes of floats.
        rgb = pixels.permute(0, 3, 1, 2).contiguous().flip(1).to(torch.float32)
        return (rgb - self.mean) / self.std
