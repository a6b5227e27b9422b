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
        result, ratio = image.result, image.ratio
        if result is None or not np.isfinite(ratio):
            return
        near = [
            frame
            for frame in self.frames
            if frame.camera == image.alarm.camera and abs(frame.time_s - image.time_s) < self._apart_s
        ]
        # It takes the place of those too near to it, or of the weakest of a full house, and must be stranger than they.
        rivals = near or self.frames[self._count - 1 :]
        if any(ratio <= frame.ratio for frame in rivals):
            return
        self.frames = [frame for frame in self.frames if not any(frame is rival for rival in rivals)]
        picture = draw_overlay(result, image.alarm, _ALPHA)
        height = round(picture.shape[0] * _WIDTH / picture.shape[1])
        small = np.asarray(cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self.frames.append(WorstFrame(image.time_s, image.alarm.camera, ratio, small))
        self.frames.sort(key=lambda frame: -frame.ratio)
