"""Rules that raise an alarm; each counts the evidence of a camera's frames.

Evidence is a share of what an alarm takes: 0 = none, 1 = raise. The *excess* of a frame is how far its score lies above
the threshold, in units of the distance from the median clean score to the threshold:

    excess = (score - threshold) / (threshold - clean_median)

so that it is -1 at the median clean score, 0 at the threshold, and means the same for every detector.
Larger = more OoD. A frame that could not be judged has no excess and counts as one bad frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..config import AlarmSettings
from .causes import AlarmProgress


class AlarmRule(Protocol):
    """What each rule can do."""

    def add(self, excess: float | None) -> float:
        """Take in a frame, None = not judged; returns the evidence so far, 1 or more raises the alarm."""
        ...

    def progress(self) -> AlarmProgress:
        """How much evidence there is, and how much raises the alarm."""
        ...


class ConsecutiveFrames:
    """``trigger`` bad frames in a row; one good frame starts again."""

    def __init__(self, settings: AlarmSettings) -> None:
        self._trigger = settings.trigger_consecutive_frames
        self._bad = 0

    def add(self, excess: float | None) -> float:
        """See ``AlarmRule``."""
        self._bad = self._bad + 1 if excess is None or excess > 0.0 else 0
        return self._bad / self._trigger

    def progress(self) -> AlarmProgress:
        """See ``AlarmRule``."""
        return AlarmProgress("consecutive", self._bad, self._trigger)


class FramesOfWindow:
    """``trigger`` bad frames among the last ``window_frames``: good frames between do not start it again."""

    def __init__(self, settings: AlarmSettings) -> None:
        self._trigger = settings.trigger_consecutive_frames
        self._bad: deque[bool] = deque(maxlen=max(settings.window_frames, self._trigger))

    def add(self, excess: float | None) -> float:
        """See ``AlarmRule``."""
        self._bad.append(excess is None or excess > 0.0)
        return sum(self._bad) / self._trigger

    def progress(self) -> AlarmProgress:
        """See ``AlarmRule``."""
        return AlarmProgress("window", sum(self._bad), self._trigger, len(self._bad))


class CumulativeSum:
    """Sum of excesses, never below 0, against ``cusum_limit`` (CUSUM; Page, Biometrika 1954).

    A frame far above the threshold counts for many just above it, and a clean one takes back what it is below: a
    marginal run must last, a plain event is raised sooner. One frame gives half of an alarm at most.
    """

    def __init__(self, settings: AlarmSettings) -> None:
        self._limit = settings.cusum_limit
        self._trigger = settings.trigger_consecutive_frames
        self._sum = 0.0

    def add(self, excess: float | None) -> float:
        """See ``AlarmRule``."""
        step = self._limit / self._trigger if excess is None else min(excess, self._limit / 2.0)
        self._sum = min(max(0.0, self._sum + step), self._limit)
        # A hair of rounding must not cost a frame: three thirds do not sum to one.
        return 1.0 if self._sum > self._limit * (1.0 - 1e-9) else self._sum / self._limit

    def progress(self) -> AlarmProgress:
        """See ``AlarmRule``."""
        return AlarmProgress("cusum", self._sum, self._limit)


RULES: dict[str, Callable[[AlarmSettings], AlarmRule]] = {
    "consecutive": ConsecutiveFrames,
    "window": FramesOfWindow,
    "cusum": CumulativeSum,
}
