"""Why a camera is not clear, and why the vehicle slows or stops: data, from which ``wording`` makes sentences.

The name of a cause travels in the alarm and in the supervisor's state, so that no program needs to read a sentence.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import nan


class CauseKind(enum.Enum):
    """What is the matter. The value is the name in messages and files."""

    # The frame was judged.
    IN_DISTRIBUTION = "in_distribution"
    SUDDEN = "sudden"  # the score of a frame is above the threshold
    LASTING = "lasting"  # the mean over seconds is above its own

    # Faults: the frame, or the lack of one, could not be judged.
    STALE = "stale"
    LATE = "late"
    RATE = "rate"
    FROZEN = "frozen"
    BLACK = "black"
    SATURATED = "saturated"
    BLANK = "blank"
    SIZE = "size"
    ENCODING = "encoding"
    UNREADABLE = "unreadable"
    NO_STAMP = "no_stamp"
    REPEATED = "repeated"
    CLOCK_BACK = "clock_back"
    CLOCK_AHEAD = "clock_ahead"
    NOT_FINITE = "not_finite"
    INFERENCE = "inference"
    HUNG = "hung"
    NOT_READY = "not_ready"

    # Faults of the alarm message itself, found by the supervisor.
    UNREADABLE_ALARM = "unreadable_alarm"
    ALARM_OUT_OF_ORDER = "alarm_out_of_order"
    UNNAMED = "unnamed"

    # Causes of a decision beside the alarms.
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

    # Causes that stand on another one (``Cause.after``).
    NOT_CLEARED = "not_cleared"
    OPTIONAL_CAMERA = "optional_camera"
    TOO_FEW_CAMERAS = "too_few_cameras"
    MIN_TIME = "min_time"
    LATCHED = "latched"

    @property
    def is_fault(self) -> bool:
        """Whether it means that a frame, or an alarm, could not be judged."""
        return self in _FAULTS


#: The frame was judged: the camera is in or out of distribution.
JUDGED = frozenset({CauseKind.IN_DISTRIBUTION, CauseKind.SUDDEN, CauseKind.LASTING})
_FAULTS = frozenset(
    {
        CauseKind.STALE,
        CauseKind.LATE,
        CauseKind.RATE,
        CauseKind.FROZEN,
        CauseKind.BLACK,
        CauseKind.SATURATED,
        CauseKind.BLANK,
        CauseKind.SIZE,
        CauseKind.ENCODING,
        CauseKind.UNREADABLE,
        CauseKind.NO_STAMP,
        CauseKind.REPEATED,
        CauseKind.CLOCK_BACK,
        CauseKind.CLOCK_AHEAD,
        CauseKind.NOT_FINITE,
        CauseKind.INFERENCE,
        CauseKind.HUNG,
        CauseKind.NOT_READY,
        CauseKind.UNREADABLE_ALARM,
        CauseKind.ALARM_OUT_OF_ORDER,
        CauseKind.UNNAMED,
    }
)
#: They say how the supervisor took another cause of the same camera.
QUALIFYING = frozenset({CauseKind.NOT_CLEARED, CauseKind.OPTIONAL_CAMERA, CauseKind.TOO_FEW_CAMERAS})
#: They hold a mode whose cause is over.
HOLDING = frozenset({CauseKind.MIN_TIME, CauseKind.LATCHED})
_ON_ANOTHER = QUALIFYING | HOLDING


@dataclass(frozen=True)
class AlarmProgress:
    """How far a camera's alarm is on its way to RAISED, or from RAISED back to CLEAR.

    Attributes:
        rule: ``consecutive``, bad frames that raise the alarm, or ``release``, good frames that clear it.
        count: frames so far.
        needed: so many raise, or clear, the alarm.
    """

    rule: str
    count: float
    needed: float


@dataclass(frozen=True)
class Cause:
    """One cause with its numbers.

    Attributes:
        kind: what is the matter.
        camera: whose; empty where no single camera is to blame.
        value: what was measured, in the unit of the kind (seconds, share, score, ...); NaN where there is no number.
        limit: what the value was held against; NaN where there is none.
        detail: what numbers cannot say: an encoding, a size, the text of an error.
        expected: what ``detail`` was held against; empty where there is nothing.
        progress: of the alarm that goes with it; None where it is neither on its way to RAISED nor to CLEAR.
        after: the cause that this one stands on: what a RAISED alarm, a latch or a least time still holds.
    """

    kind: CauseKind
    camera: str = ""
    value: float = nan
    limit: float = nan
    detail: str = ""
    expected: str = ""
    progress: AlarmProgress | None = None
    after: Cause | None = None

    @property
    def root(self) -> Cause:
        """The cause behind it: what a latch, a least time, or an alarm that waits for good frames goes back to."""
        holds = self.kind in _ON_ANOTHER or self.kind is CauseKind.IN_DISTRIBUTION
        return self.after.root if self.after is not None and holds else self
