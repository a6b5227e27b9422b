"""One camera's scores over time -> a debounced alarm of two speeds.

The *sudden* path counts frames: so many in a row above a high threshold raise the alarm within a fraction of a second.
The *lasting* path averages scores over seconds: a mean above a low threshold raises it. A passing object gives a burst of
high scores and no lasting mean; dirt, fog or a lost focus give scores that are a little high, and stay so.
Both read the one score of the detector; larger = more out of distribution (OoD).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import exp, isfinite, nan

from ..config import AlarmSettings
from .causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from .types import Alarm, AlarmState

#: Faults are counted among so many times the frames that raise an alarm.
_FAULT_WINDOW = 3
#: Longest time between two frames that counts in the lasting mean: a gap shows nothing, so it neither clears nor raises.
MAX_STEP_S = 1.0
#: A lasting alarm clears when the mean has fallen to this share of the way from the clean median to the threshold.
RELEASE_SHARE = 0.9


@dataclass(frozen=True)
class LastingLevels:
    """Calibrated levels of the lasting path. Scores as those of the detector; larger = more OoD.

    Attributes:
        threshold: a mean above it raises the alarm; NaN = there is no lasting path.
        clean_median: median score of clean frames, from which the mean starts.
        cap: a higher score counts as this one, so that a passing object does not look like something that lasts, and a
            drastic disturbance is forgotten soon after its end.
    """

    threshold: float = nan
    clean_median: float = nan
    cap: float = nan


class LastingMean:
    """Exponential mean of one camera's scores over time.

        mean += (1 - exp(-dt / time_constant)) * (min(score, cap) - mean)

    with dt = time since the last judged frame, at most ``MAX_STEP_S``. It depends on seconds, not on the frame rate.

    Args:
        levels: where the mean starts, and the cap.
        time_constant_s: seconds.
    """

    def __init__(self, levels: LastingLevels, time_constant_s: float) -> None:
        self._levels, self._time_constant_s = levels, time_constant_s
        self.reset()

    def reset(self) -> None:
        """Back to the clean median."""
        self.value = self._levels.clean_median
        self._last_ns: int | None = None

    def add(self, stamp_ns: int, score: float) -> float:
        """Take in a finite score; returns the mean. A stamp that does not advance adds nothing."""
        last_ns, self._last_ns = self._last_ns, stamp_ns
        # How long the first picture has lasted is not known.
        step_s = 0.0 if last_ns is None else min((stamp_ns - last_ns) / 1e9, MAX_STEP_S)
        if step_s > 0.0:
            self.value += (1.0 - exp(-step_s / self._time_constant_s)) * (min(score, self._levels.cap) - self.value)
        return self.value


class SuddenPath:
    """State of one camera's alarm by frames in a row: CLEAR, PENDING or RAISED.

    ``trigger_consecutive_frames`` bad frames in a row raise the alarm, ``release_consecutive_frames`` good ones clear it. It
    starts PENDING: a camera that has shown nothing is not clear. As many frames that cannot be judged raise it when they lie
    among three times as many: a fault that comes and goes is a fault.
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
    """Whether one camera's mean score (``LastingMean``) is too high: it raises above the threshold, and clears well below it.

    Args:
        levels: calibrated; without a threshold the path never raises.
        time_constant_s: of the mean.
    """

    def __init__(self, levels: LastingLevels, time_constant_s: float) -> None:
        self.threshold = levels.threshold
        self._release = levels.clean_median + RELEASE_SHARE * (levels.threshold - levels.clean_median)
        self._mean = LastingMean(levels, time_constant_s)
        self.is_raised = False

    @property
    def mean(self) -> float:
        """The mean so far; NaN where there is no lasting path."""
        return self._mean.value

    def reset(self) -> None:
        """Back to the start: the mean is the clean median."""
        self._mean.reset()
        self.is_raised = False

    def add(self, stamp_ns: int, score: float) -> bool:
        """Take in a judged frame; returns whether the path is raised. Frames that cannot be judged do not come here."""
        if isfinite(self.threshold):
            mean = self._mean.add(stamp_ns, score)
            self.is_raised = mean > (self._release if self.is_raised else self.threshold)
        return self.is_raised


class AlarmFilter:
    """Both paths of a named camera -> its alarm with the cause.

    The alarm is RAISED while either path is. An alarm that waits to clear keeps its original cause (``Cause.underlying``).

    Args:
        settings: counts and the time constant.
        camera: name.
        levels: of the lasting path; without a threshold there is none.
    """

    def __init__(self, settings: AlarmSettings, camera: str, levels: LastingLevels = LastingLevels()) -> None:
        self.settings = settings
        self.camera = camera
        self._sudden = SuddenPath(settings)
        self._lasting = LastingPath(levels, settings.lasting_time_constant_s)
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
        progress, held_for = None, None
        if state is AlarmState.RAISED and sudden.good:
            release = self.settings.release_consecutive_frames
            progress, held_for = AlarmProgress(ProgressGoal.CLEAR, sudden.good, release), self._last_bad
        elif state is AlarmState.PENDING:
            progress = AlarmProgress(ProgressGoal.RAISE, sudden.bad, self.settings.trigger_consecutive_frames)
        if lasting.is_raised and state is not AlarmState.RAISED:
            state, progress = AlarmState.RAISED, None
            lasts = Cause(CauseKind.LASTING, value=lasting.mean, limit=lasting.threshold)
            cause, held_for = (cause, lasts) if cause.kind.is_fault else (lasts, None)
        cause = replace(cause, camera=self.camera, progress=progress, underlying=held_for)
        return Alarm(
            self.camera,
            stamp_ns,
            state,
            score,
            threshold,
            cause,
            lasting_score=lasting.mean,
            lasting_threshold=lasting.threshold,
        )
