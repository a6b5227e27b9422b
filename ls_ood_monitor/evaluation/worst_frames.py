"""The strangest frames of a recording, as pictures: what a person wants to see first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.types import Alarm, Verdict
from ..vision.overlay import draw_map
from .replay import FrameRecord, TimedVerdict

_WIDTH = 480


@dataclass(frozen=True)
class WorstFrame:
    """One frame: where it lies, how strange it is, and how it looks, reduced."""

    time_s: float  # reception, from the start of the recording
    ratio: float  # score over threshold, above 1 = OoD
    alarm: Alarm  # of its camera, after it
    picture: NDArray[np.uint8]  # BGR (H, W, 3), as the camera saw it
    map: NDArray[np.uint8] | None  # BGR (H, W, 3), where the detector found it strange; None where it does not say

    @property
    def camera(self) -> str:
        """Name of its camera."""
        return self.alarm.camera


class WorstFrames:
    """Keeps the ``count`` frames with the largest scores, no two of one camera within ``apart_s``.

    ``with_map`` gives a verdict its anomaly map, where it has none yet.
    """

    def __init__(self, with_map: Callable[[TimedVerdict], Verdict], count: int = 8, apart_s: float = 1.0) -> None:
        self._with_map, self._count, self._apart_s = with_map, count, apart_s
        self.frames: list[WorstFrame] = []

    def add(self, record: FrameRecord) -> None:
        """Look at one judged image; what could not be judged has no picture of its score."""
        alarm, ratio, verdict = record.alarm, record.alarm.ratio, record.verdict
        if verdict is None or not np.isfinite(ratio):
            return
        near = [
            frame
            for frame in self.frames
            if frame.camera == alarm.camera and abs(frame.time_s - record.time_s) < self._apart_s
        ]
        # It replaces frames close in time, or the lowest one if the list is full, and needs a higher ratio.
        rivals = near or self.frames[self._count - 1 :]
        if any(ratio <= frame.ratio for frame in rivals):
            return
        self.frames = [frame for frame in self.frames if not any(frame is rival for rival in rivals)]
        heat, picture = draw_map(self._with_map(verdict)), _reduced(verdict.frame.image)
        self.frames.append(WorstFrame(record.time_s, ratio, alarm, picture, None if heat is None else _reduced(heat)))
        self.frames.sort(key=lambda frame: -frame.ratio)


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
    return np.asarray(cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
