"""Which frames of the clean drives detectors are fitted to: one random frame of each stride of consecutive images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Frames that detectors are fitted to. Their features take 130 MB in memory.
MAX_SAMPLE = 4000
_SEED = 0


@dataclass(frozen=True)
class SamplePlan:
    """Strides over the images of all drives, one drive after the other.

    Attributes:
        stride: images a stride; 1 = every frame is in the sample.
        starts: number of images before each drive.
        images: number of images of all drives, as far as it is known before reading.
    """

    stride: int
    starts: tuple[int, ...]
    images: int

    @staticmethod
    def of(counts: Sequence[int], max_sample: int = MAX_SAMPLE) -> SamplePlan:
        """Plan for drives with these numbers of images."""
        total = sum(counts)
        starts = tuple(int(start) for start in np.cumsum([0, *counts])[:-1])
        return SamplePlan(max(1, -(-total // max_sample)), starts, total)


class StrideSampler:
    """Chooses the frames of one drive: in each stride the first usable frame at or after a random place.

    The place depends on the stride alone, so drives can be read in any order, and by several processes.

    Args:
        stride: images a stride.
        start: number of images before this drive.
    """

    def __init__(self, stride: int, start: int) -> None:
        self._stride, self._start = stride, start
        self._current, self._place = -1, 0
        self._is_taken = False

    def takes(self, number: int) -> bool:
        """Whether usable image ``number`` of the drive is in the sample. Numbers must ascend."""
        if self._stride == 1:
            return True
        stride, place = divmod(self._start + number, self._stride)
        if stride != self._current:
            self._current = stride
            self._place = int(np.random.default_rng([_SEED, stride]).integers(self._stride))
            # A place before the first image of this drive belongs to the drive before.
            self._is_taken = stride * self._stride + self._place < self._start
        if self._is_taken or place < self._place:
            return False
        self._is_taken = True
        return True
