"""Pictures of drives, rendered or read, disturbed and brought to the network's size in worker processes.

One picture is made once and shown in every condition. Workers run ahead of the network by a bounded number of
pictures, so memory does not grow with the length of a drive.
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

_JOB_PICTURES, _JOB_IMAGES = 8, 256  # at most, of one job: what crosses from a worker at once


@dataclass(frozen=True)
class Picture:
    """One picture to come.

    Attributes:
        unit: the drive, sequence or block of time that it belongs to; held out and resampled as a whole.
        origin: what makes it: a shot of the street to render, a file to read, or the picture itself.
        drive: what its anomalies are drawn for, so that dirt keeps its place; empty = the unit.
    """

    unit: str
    origin: Shot | Path | Image
    drive: str = ""


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one use.

    Attributes:
        name: what they are.
        count: how many, as far as known before they are read; None otherwise.
        read: starts an iteration over them.
    """

    name: str
    count: int | None
    read: Callable[[], Iterator[Picture]]


@dataclass(frozen=True)
class RenderedPicture:
    """One picture in every condition asked for.

    Attributes:
        unit: as in ``Picture``.
        images: BGR uint8 (conditions, height, width, 3) at the network's size.
        masks: condition -> bool (height, width), disturbed pixels, for conditions that have a place of their own.
    """

    unit: str
    images: Image
    masks: dict[Condition, NDArray[np.bool_]]


@dataclass(frozen=True)
class _Job:
    pictures: tuple[Picture, ...]
    conditions: tuple[Condition, ...]
    spec: PreprocessSpec
    seed: int
    masks: bool


def show(
    picture: Picture, conditions: Sequence[Condition], spec: PreprocessSpec, seed: int, masks: bool
) -> RenderedPicture:
    """Make one picture and all its conditions: disturbed at camera resolution, then resized like every picture."""
    image = _make(picture.origin)
    own_seed = anomaly_seed(picture.drive or picture.unit, seed)
    images = np.stack([resize_image(disturb(image, condition, own_seed), spec) for condition in conditions])
    found = {}
    for condition in conditions if masks else ():
        mask = disturbed_pixels(image, condition, own_seed)
        if mask is not None:
            found[condition] = resize_image(255 * mask, spec) > 127
    return RenderedPicture(picture.unit, images, found)


def _make(origin: Shot | Path | Image) -> Image:
    if isinstance(origin, Shot):
        return _drive(origin.drive).render(origin.camera, origin.time_s, *CAMERA_SIZE)[0]
    return read_picture(origin) if isinstance(origin, Path) else origin


@lru_cache(maxsize=2)
def _drive(seed: int) -> StreetDrive:
    """What a drive and its cameras' views cost is paid once for all their moments."""
    return StreetDrive(seed)


class PictureRenderer:
    """Makes pictures in ``processes`` worker processes; 0 makes them in this one. A context manager keeps the workers.

    Args:
        spec: size of the network's input.
        seed: of the anomalies; each unit draws its own from it.
        processes: number of workers.
    """

    def __init__(self, spec: PreprocessSpec, *, seed: int, processes: int) -> None:
        self.spec = spec
        self.seed = seed
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    @contextmanager
    def opened(self) -> Iterator[PictureRenderer]:
        """Start the workers, and end them with the block."""
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

    def show(
        self, pictures: Iterable[Picture], conditions: Sequence[Condition] = (CLEAN_CONDITION,), *, masks: bool = False
    ) -> Iterator[RenderedPicture]:
        """Yield each picture in all conditions, in the order given."""
        iterator = iter(pictures)
        size = max(1, min(_JOB_PICTURES, _JOB_IMAGES // max(1, len(conditions))))
        chunks = iter(lambda: tuple(islice(iterator, size)), ())
        jobs = (_Job(chunk, tuple(conditions), self.spec, self.seed, masks) for chunk in chunks)
        if self._pool is None:
            for job in jobs:
                yield from _run(job)
            return
        waiting: deque[Future[list[RenderedPicture]]] = deque()
        for job in jobs:
            waiting.append(self._pool.submit(_run, job))
            if len(waiting) > 2 * self.processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _run(job: _Job) -> list[RenderedPicture]:
    return [show(picture, job.conditions, job.spec, job.seed, job.masks) for picture in job.pictures]


def _prepare_worker() -> None:
    cv2.setNumThreads(1)  # the pool already fills the cores
