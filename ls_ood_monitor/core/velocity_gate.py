"""Velocity command and fallback decision -> the velocity that may pass. A missing, old or non-finite command gives zero."""

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
    """Output of the gate.

    Attributes:
        velocity: six numbers in the order of ``AXES``; no component is larger in magnitude than the command's.
        reason: why the velocity differs from the command; empty if it does not.
        is_closed: the gate is closed, so the velocity is zero.
        is_fault: the command itself is faulty.
    """

    velocity: tuple[float, ...]
    reason: str
    is_closed: bool
    is_fault: bool = False


class VelocityGate:
    """Keeps the last command and limits it on request; the caller gives the times (ns).

    NOMINAL passes the command, SLOW scales it, STOP closes the gate. The gate is also closed before the first command, after
    ``gate_timeout_s`` without one, for a command that is not finite, and after the clock ran backwards, until the next command.
    """

    def __init__(self, settings: OutputSettings) -> None:
        self._slow_scale = settings.gate_slow_scale
        self._timeout_s = settings.gate_timeout_s
        self._command: tuple[float, ...] | None = None
        self._received_ns = 0

    def on_command(self, command: Sequence[float], now_ns: int) -> None:
        """Store a command, six numbers in the order of ``AXES``, received at ``now_ns``."""
        self._command, self._received_ns = tuple(command), now_ns

    def release(self, mode: FallbackMode, now_ns: int) -> GatedVelocity:
        """Velocity that may pass at ``now_ns`` while the decision is ``mode``."""
        if self._command is not None and now_ns < self._received_ns:
            self._command = None  # its age is unknown from now on
        command = self._command
        if command is None:
            return GatedVelocity(ZERO, "no velocity command has arrived yet", True)
        if mode not in (FallbackMode.NOMINAL, FallbackMode.SLOW):
            return GatedVelocity(ZERO, "the decision is STOP", True)
        silent_s = (now_ns - self._received_ns) / 1e9
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
