"""Velocity command and fallback decision -> the velocity that may pass. A missing, old or non-finite command gives zero."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

from ..config import OutputSettings
from .types import FallbackMode

#: Order of the numbers of a command; m/s and rad/s.
AXES: tuple[str, ...] = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
ZERO: tuple[float, ...] = (0.0,) * len(AXES)


class GateReason(enum.Enum):
    """Why the velocity differs from the command."""

    NO_COMMAND = enum.auto()
    STOP = enum.auto()
    SILENT = enum.auto()
    NOT_FINITE = enum.auto()
    SLOW = enum.auto()


@dataclass(frozen=True)
class GatedVelocity:
    """Output of the gate.

    Attributes:
        velocity: six numbers in the order of ``AXES``; no component is larger in magnitude than the command's.
        reason: why the velocity differs from the command; None if it does not.
        is_closed: the gate is closed, so the velocity is zero.
        value: time without a command, s, or scale in SLOW.
        limit: of that time, s.
        detail: the numbers that are not finite, with their axes.
    """

    velocity: tuple[float, ...]
    reason: GateReason | None
    is_closed: bool
    value: float = nan
    limit: float = nan
    detail: str = ""


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
            return GatedVelocity(ZERO, GateReason.NO_COMMAND, True)
        if mode not in (FallbackMode.NOMINAL, FallbackMode.SLOW):
            return GatedVelocity(ZERO, GateReason.STOP, True)
        silent_s = (now_ns - self._received_ns) / 1e9
        if silent_s > self._timeout_s:
            return GatedVelocity(ZERO, GateReason.SILENT, True, silent_s, self._timeout_s)
        unusable = [f"{axis} is {value}" for axis, value in zip(AXES, command, strict=True) if not isfinite(value)]
        if unusable:
            return GatedVelocity(ZERO, GateReason.NOT_FINITE, True, detail=", ".join(unusable))
        if mode is FallbackMode.SLOW:
            slowed = tuple(value * self._slow_scale for value in command)
            return GatedVelocity(slowed, GateReason.SLOW, False, self._slow_scale)
        return GatedVelocity(command, None, False)
