"""What a calibration should reach: target, what is held out, settings of the alarm."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import AlarmSettings
from ..errors import ConfigError

#: What may be held out. ``worst`` takes the larger of the two thresholds.
HOLD_OUT = ("block", "drive", "worst")


@dataclass(frozen=True)
class CalibrationSettings:
    """Target of a calibration, and what it holds out.

    Attributes:
        target_rate: accepted share of clean frames above the threshold; unused if ``target_per_hour`` is given.
        target_per_hour: accepted false alarms per hour of driving.
        per_hour_if_supported: taken as ``target_per_hour`` if that is not given and the drives are long enough for it.
        hold_out: ``block``, ``drive``, or ``worst`` of both; None = drives where there are several and the target is one per
            hour, else blocks. A single drive can only be held out by blocks.
        block_s: length of a block, seconds; None makes each drive one block.
        alarm: settings of the alarm.
        allow_small: accept data that cannot support the target, and add a note.
        max_faulty: largest share of a drive's images that may fail the vehicle's checks; they are left out.

    Raises:
        ConfigError: a value outside its range.
    """

    target_rate: float = 0.01
    target_per_hour: float | None = None
    per_hour_if_supported: float | None = None
    hold_out: str | None = None
    block_s: float | None = 10.0
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    allow_small: bool = False
    max_faulty: float = 0.05

    def __post_init__(self) -> None:
        if self.hold_out is not None and self.hold_out not in HOLD_OUT:
            raise ConfigError(f"hold-out is {self.hold_out!r}; it must be one of {', '.join(HOLD_OUT)}.")
        if not 0.0 < self.target_rate < 1.0:
            raise ConfigError(f"the target false-alarm rate is {self.target_rate}; it must lie within (0, 1).")
        if self.target_per_hour is not None and not 0.0 < self.target_per_hour < float("inf"):
            raise ConfigError(f"the target is {self.target_per_hour} false alarms an hour; it must be larger than 0.")
        if self.block_s is not None and not 0.0 < self.block_s < float("inf"):
            raise ConfigError(f"the block length is {self.block_s} s; it must be larger than 0.")
        if not 0.0 <= self.max_faulty <= 1.0:
            raise ConfigError(f"the share of faulty images is {self.max_faulty}; it must lie within [0, 1].")
