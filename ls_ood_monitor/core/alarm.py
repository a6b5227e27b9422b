"""One camera's scores over time -> a debounced alarm."""

from __future__ import annotations

from collections import deque
from math import isfinite, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import AlarmSettings
from ..errors import ConfigError
from .alarm_rules import RULES
from .input_validation import Fault, InputFault
from .types import Alarm, AlarmState

#: Frames, in multiples of those that raise, among which faults are counted together.
_FAULT_WINDOW = 3
#: Avoids a division by zero where the threshold equals the median clean score.
_TINY = 1e-12


class AlarmStates:
    """CLEAR, PENDING, RAISED of one camera, without words.

    Evidence gathers by a rule (``core/alarm_rules.py``): none is CLEAR, some is PENDING, enough is RAISED; ``release`` good
    frames in a row clear a RAISED alarm. The start is PENDING: a camera that has shown nothing is not clear. A bad frame
    is never CLEAR. Frames that cannot be judged raise by any rule when ``trigger_consecutive_frames`` of them lie among
    three times as many: a fault that comes and goes is one.

    Args:
        settings: rule and counts.
        clean_median: median clean score, for the rule ``cusum`` (``Threshold.clean_median``).

    Raises:
        ConfigError: the rule ``cusum`` without a median clean score.
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
        self.evidence = RULES[self.settings.rule](self.settings)
        self._faults: deque[bool] = deque(maxlen=_FAULT_WINDOW * self.settings.trigger_consecutive_frames)

    def lose(self) -> None:
        """RAISED at once, whatever was counted: there is nothing to judge."""
        self.state, self.good = AlarmState.RAISED, 0

    def add(self, score: float | None, threshold: float) -> AlarmState:
        """Take in a frame: finite score and threshold, or score None = it could not be judged."""
        bad = score is None or score > threshold
        share = self.evidence.add(None if score is None else self._excess(score, threshold))
        self.good = 0 if bad else self.good + 1
        self._faults.append(score is None)
        if self.state is AlarmState.RAISED:
            if self.good >= self.settings.release_consecutive_frames:
                self.state = AlarmState.CLEAR
                self.evidence = RULES[self.settings.rule](self.settings)
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
    """``AlarmStates`` of a named camera, with the reason in words; one that awaits good frames says what it is held for."""

    def __init__(self, settings: AlarmSettings, camera: str, clean_median: float = nan) -> None:
        self.settings = settings
        self.camera = camera
        self._states = AlarmStates(settings, clean_median)
        self._last_bad = ""

    def reset(self) -> None:
        """Back to the start: PENDING, nothing counted."""
        self._states.reset()
        self._last_bad = ""

    def update(self, stamp_ns: int, score: float, threshold: float) -> Alarm:
        """Count a judged frame; larger score = more OoD. A score or threshold that is not finite is a fault."""
        if not (isfinite(score) and isfinite(threshold)):
            what = f"the score {score:g} against threshold {threshold:g} is not a finite comparison"
            return self._alarm(stamp_ns, score, threshold, what, Fault.NOT_FINITE)
        if score > threshold:
            what = f"out of distribution, score {score:.2f} above threshold {threshold:.2f}"
        else:
            what = f"in distribution, score {score:.2f} within threshold {threshold:.2f}"
        return self._alarm(stamp_ns, score, threshold, what, None)

    def lose(self, what: str) -> None:
        """The camera is silent, or nobody can judge it, in the words of ``what``: RAISED at once."""
        self._states.lose()
        self._last_bad = what

    def fault(self, stamp_ns: int, finding: InputFault) -> Alarm:
        """Count a frame that could not be judged."""
        return self._alarm(stamp_ns, nan, nan, finding.reason, finding.fault)

    def _alarm(self, stamp_ns: int, score: float, threshold: float, what: str, fault: Fault | None) -> Alarm:
        states = self._states
        state = states.add(None if fault else score, threshold)
        if not states.good:
            self._last_bad = what
        note = ""
        if state is AlarmState.PENDING:
            note = f"; {states.evidence.text()}"
        elif state is AlarmState.RAISED and states.good:
            needed = self.settings.release_consecutive_frames
            note = f"; {states.good} of {needed} good frames to clear after: {self._last_bad}"
        reason = f"camera {self.camera}: {what}{note}"
        name = fault.value if fault else ""
        return Alarm(self.camera, stamp_ns, state, score, threshold, reason, fault is not None, name)


def alarm_onsets(
    scores: ArrayLike, threshold: float, settings: AlarmSettings, clean_median: float = nan
) -> NDArray[np.int64]:
    """Frames (K,) at which ``AlarmFilter`` would raise an alarm, from one camera's scores (N,) in order of time."""
    values = np.asarray(scores, dtype=np.float64)
    if not (values > threshold).any():  # most thresholds that are tried
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
