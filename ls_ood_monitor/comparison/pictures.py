"""Pictures of drives, rendered or read, put into each condition and resized to the network's size in worker processes.

A picture is made once for all conditions. Workers run ahead of the network by a bounded number of pictures, so memory
does not grow with the length of a drive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..datasets.files import read_picture
from ..street import StreetDrive
from ..street.shots import CAMERA_SIZE, Shot
from ..vision.preprocess import PreprocessSpec, resize_image
from .conditions import CLEAN_CONDITION, Condition, anomaly_seed, disturb, disturbed_pixels

Image = NDArray[np.uint8]

_MAX_JOB_PICTURES, _MAX_JOB_IMAGES = 8, 256  # of one job; a worker returns them at once


@dataclass(frozen=True)
class Picture:
    """One picture that is not made yet."""

    unit: str  # drive, sequence or block of time that it belongs to; held out and resampled as a whole
    origin: Shot | Path | Image  # a shot of the street to render, a file to read, or the picture itself
    drive: str = ""  # drive whose anomalies it gets, so that dirt keeps its place; empty = the unit


@dataclass(frozen=True)
class PictureSet:
    """Pictures with one use in a protocol."""

    name: str  # for people
    count: int | None  # None if it is not known before reading
    read: Callable[[], Iterator[Picture]]  # starts an iteration over the pictures


@dataclass(frozen=True)
class RenderedPicture:
    """One picture in several conditions."""

    unit: str  # as in Picture
    images: Image  # BGR uint8 (conditions, height, width, 3) at the network's size
    #: (height, width) disturbed pixels, for conditions that disturb certain pixels only.
    masks: dict[Condition, NDArray[np.bool_]]


def _render(
    pictures: Iterable[Picture], conditions: Sequence[Condition], spec: PreprocessSpec, base_seed: int, with_masks: bool
) -> list[RenderedPicture]:
    """Make pictures in all conditions: disturbed at camera resolution, then resized like every picture."""
    rendered = []
    for picture in pictures:
        image, seed = _load(picture.origin), anomaly_seed(picture.drive or picture.unit, base_seed)
        images = np.stack([resize_image(disturb(image, condition, seed), spec) for condition in conditions])
        masks = {}
        for condition in conditions if with_masks else ():
            mask = disturbed_pixels(image, condition, seed)
            if mask is not None:
                masks[condition] = resize_image(255 * mask, spec) > 127
        rendered.append(RenderedPicture(picture.unit, images, masks))
    return rendered


def _load(origin: Shot | Path | Image) -> Image:
    if isinstance(origin, Shot):
        return _drive(origin.drive).render(origin.camera, origin.time_s, *CAMERA_SIZE)[0]
    return read_picture(origin) if isinstance(origin, Path) else origin


@lru_cache(maxsize=2)
def _drive(seed: int) -> StreetDrive:
    """Cached, because a drive and its cameras' views are costly to build and serve all moments of the drive."""
    return StreetDrive(seed)


class PictureRenderer:
    """Makes pictures of the size of ``spec`` in all their conditions, in worker processes; 0 = in this process.

    Each drive derives the seed of its anomalies from ``seed``.
    """

    def __init__(self, spec: PreprocessSpec, *, seed: int, processes: int) -> None:
        self.spec = spec
        self.seed = seed
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    @contextmanager
    def opened(self) -> Iterator[PictureRenderer]:
        """Start the workers, and end them when the context exits."""
        if self.processes == 0:
            yield self
            return
        # spawn: the caller may already run threads (torch), which fork would copy half-way.
        with ProcessPoolExecutor(self.processes, get_context("spawn"), _prepare_worker) as pool:
            self._pool = pool
            try:
                yield self
            finally:
                self._pool = None
                pool.shutdown(wait=True, cancel_futures=True)

    def render(
        self, pictures: Iterable[Picture], conditions: Sequence[Condition] = (CLEAN_CONDITION,), *, masks: bool = False
    ) -> Iterator[RenderedPicture]:
        """Yield each picture in all conditions, in the given order; with ``masks`` also the disturbed pixels."""
        iterator = iter(pictures)
        size = max(1, min(_MAX_JOB_PICTURES, _MAX_JOB_IMAGES // max(1, len(conditions))))
        chunks = iter(lambda: tuple(islice(iterator, size)), ())
        job = conditions, self.spec, self.seed, masks
        if self._pool is None:
            for chunk in chunks:
                yield from _render(chunk, *job)
            return
        waiting: deque[Future[list[RenderedPicture]]] = deque()
        for chunk in chunks:
            waiting.append(self._pool.submit(_render, chunk, *job))
            if len(waiting) > 2 * self.processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _prepare_worker() -> None:
    cv2.setNumThreads(1)  # the pool already fills the cores
