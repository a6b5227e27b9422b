"""Frames of the procedural street in bulk, rendered by several processes.

Drives are told apart by seed, and the ranges below never meet: what is trained on is not calibrated on,
what is calibrated on is not reported on, and the demo shows a drive that none of them has seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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

#: Size of the simulated camera, pixels: half of WoodScape's. The network's input is made from it by the preprocessing.
CAMERA_SIZE = (640, 483)


@dataclass(frozen=True)
class Shot:
    """One picture to render: drive seed, camera, seconds into the drive."""

    drive: int
    camera: str
    time_s: float


@dataclass(frozen=True)
class Rendered:
    """A shot with its picture (BGR uint8) and exact labels (class ids uint8)."""

    shot: Shot
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def frame(self) -> Frame:
        """As a camera frame; each drive has its own hour, so that stamps tell drives apart."""
        return Frame(self.image, self.shot.drive * 3_600_000_000_000 + round(self.shot.time_s * 1e9), self.shot.camera)


_SPREAD_S = 20.0
_GOLDEN = 0.6180339887498949  # its multiples, without their whole part, fill an interval evenly


def spread_shots(drives: Sequence[int], per_drive: int, cameras: Sequence[str], spacing_s: float = 4.0) -> list[Shot]:
    """``per_drive`` moments of each drive, ``spacing_s`` apart, seen by every camera.

    The first lies anywhere in the first 20 s, another for every drive: the same few seconds of all drives would not be
    a sample of driving, which meets traffic at any time.
    """
    return [
        Shot(drive, camera, index * spacing_s + round(_SPREAD_S * (drive * _GOLDEN % 1.0), 1))
        for drive in drives
        for index in range(per_drive)
        for camera in cameras
    ]


def render_shots(
    shots: Sequence[Shot],
    *,
    size: tuple[int, int] = CAMERA_SIZE,
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
    pool: ProcessPoolExecutor | None = None,
) -> Iterator[Rendered]:
    """Render in the order given; ``progress`` is told the number of pictures done; ``pool`` is used if given, and kept."""
    jobs = [(shot, size) for shot in shots]
    if pool is not None:
        yield from _tell(pool.map(_render, jobs), progress)
        return
    with render_pool(processes) as own:
        yield from _tell(own.map(_render, jobs, chunksize=8), progress)


def render_pool(processes: int | None = None) -> ProcessPoolExecutor:
    """Processes to render in, one a core unless said otherwise; they start with the first picture."""
    # spawn: the caller may already run threads (torch, rclpy), which fork would copy half-way.
    return ProcessPoolExecutor(processes or os.cpu_count() or 1, mp_context=get_context("spawn"))


def _tell(pictures: Iterator[Rendered], progress: Callable[[int], None] | None) -> Iterator[Rendered]:
    for done, rendered in enumerate(pictures, start=1):
        if progress is not None:
            progress(done)
        yield rendered


def _render(job: tuple[Shot, tuple[int, int]]) -> Rendered:
    import cv2

    from . import StreetDrive

    cv2.setNumThreads(1)  # the pool already fills the cores
    shot, (width, height) = job
    image, labels = StreetDrive(shot.drive).render(shot.camera, shot.time_s, width=width, height=height)
    return Rendered(shot, image, labels)
