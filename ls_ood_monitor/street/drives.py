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
    """Drives of the procedural street: ``per_drive`` moments, 4 s apart, of all cameras; rendered when they are read.

    The drives share one pool of processes, which starts with the first reading and ends with the drives.
    """
    pool = render_pool()
    return [
        DriveSource(f"street-{seed}", partial(_street_frames, seed, per_drive, pool), per_drive * len(CAMERAS))
        for seed in seeds
    ]


def _street_frames(seed: int, per_drive: int, pool: ProcessPoolExecutor) -> Iterator[Frame]:
    shots = spread_shots((seed,), per_drive, CAMERAS)
    return (item.frame for item in render_shots(shots, pool=pool))
