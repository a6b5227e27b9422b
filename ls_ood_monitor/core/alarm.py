"""One camera's scores over time -> a debounced alarm."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import isfinite, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import AlarmSettings
from ..errors import ConfigError
from .alarm_rules import RULES, AlarmRule
from .causes import AlarmProgress, Cause, CauseKind
from .types import Alarm, AlarmState

#: Faults are counted among so many times the frames that raise an alarm.
_FAULT_WINDOW = 3
#: Smallest distance from the median of clean scores to the threshold: it is divided by.
_TINY = 1e-12


class AlarmStates:
    """The state of one camera's alarm: CLEAR, PENDING or RAISED.

    A rule (``core/alarm_rules.py``) counts evidence: none is CLEAR, some is PENDING, enough is RAISED. So many good frames
    in a row as ``release_consecutive_frames`` clear a RAISED alarm. The alarm starts PENDING: a camera that has shown
    nothing is not clear. A bad frame is never CLEAR. Whatever the rule, ``trigger_consecutive_frames`` frames that cannot be
    judged raise the alarm when they lie among three times as many: a fault that comes and goes is a fault.

    Args:
        settings: rule and counts.
        clean_median: median score of clean frames, for the rule ``cusum`` (``Threshold.clean_median``).

    Raises:
        ConfigError: the rule ``cusum`` without the median score of clean frames.
    """

    def __init__(self, settings: AlarmSettings, clean_median: float = nan) -> None:
        if settings.rule == "cusum" and not isfinite(clean_median):
            raise ConfigError(
                "alarm rule 'cusum' needs the median clean score, which this bundle does not hold; "
                "calibrate again, or choose the rule 'consecutive' or 'window'."
            )
        self.settings = settings
        self.clean_median = clean_median
        self.reset()

    def reset(self) -> None:
        """Back to the start: PENDING, no evidence."""
        self.state = AlarmState.PENDING
        self.good = 0
        self.rule: AlarmRule = RULES[self.settings.rule](self.settings)
        self._faults: deque[bool] = deque(maxlen=_FAULT_WINDOW * self.settings.trigger_consecutive_frames)

    def mark_unavailable(self) -> None:
        """RAISED at once, whatever was counted: there is nothing to judge."""
        self.state, self.good = AlarmState.RAISED, 0

    def add(self, score: float | None, threshold: float) -> AlarmState:
        """Take in a frame: finite score and threshold, or score None = it could not be judged."""
        bad = score is None or score > threshold
        share = self.rule.add(None if score is None else self._excess(score, threshold))
        self.good = 0 if bad else self.good + 1
        self._faults.append(score is None)
        if self.state is AlarmState.RAISED:
            if self.good >= self.settings.release_consecutive_frames:
                self.state = AlarmState.CLEAR
                self.rule = RULES[self.settings.rule](self.settings)
                self._faults.clear()
        elif share >= 1.0 or sum(self._faults) >= self.settings.trigger_consecutive_frames:
            self.state = AlarmState.RAISED
        else:
            self.state = AlarmState.PENDING if bad or share > 0.0 else AlarmState.CLEAR
        return self.state

    def _excess(self, score: float, threshold: float) -> float:
        if self.settings.rule != "cusum":
            return score - threshold
        return (score - threshold) / max(threshold - self.clean_median, _TINY)


class AlarmFilter:
    """``AlarmStates`` of a named camera, with the cause; an alarm that waits to clear keeps its original cause."""

    def __init__(self, settings: AlarmSettings, camera: str, clean_median: float = nan) -> None:
        self.settings = settings
        self.camera = camera
        self._states = AlarmStates(settings, clean_median)
        self._last_bad: Cause | None = None

    def reset(self) -> None:
        """Back to the start: PENDING, nothing counted."""
        self._states.reset()
        self._last_bad = None

    def update(self, stamp_ns: int, score: float, threshold: float) -> Alarm:
        """Count a judged frame; larger score = more OoD. A score or threshold that is not finite is a fault."""
        if not (isfinite(score) and isfinite(threshold)):
            kind = CauseKind.NOT_FINITE
        else:
            kind = CauseKind.OUT_OF_DISTRIBUTION if score > threshold else CauseKind.IN_DISTRIBUTION
        return self._alarm(stamp_ns, score, threshold, Cause(kind, value=score, limit=threshold))

    def mark_unavailable(self, cause: Cause) -> None:
        """The camera is silent, or nobody can judge it: RAISED at once."""
        self._states.mark_unavailable()
        self._last_bad = cause

    def fault(self, stamp_ns: int, cause: Cause) -> Alarm:
        """Count a frame that could not be judged."""
        return self._alarm(stamp_ns, nan, nan, cause)

    def _alarm(self, stamp_ns: int, score: float, threshold: float, cause: Cause) -> Alarm:
        states = self._states
        state = states.add(None if cause.kind.is_fault else score, threshold)
        if not states.good:
            self._last_bad = cause
        progress, held_for = None, None
        if state is AlarmState.PENDING:
            progress = states.rule.progress()
        elif state is AlarmState.RAISED and states.good:
            progress = AlarmProgress("release", states.good, self.settings.release_consecutive_frames)
            held_for = self._last_bad
        cause = replace(cause, camera=self.camera, progress=progress, underlying=held_for)
        return Alarm(self.camera, stamp_ns, state, score, threshold, cause)


def alarm_onsets(
    scores: ArrayLike, threshold: float, settings: AlarmSettings, clean_median: float = nan
) -> NDArray[np.int64]:
    """Frames (K,) at which ``AlarmFilter`` would raise an alarm, from one camera's scores (N,) in order of time."""
    values = np.asarray(scores, dtype=np.float64)
    if not (values > threshold).any():  # true of most thresholds that are tried
        return np.zeros(0, np.int64)
    states = AlarmStates(settings, clean_median)
    onsets: list[int] = []
    before = states.state
    for index, score in enumerate(values.tolist()):
        state = states.add(score, threshold)
        if state is AlarmState.RAISED and before is not state:
            onsets.append(index)
        before = state
    return np.array(onsets, dtype=np.int64)
