"""One camera's scores over time -> a debounced alarm of two speeds.

The *sudden* path counts frames: so many in a row above a high threshold raise the alarm within a fraction of a second.
The *lasting* path takes the median of the scores of some seconds: a median above a low threshold raises it. A passing object
gives a burst of high scores and no high median; dirt, fog or a lost focus give scores that are a little high, and stay so.
Both read the one score of the detector; larger = more out of distribution (OoD).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import isfinite, nan

from ..config import AlarmSettings
from .causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from .types import Alarm, AlarmState

#: Length of the window in which faults are counted, as a multiple of ``trigger_consecutive_frames``.
_FAULT_WINDOW = 3
#: Longest time for which one frame counts in the lasting median: a gap shows nothing, so it neither clears nor raises.
MAX_STEP_S = 1.0
#: Steps between frames among which the longest is the camera's rhythm.
_RHYTHM_STEPS = 9
#: A lasting alarm clears when the median has fallen to this share of the way from the clean median to the threshold.
RELEASE_SHARE = 0.9


@dataclass(frozen=True)
class LastingLevels:
    """Calibrated levels of the lasting path. Scores as those of the detector; larger = more OoD.

    Attributes:
        threshold: a median above it raises the alarm; NaN = there is no lasting path.
        clean_median: median score of clean frames, with which the window is filled at the start.
    """

    threshold: float = nan
    clean_median: float = nan


class LastingMedian:
    """Median of one camera's scores over the last seconds, each weighted with the time that it stands for.

    A frame stands for the time since the judged frame before it. So the median depends on seconds, not on the frame rate, and
    uneven stamps do not matter. After a gap it stands for at most twice the longest of the nine steps before it, and never for
    more than ``MAX_STEP_S``. The median is the smallest score of the window that, with all smaller ones, stands for at least
    half of it.

    Args:
        clean_median: score that fills the window at the start.
        window_s: length of the window, seconds.
    """

    def __init__(self, clean_median: float, window_s: float) -> None:
        self._clean_median, self._window_ns = clean_median, round(window_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Back to a window of the clean median."""
        self.value = self._clean_median
        self._last_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=_RHYTHM_STEPS)
        self._window: deque[tuple[float, int]] = deque([(self._clean_median, self._window_ns)])  # score, time

    def add(self, stamp_ns: int, score: float) -> float:
        """Take in a finite score; returns the median. A stamp that does not advance adds nothing."""
        last_ns, self._last_ns = self._last_ns, stamp_ns
        # The first frame has none before it, so its time is not known.
        step_ns = 0 if last_ns is None else stamp_ns - last_ns
        if step_ns > 0:
            longest_ns = min(round(MAX_STEP_S * 1e9), self._window_ns)
            if self._steps_ns:
                longest_ns = min(longest_ns, 2 * max(self._steps_ns))
            self._steps_ns.append(step_ns)
            stands_ns = min(step_ns, longest_ns)
            self._forget(stands_ns)
            self._window.append((score, stands_ns))
            self.value = self._median()
        return self.value

    def _forget(self, time_ns: int) -> None:
        """Remove so much time from the beginning of the window."""
        while time_ns > 0:
            score, stood_ns = self._window.popleft()
            if stood_ns > time_ns:
                self._window.appendleft((score, stood_ns - time_ns))
            time_ns -= stood_ns

    def _median(self) -> float:
        ordered, below_ns = iter(sorted(self._window)), 0
        while 2 * below_ns < self._window_ns:
            score, stood_ns = next(ordered)
            below_ns += stood_ns
        return score


class SuddenPath:
    """State of one camera's alarm by frames in a row: CLEAR, PENDING or RAISED.

    ``trigger_consecutive_frames`` bad frames in a row raise the alarm, ``release_consecutive_frames`` good ones clear it. It
    starts PENDING: a camera that has shown nothing is not clear. With N = ``trigger_consecutive_frames``, N frames that cannot
    be judged among the last 3 N raise it, too: a fault that comes and goes is a fault.
    """

    def __init__(self, settings: AlarmSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Back to the start: PENDING, nothing counted."""
        self.state = AlarmState.PENDING
        self.good = self.bad = 0
        self._faults: deque[bool] = deque(maxlen=_FAULT_WINDOW * self._settings.trigger_consecutive_frames)

    def mark_unavailable(self) -> None:
        """RAISED at once, whatever was counted: there is nothing to judge."""
        self.state, self.good = AlarmState.RAISED, 0

    def add(self, score: float | None, threshold: float) -> AlarmState:
        """Take in a frame: finite score and threshold, or score None = it could not be judged."""
        is_bad = score is None or score > threshold
        self.good, self.bad = (0, self.bad + 1) if is_bad else (self.good + 1, 0)
        self._faults.append(score is None)
        trigger = self._settings.trigger_consecutive_frames
        if self.state is AlarmState.RAISED:
            if self.good >= self._settings.release_consecutive_frames:
                self.state = AlarmState.CLEAR
                self._faults.clear()
        elif self.bad >= trigger or sum(self._faults) >= trigger:
            self.state = AlarmState.RAISED
        else:
            self.state = AlarmState.PENDING if is_bad else AlarmState.CLEAR
        return self.state


class LastingPath:
    """Whether one camera's median score (``LastingMedian``) is too high: it raises above the threshold, and clears well below.

    Args:
        levels: calibrated; without a threshold the path never raises.
        window_s: of the median.
    """

    def __init__(self, levels: LastingLevels, window_s: float) -> None:
        self.threshold = levels.threshold
        self._release = levels.clean_median + RELEASE_SHARE * (levels.threshold - levels.clean_median)
        self._median = LastingMedian(levels.clean_median, window_s)
        self.is_raised = False

    @property
    def median(self) -> float:
        """The median so far; NaN where there is no lasting path."""
        return self._median.value

    def reset(self) -> None:
        """Back to the start: the window is full of the clean median."""
        self._median.reset()
        self.is_raised = False

    def add(self, stamp_ns: int, score: float) -> bool:
        """Take in a judged frame; returns whether the path is raised. Frames that cannot be judged do not come here."""
        if isfinite(self.threshold):
            median = self._median.add(stamp_ns, score)
            self.is_raised = median > (self._release if self.is_raised else self.threshold)
        return self.is_raised


class AlarmFilter:
    """Both paths of a named camera -> its alarm with the cause.

    The alarm is RAISED while either path is. ``Cause.underlying`` keeps what raised it: while it waits to clear, and while a
    frame that cannot be judged interrupts a lasting alarm.

    Args:
        settings: counts and the window.
        camera: name.
        levels: of the lasting path; without a threshold there is none.
    """

    def __init__(self, settings: AlarmSettings, camera: str, levels: LastingLevels = LastingLevels()) -> None:
        self.settings = settings
        self.camera = camera
        self._sudden = SuddenPath(settings)
        self._lasting = LastingPath(levels, settings.lasting_window_s)
        self._last_bad: Cause | None = None

    def reset(self) -> None:
        """Back to the start: PENDING, nothing counted."""
        self._sudden.reset()
        self._lasting.reset()
        self._last_bad = None

    def update(self, stamp_ns: int, score: float, threshold: float) -> Alarm:
        """Count a judged frame; larger score = more OoD. A score or threshold that is not finite is a fault."""
        if not (isfinite(score) and isfinite(threshold)):
            return self._alarm(stamp_ns, score, threshold, Cause(CauseKind.NOT_FINITE, value=score, limit=threshold))
        self._lasting.add(stamp_ns, score)
        kind = CauseKind.SUDDEN if score > threshold else CauseKind.IN_DISTRIBUTION
        return self._alarm(stamp_ns, score, threshold, Cause(kind, value=score, limit=threshold))

    def mark_unavailable(self, cause: Cause) -> None:
        """The camera is silent, or nobody can judge it: RAISED at once."""
        self._sudden.mark_unavailable()
        self._last_bad = cause

    def fault(self, stamp_ns: int, cause: Cause) -> Alarm:
        """Count a frame that could not be judged. It neither raises nor clears the lasting path."""
        return self._alarm(stamp_ns, nan, nan, cause)

    def _alarm(self, stamp_ns: int, score: float, threshold: float, cause: Cause) -> Alarm:
        sudden, lasting = self._sudden, self._lasting
        state = sudden.add(None if cause.kind.is_fault else score, threshold)
        if not sudden.good:
            self._last_bad = cause
        progress, raised_by = None, None
        if state is AlarmState.RAISED and sudden.good:
            release = self.settings.release_consecutive_frames
            progress, raised_by = AlarmProgress(ProgressGoal.CLEAR, sudden.good, release), self._last_bad
        elif state is AlarmState.PENDING:
            progress = AlarmProgress(ProgressGoal.RAISE, sudden.bad, self.settings.trigger_consecutive_frames)
        if lasting.is_raised and state is not AlarmState.RAISED:
            state, progress = AlarmState.RAISED, None
            lasts = Cause(CauseKind.LASTING, value=lasting.median, limit=lasting.threshold)
            cause, raised_by = (cause, lasts) if cause.kind.is_fault else (lasts, None)
        cause = replace(cause, camera=self.camera, progress=progress, underlying=raised_by)
        return Alarm(
            self.camera,
            stamp_ns,
            state,
            score,
            threshold,
            cause,
            lasting_score=lasting.median,
            lasting_threshold=lasting.threshold,
        )
