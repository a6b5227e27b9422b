"""Drives of the procedural street as sources of frames, for calibration and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..core.types import Frame
from ..recordings.drive_source import DriveSource
from .camera import CAMERAS
from .shots import Shot, render_here, render_pool, render_shots, spread_shots

#: Length, seconds, and frame rate, Hz, of a drive of ``street_videos``.
VIDEO_S, VIDEO_HZ = 24.0, 5.0


def street_drives(seeds: Sequence[int], per_drive: int = 2) -> list[DriveSource]:
    """A drive source for each seed: ``per_drive`` moments, 4 s apart, of all cameras, rendered when they are read.

    All sources share one pool of processes. It starts with the first frame and ends with the last source. A source that is
    sent to another process renders there.
    """
    shots = {seed: spread_shots((seed,), per_drive, CAMERAS) for seed in seeds}
    return _sources(shots)


def street_videos(seeds: Sequence[int]) -> list[DriveSource]:
    """A drive source for each seed: ``VIDEO_S`` seconds of one camera at ``VIDEO_HZ``, the cameras in turn; as ``street_drives``.

    Video is needed for a target of false alarms an hour, and takes 15 times as many pictures of a drive.
    """
    frames = round(VIDEO_S * VIDEO_HZ)
    shots = {
        seed: [Shot(seed, CAMERAS[seed % len(CAMERAS)], frame / VIDEO_HZ) for frame in range(frames)] for seed in seeds
    }
    return _sources(shots)


def _sources(shots: Mapping[int, Sequence[Shot]]) -> list[DriveSource]:
    pool = render_pool()
    return [DriveSource(f"street-{seed}", _StreetFrames(tuple(own), pool), len(own)) for seed, own in shots.items()]


@dataclass(frozen=True)
class _StreetFrames:
    """Renders the frames of a drive, in a pool of processes or in this one."""

    shots: tuple[Shot, ...]
    pool: ProcessPoolExecutor | None

    def __call__(self) -> Iterator[Frame]:
        pictures = render_here(self.shots) if self.pool is None else render_shots(self.shots, pool=self.pool)
        return (picture.frame for picture in pictures)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pool": None}
