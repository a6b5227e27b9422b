"""Labelled pictures in memory, disturbed, and as torch batches at the network's input size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..anomalies.random_anomaly import RandomAnomaly
from ..errors import MonitorError
from ..vision.preprocess import PreprocessSpec, resize_image, resize_labels
from .augment import Augmentation


class LabelledPictures(Protocol):
    """An indexed collection of pictures, BGR uint8 (H, W, 3), with class ids, uint8 (H, W), 255 = ignored."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture and labels, of any size."""


@dataclass(frozen=True)
class LabelledSet:
    """Labelled pictures in memory."""

    images: NDArray[np.uint8]  # BGR (N, H, W, 3)
    labels: NDArray[np.uint8]  # class ids (N, H, W); 255 is ignored

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.images[index], self.labels[index]


@dataclass(frozen=True)
class DisturbedPictures:
    """Labelled pictures with an anomaly on each, applied before any preprocessing; labels stay as they are."""

    source: LabelledPictures
    transform: RandomAnomaly

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, labels = self.source[index]
        return self.transform(image, index), labels


class TrainingPictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures and labels at the network's size, augmented: uint8 (H, W, 3) and int64 (H, W)."""

    def __init__(self, source: LabelledPictures, spec: PreprocessSpec, augmentation: str = "none") -> None:
        self.source = source
        self.spec = spec
        self.augment = Augmentation(augmentation, spec.height, spec.width)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.source[index]
        picture = torch.from_numpy(np.ascontiguousarray(resize_image(image, self.spec)))
        classes = torch.from_numpy(np.ascontiguousarray(resize_labels(labels, self.spec.width, self.spec.height)))
        picture, classes = self.augment(picture, classes)
        return picture, classes.to(torch.int64)


def plain_message(error: MonitorError) -> str:
    """The message of an error without the traceback that torch puts before it when a reading process raised it."""
    return str(error).rstrip().rpartition(f"{type(error).__name__}: ")[2]


def make_loader(
    source: LabelledPictures,
    spec: PreprocessSpec,
    *,
    batch: int,
    augmentation: str = "none",
    shuffle: bool = False,
    workers: int = 0,
    seed: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of ``TrainingPictures``. With ``shuffle``, an incomplete last batch is dropped, unless it is the only one."""
    return DataLoader(
        TrainingPictures(source, spec, augmentation),
        batch_size=batch,
        shuffle=shuffle,
        drop_last=shuffle and len(source) >= batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator().manual_seed(seed),
    )
