"""One camera's scores over time -> a debounced alarm."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import AlarmSettings
from .types import Alarm, AlarmState


class AlarmFilter:
    """Counts bad and good frames in a row.

    CLEAR -bad-> PENDING -``trigger`` bad in a row-> RAISED -``release`` good in a row-> CLEAR.
    One good frame clears a PENDING alarm. The start is PENDING: a camera that has shown nothing is not clear.
    A frame that could not be judged counts as bad.
    """

    def __init__(self, settings: AlarmSettings, camera: str) -> None:
        self.settings = settings
        self.camera = camera
        self.reset()

    def reset(self) -> None:
        """Back to the start: PENDING, nothing counted."""
        self._state = AlarmState.PENDING
        self._bad = 0
        self._good = 0

    def update(self, stamp_ns: int, score: float, threshold: float) -> Alarm:
        """Count a judged frame; larger score = more OoD. A score or threshold that is not finite is a fault."""
        if not (isfinite(score) and isfinite(threshold)):
            return self._count(
                stamp_ns,
                score,
                threshold,
                bad=True,
                fault=True,
                what=f"the score {score:g} against threshold {threshold:g} is not a finite comparison",
            )
        if score > threshold:
            return self._count(
                stamp_ns,
                score,
                threshold,
                bad=True,
                fault=False,
                what=f"out of distribution, score {score:.2f} above threshold {threshold:.2f}",
            )
        return self._count(
            stamp_ns,
            score,
            threshold,
            bad=False,
            fault=False,
            what=f"in distribution, score {score:.2f} within threshold {threshold:.2f}",
        )

    def fault(self, stamp_ns: int, reason: str) -> Alarm:
        """Count a frame that could not be judged."""
        return self._count(stamp_ns, float("nan"), float("nan"), bad=True, fault=True, what=reason)

    def _count(self, stamp_ns: int, score: float, threshold: float, *, bad: bool, fault: bool, what: str) -> Alarm:
        self._bad, self._good = (self._bad + 1, 0) if bad else (0, self._good + 1)
        trigger, release = self.settings.trigger_consecutive_frames, self.settings.release_consecutive_frames
        note = ""
        if self._state is AlarmState.RAISED:
            if self._good >= release:
                self._state = AlarmState.CLEAR
            elif not bad:
                note = f"; {self._good} of {release} good frames to clear"
        elif not bad:
            self._state = AlarmState.CLEAR
        elif self._bad >= trigger:
            self._state = AlarmState.RAISED
        else:
            self._state = AlarmState.PENDING
            note = f"; {self._bad} of {trigger} bad frames to raise"
        reason = f"camera {self.camera}: {what}{note}"
        return Alarm(self.camera, stamp_ns, self._state, score, threshold, reason, fault)


def alarm_onsets(bad: ArrayLike, settings: AlarmSettings) -> NDArray[np.int64]:
    """Frames (K,) at which ``AlarmFilter`` would raise an alarm, from one camera's bad frames (N,) in order of time."""
    flags = np.asarray(bad, dtype=bool)
    if not flags.any():
        return np.zeros(0, np.int64)
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    onsets: list[int] = []
    raised = False
    for start, end in pairwise(edges):
        if not flags[start]:
            raised = raised and end - start < settings.release_consecutive_frames
        elif not raised and end - start >= settings.trigger_consecutive_frames:
            raised = True
            onsets.append(start + settings.trigger_consecutive_frames - 1)
    return np.array(onsets, dtype=np.int64)
