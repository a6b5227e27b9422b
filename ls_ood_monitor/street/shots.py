"""Render pictures of many drives in several processes.

The seed ranges below are disjoint. So pictures for training, validation, calibration and test come from different
drives, and the demo shows a drive that none of them contains.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from ..core.types import Frame

TRAINING_DRIVES = range(1000, 2000)
VALIDATION_DRIVES = range(2000, 3000)
CALIBRATION_DRIVES = range(3000, 4000)
TEST_DRIVES = range(4000, 5000)
DEMO_DRIVE = 5000

#: Width and height of the simulated cameras, pixels: half of WoodScape's.
CAMERA_SIZE = (640, 483)


@dataclass(frozen=True)
class Shot:
    """One picture to render: drive seed, camera, seconds into the drive."""

    drive: int
    camera: str
    time_s: float


@dataclass(frozen=True)
class RenderedShot:
    """A shot with its picture (BGR uint8) and exact labels (class ids uint8)."""

    shot: Shot
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def frame(self) -> Frame:
        """The picture as a camera frame. The stamps of drive ``n`` begin at hour ``n``, so no two drives share a stamp."""
        return Frame(self.image, self.shot.drive * 3_600_000_000_000 + round(self.shot.time_s * 1e9), self.shot.camera)


_SPACING_S = 4.0
_SPREAD_S = 20.0
_GOLDEN = 0.6180339887498949  # the fractions of its multiples fill [0, 1) evenly


def spread_shots(drives: Sequence[int], per_drive: int, cameras: Sequence[str]) -> list[Shot]:
    """``per_drive`` moments of each drive, 4 s apart, seen by every camera.

    The first moment lies within the first 20 s and differs from drive to drive, so that the shots cover traffic at any
    time of a drive.
    """
    return [
        Shot(drive, camera, index * _SPACING_S + round(_SPREAD_S * (drive * _GOLDEN % 1.0), 1))
        for drive in drives
        for index in range(per_drive)
        for camera in cameras
    ]


def render_shots(
    shots: Sequence[Shot], *, progress: Callable[[int], None] | None = None, pool: ProcessPoolExecutor | None = None
) -> Iterator[RenderedShot]:
    """Render ``shots`` in their order, at ``CAMERA_SIZE``; ``progress`` is called with the number of pictures done.

    ``pool`` holds the processes to render in and stays open. None starts one process a core for this call.
    """
    with nullcontext(pool) if pool else render_pool() as workers:
        for done, picture in enumerate(workers.map(_render, shots, chunksize=1 if pool else 8), start=1):
            if progress is not None:
                progress(done)
            yield picture


def render_here(shots: Sequence[Shot]) -> Iterator[RenderedShot]:
    """Render ``shots`` in their order, in this process."""
    return map(_render, shots)


def render_pool() -> ProcessPoolExecutor:
    """One process a core for ``render_shots``; they start with the first picture."""
    # spawn: the caller may already run threads (torch, rclpy), which fork would copy half-way.
    return ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn"))


def _render(shot: Shot) -> RenderedShot:
    import cv2

    from . import StreetDrive

    cv2.setNumThreads(1)  # the pool already fills the cores
    image, labels = StreetDrive(shot.drive).render(shot.camera, shot.time_s, *CAMERA_SIZE)
    return RenderedShot(shot, image, labels)
