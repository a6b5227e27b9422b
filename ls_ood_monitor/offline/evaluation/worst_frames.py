"""The strangest frames of a recording, as pictures: what a person wants to see first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...vision.overlay import draw_overlay
from .replay import JudgedImage

_WIDTH = 480
_ALPHA = 0.35


@dataclass(frozen=True)
class WorstFrame:
    """One frame: where it lies, how strange it is, and how it looks."""

    time_s: float
    camera: str
    ratio: float
    picture: NDArray[np.uint8]


class WorstFrames:
    """Keeps the ``count`` frames with the largest scores, no two of one camera within ``apart_s``."""

    def __init__(self, count: int = 8, apart_s: float = 1.0) -> None:
        self._count, self._apart_s = count, apart_s
        self.frames: list[WorstFrame] = []

    def add(self, image: JudgedImage) -> None:
        """Look at one judged image; what could not be judged has no picture of its score."""
        result = image.result
        if result is None or not np.isfinite(result.score):
            return
        near = [
            frame
            for frame in self.frames
            if frame.camera == image.alarm.camera and abs(frame.time_s - image.time_s) < self._apart_s
        ]
        rivals = near if near else self.frames if len(self.frames) >= self._count else []
        weakest = min((frame.ratio for frame in rivals), default=-np.inf)
        ratio = result.score / result.threshold if result.threshold > 0.0 else result.score
        if ratio <= (max(frame.ratio for frame in near) if near else weakest):
            return
        gone = near or [frame for frame in rivals if frame.ratio == weakest][:1]
        self.frames = [frame for frame in self.frames if not any(frame is other for other in gone)]
        picture = draw_overlay(result, image.alarm, _ALPHA)
        height = round(picture.shape[0] * _WIDTH / picture.shape[1])
        small = np.asarray(cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self.frames.append(WorstFrame(image.time_s, image.alarm.camera, ratio, small))
        self.frames.sort(key=lambda frame: -frame.ratio)
