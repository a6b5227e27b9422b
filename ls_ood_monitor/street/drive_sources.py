"""Drives of the procedural street as sources of frames, for calibration and training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from ..core.types import Frame
from ..recordings.drive_source import DriveSource
from .camera import CAMERAS
from .shots import render_pool, render_shots, spread_shots


def street_drives(seeds: Sequence[int], per_drive: int = 2) -> list[DriveSource]:
    """A drive source for each seed: ``per_drive`` moments, 4 s apart, of all cameras, rendered when they are read.

    All sources share one pool of processes. It starts with the first frame and ends with the last source.
    """
    pool = render_pool()
    return [
        DriveSource(f"street-{seed}", partial(_street_frames, seed, per_drive, pool), per_drive * len(CAMERAS))
        for seed in seeds
    ]


def _street_frames(seed: int, per_drive: int, pool: ProcessPoolExecutor) -> Iterator[Frame]:
    return (picture.frame for picture in render_shots(spread_shots((seed,), per_drive, CAMERAS), pool=pool))
