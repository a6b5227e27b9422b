"""A velocity command and the present fallback -> what may pass. Never heard, silent or no number means zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from ..config import OutputSettings
from .types import FallbackMode

#: Order of the numbers of a command; m/s and rad/s.
AXES: tuple[str, ...] = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
ZERO: tuple[float, ...] = (0.0,) * len(AXES)


@dataclass(frozen=True)
class GatedVelocity:
    """What may pass at one time.

    Attributes:
        velocity: six numbers in the order of ``AXES``; no farther from zero than the command's.
        reason: why it is not the command itself; empty when it is.
        is_closed: nothing may pass, and ``velocity`` is zero for that reason.
        is_fault: the command itself is to blame.
    """

    velocity: tuple[float, ...]
    reason: str
    is_closed: bool
    is_fault: bool = False


class VelocityGate:
    """Remembers the last command and judges on demand, at times given by the caller (ns).

    NOMINAL passes, SLOW scales, STOP closes. Closed too: before the first command, after ``gate_timeout_s`` without
    one, on a command that is no finite number, and after a clock that ran backwards, until the next command.
    """

    def __init__(self, settings: OutputSettings) -> None:
        self._slow_scale = settings.gate_slow_scale
        self._timeout_s = settings.gate_timeout_s
        self._command: tuple[float, ...] | None = None
        self._heard_ns = 0

    def hear(self, command: Sequence[float], now_ns: int) -> None:
        """Take in one command, six numbers in the order of ``AXES``, received at ``now_ns``."""
        self._command, self._heard_ns = tuple(command), now_ns

    def release(self, mode: FallbackMode, now_ns: int) -> GatedVelocity:
        """What may pass at ``now_ns`` while the decision is ``mode``."""
        if self._command is not None and now_ns < self._heard_ns:
            self._command = None  # its age is unknown from now on
        command = self._command
        if command is None:
            return GatedVelocity(ZERO, "no velocity command has arrived yet", True)
        if mode not in (FallbackMode.NOMINAL, FallbackMode.SLOW):
            return GatedVelocity(ZERO, "the decision is STOP", True)
        silent_s = (now_ns - self._heard_ns) / 1e9
        if silent_s > self._timeout_s:
            reason = f"no velocity command for {silent_s:.2f} s (limit {self._timeout_s:.2f} s)"
            return GatedVelocity(ZERO, reason, True)
        unusable = [f"{axis} is {value}" for axis, value in zip(AXES, command, strict=True) if not isfinite(value)]
        if unusable:
            return GatedVelocity(ZERO, f"the velocity command is no number: {', '.join(unusable)}", True, True)
        if mode is FallbackMode.SLOW:
            slowed = tuple(value * self._slow_scale for value in command)
            return GatedVelocity(slowed, f"the decision is SLOW; scaled by {self._slow_scale:g}", False)
        return GatedVelocity(command, "", False)
