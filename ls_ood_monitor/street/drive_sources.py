"""Drives of the procedural street as sources of frames, for calibration and training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..core.types import Frame
from ..recordings.drive_source import DriveSource
from .camera import CAMERAS
from .shots import render_here, render_pool, render_shots, spread_shots


def street_drives(seeds: Sequence[int], per_drive: int = 2) -> list[DriveSource]:
    """A drive source for each seed: ``per_drive`` moments, 4 s apart, of all cameras, rendered when they are read.

    All sources share one pool of processes. It starts with the first frame and ends with the last source. A source that is
    sent to another process renders there.
    """
    pool = render_pool()
    return [
        DriveSource(f"street-{seed}", _StreetFrames(seed, per_drive, pool), per_drive * len(CAMERAS)) for seed in seeds
    ]


@dataclass(frozen=True)
class _StreetFrames:
    """Renders the frames of a drive, in a pool of processes or in this one."""

    seed: int
    per_drive: int
    pool: ProcessPoolExecutor | None

    def __call__(self) -> Iterator[Frame]:
        shots = spread_shots((self.seed,), self.per_drive, CAMERAS)
        pictures = render_here(shots) if self.pool is None else render_shots(shots, pool=self.pool)
        return (picture.frame for picture in pictures)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pool": None}
