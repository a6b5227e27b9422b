"""Causes of alarms and decisions, as data: why a camera is not clear, and why the vehicle slows or stops.

Alarm and supervisor messages carry a cause by name, so no program needs to parse text. ``wording`` turns causes into
sentences for people.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import nan


class CauseKind(enum.Enum):
    """Kind of a cause. The value is its name in messages and files.

    Attributes:
        is_fault: a frame, or an alarm, could not be judged.
    """

    _value_: str
    is_fault: bool

    def __new__(cls, name: str, is_fault: bool = False) -> CauseKind:  # noqa: D102
        kind = object.__new__(cls)
        kind._value_, kind.is_fault = name, is_fault
        return kind

    # The frame was judged.
    IN_DISTRIBUTION = "in_distribution"
    SUDDEN = "sudden"  # the score of a frame is above the threshold
    LASTING = "lasting"  # the median over seconds is above its own

    # Faults: the frame, or the lack of one, could not be judged.
    STALE = "stale", True
    LATE = "late", True
    RATE = "rate", True
    FROZEN = "frozen", True
    BLACK = "black", True
    SATURATED = "saturated", True
    BLANK = "blank", True
    SIZE = "size", True
    ENCODING = "encoding", True
    UNREADABLE = "unreadable", True
    NO_STAMP = "no_stamp", True
    NO_CLOCK = "no_clock", True
    REPEATED = "repeated", True
    CLOCK_BACK = "clock_back", True
    CLOCK_AHEAD = "clock_ahead", True
    NOT_FINITE = "not_finite", True
    INFERENCE = "inference", True
    HUNG = "hung", True
    NOT_READY = "not_ready", True

    # Faults of the alarm message itself, found by the supervisor.
    UNREADABLE_ALARM = "unreadable_alarm", True
    ALARM_OUT_OF_ORDER = "alarm_out_of_order", True
    UNNAMED = "unnamed", True

    # Causes of a decision that come from no alarm.
    ALL_CLEAR = "all_clear"
    NO_CAMERA = "no_camera"
    NEVER_HEARD = "never_heard"
    SILENT = "silent"
    SENDER_LOST = "sender_lost"
    SEVERAL_SENDERS = "several_senders"
    UNKNOWN_CAMERA = "unknown_camera"
    NO_ALARM = "no_alarm"
    CONTRADICTION = "contradiction"
    SUPERVISOR_CLOCK_BACK = "supervisor_clock_back"
    SUPERVISOR_ENDS = "supervisor_ends"

    # Causes that wrap another one (``Cause.underlying``).
    NOT_CLEARED = "not_cleared"
    OPTIONAL_CAMERA = "optional_camera"
    TOO_FEW_CAMERAS = "too_few_cameras"
    MIN_TIME = "min_time"
    LATCHED = "latched"


#: The frame was judged: the camera is in or out of distribution.
JUDGED = frozenset({CauseKind.IN_DISTRIBUTION, CauseKind.SUDDEN, CauseKind.LASTING})
#: They say how the supervisor took another cause of the same camera.
QUALIFYING = frozenset({CauseKind.NOT_CLEARED, CauseKind.OPTIONAL_CAMERA, CauseKind.TOO_FEW_CAMERAS})
#: They hold a mode whose cause is over.
HOLDING = frozenset({CauseKind.MIN_TIME, CauseKind.LATCHED})


class ProgressGoal(enum.Enum):
    """What counted frames lead to. The value is the name in messages and files."""

    RAISE = "consecutive"
    CLEAR = "release"


@dataclass(frozen=True)
class AlarmProgress:
    """How far a camera's alarm is on its way to RAISED, or from RAISED back to CLEAR.

    Attributes:
        goal: what the frames lead to.
        count: frames so far.
        needed: so many raise, or clear, the alarm.
    """

    goal: ProgressGoal
    count: float
    needed: float


@dataclass(frozen=True)
class Cause:
    """One cause with its numbers.

    Attributes:
        kind: kind of the cause.
        camera: camera that it concerns; empty if it concerns none or several.
        value: measured value, in the unit of the kind (seconds, share, score, ...); NaN if there is none.
        limit: limit of ``value``; NaN if there is none.
        detail: what a number cannot express: an encoding, a size, the text of an error.
        expected: expected ``detail``; empty if there is none.
        progress: of the alarm; None if it moves neither to RAISED nor to CLEAR.
        underlying: the original cause: why an alarm that waits to clear was raised, why a latched stop began, or what a
            wrapping kind qualifies.
    """

    kind: CauseKind
    camera: str = ""
    value: float = nan
    limit: float = nan
    detail: str = ""
    expected: str = ""
    progress: AlarmProgress | None = None
    underlying: Cause | None = None
