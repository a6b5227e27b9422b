"""Sentences for people, made from the facts of alarms and decisions. No program reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .core.causes import AlarmProgress, Cause, CauseKind, ProgressGoal

if TYPE_CHECKING:  # they need numpy, which help texts must not wait for
    from .core.types import Alarm
    from .core.velocity_gate import GatedVelocity

_Words = Callable[[Cause], str]

#: Text of each cause that stands on its own.
_CLAUSES: dict[CauseKind, _Words] = {
    CauseKind.IN_DISTRIBUTION: lambda it: f"in distribution, score {it.value:.2f} within threshold {it.limit:.2f}",
    CauseKind.SUDDEN: lambda it: f"out of distribution, score {it.value:.2f} above threshold {it.limit:.2f}",
    CauseKind.LASTING: lambda it: (
        f"out of distribution for seconds, median score {it.value:.2f} above threshold {it.limit:.2f}"
    ),
    CauseKind.STALE: lambda it: (
        f"no image for {it.value:.1f} s (limit {it.limit:.2f} s){f' on {it.detail}' if it.detail else ''}"
    ),
    CauseKind.LATE: lambda it: f"picture is {it.value:.2f} s old (limit {it.limit:.2f} s)",
    CauseKind.RATE: lambda it: f"{it.value:.1f} images a second arrive, at least {it.limit:g} are required",
    CauseKind.FROZEN: lambda it: (
        f"the picture has not changed for {it.value:.2f} s (limit {it.limit:.2f} s); the camera is frozen"
    ),
    CauseKind.BLACK: lambda it: (
        f"{it.value:.1%} of the picture is black (values up to {it.detail}; limit {it.limit:.1%})"
    ),
    CauseKind.SATURATED: lambda it: (
        f"{it.value:.1%} of the picture is saturated (values from {it.detail} on; limit {it.limit:.1%})"
    ),
    CauseKind.BLANK: lambda it: f"every pixel is {it.detail}; the picture is blank (no signal)",
    CauseKind.SIZE: lambda it: (
        f"{it.detail} is {it.value:.0f}, expected_{it.detail} is {it.limit:.0f}"
        if it.value == it.value
        else f"size is {it.detail}, the stream began with {it.expected}; deactivate and activate the node to accept the new one"
    ),
    CauseKind.ENCODING: lambda it: f"encoding is {it.detail!r}, expected_encoding is {it.expected!r}",
    CauseKind.UNREADABLE: lambda it: it.detail,
    CauseKind.NO_STAMP: lambda it: (
        f"stamp is {it.detail} ns; the driver must stamp its images with the time of capture"
    ),
    CauseKind.NO_CLOCK: lambda it: (
        "the node's clock has not begun, so the picture's age is not known: use_sim_time is set, and nothing publishes /clock"
    ),
    CauseKind.REPEATED: lambda it: f"stamp {it.detail} ns is that of the frame before; the frame is repeated",
    CauseKind.CLOCK_BACK: lambda it: f"stamp went back by {it.value:.3f} s; the clock jumped or a recording looped",
    CauseKind.CLOCK_AHEAD: lambda it: (
        f"stamp lies {it.value:.3f} s ahead of the clock (limit {it.limit:.2f} s); the driver's clock is wrong"
    ),
    CauseKind.NOT_FINITE: lambda it: (
        f"the score {it.value:g} against threshold {it.limit:g} is not a finite comparison"
    ),
    CauseKind.INFERENCE: lambda it: f"inference failed: {it.detail}",
    CauseKind.HUNG: lambda it: f"the network has been at one batch for {it.value:.1f} s (limit {it.limit:.2f} s)",
    CauseKind.NOT_READY: lambda it: it.detail,
    CauseKind.UNREADABLE_ALARM: lambda it: f"malformed alarm, {it.detail}",
    CauseKind.ALARM_OUT_OF_ORDER: lambda it: f"the alarm's stamp went back by {it.value:.3f} s",
    CauseKind.UNNAMED: lambda it: it.detail,
    CauseKind.ALL_CLEAR: lambda it: "all cameras are in distribution",
    CauseKind.NO_CAMERA: lambda it: "no camera is configured; set the parameter cameras",
    CauseKind.NEVER_HEARD: lambda it: "no alarm message has arrived yet",
    CauseKind.SILENT: lambda it: f"silent for {it.value:.2f} s (limit {it.limit:.2f} s)",
    CauseKind.SENDER_LOST: lambda it: "a perception process is no longer alive (DDS liveliness)",
    CauseKind.SEVERAL_SENDERS: lambda it: f"{it.value:.0f} processes speak for it ({it.detail}); only one may",
    CauseKind.NO_ALARM: lambda it: f"something that is no alarm arrived: {it.detail}",
    CauseKind.CONTRADICTION: lambda it: (
        f"reported clear with score {it.value:g}, threshold {it.limit:g}, {it.detail}; not trusted"
    ),
    CauseKind.SUPERVISOR_ENDS: lambda it: "the supervisor ends; nobody commands after this",
    CauseKind.SUPERVISOR_CLOCK_BACK: lambda it: f"the clock ran back by {it.value:.3f} s; waiting for fresh alarms",
}

#: Text of each cause that stands on another one, with that one's sentence.
_SENTENCES: dict[CauseKind, Callable[[Cause, str], str]] = {
    CauseKind.UNKNOWN_CAMERA: lambda it, after: (
        f"an alarm came from camera {it.camera!r}, which is not configured (configured: {it.expected}); it says: {after}"
    ),
    CauseKind.NOT_CLEARED: lambda _, after: (
        f"{after}; it has not been clear since the start, or since it called for a stop"
    ),
    CauseKind.OPTIONAL_CAMERA: lambda _, after: f"{after} (optional camera)",
    CauseKind.TOO_FEW_CAMERAS: lambda it, after: (
        f"{after} ({it.value:.0f} of the {it.limit:.0f} cameras that stop the vehicle)"
    ),
    CauseKind.MIN_TIME: lambda it, after: f"{it.detail} lasts at least {it.limit:g} s; by now: {after}",
    CauseKind.LATCHED: lambda _, after: f"stopped until reset; the cause is over: {after}",
}


#: Of the velocity gate, by the name of ``GateReason``, which is not imported here.
_GATE: dict[str, Callable[[GatedVelocity], str]] = {
    "NO_COMMAND": lambda _: "no velocity command has arrived yet",
    "STOP": lambda _: "the decision is STOP",
    "SILENT": lambda it: f"no velocity command for {it.value:.2f} s (limit {it.limit:.2f} s)",
    "NOT_FINITE": lambda it: f"the velocity command is no number: {it.detail}",
    "SLOW": lambda it: f"the decision is SLOW; scaled by {it.value:g}",
}


def gate_sentence(gated: GatedVelocity) -> str:
    """What the velocity gate does with the commands."""
    return "commands pass" if gated.reason is None else _GATE[gated.reason.name](gated)


def clause(cause: Cause) -> str:
    """The cause, without camera and progress."""
    return _CLAUSES[cause.kind](cause)


def sentence(cause: Cause) -> str:
    """Camera, cause, and how far the alarm is."""
    if cause.kind in _SENTENCES:
        return _SENTENCES[cause.kind](cause, "" if cause.underlying is None else sentence(cause.underlying))
    camera = f"camera {cause.camera}: " if cause.camera else ""
    note = "" if cause.progress is None else f"; {_progress(cause.progress)}"
    raised_by = f" after: {_of_camera(cause.underlying)}" if cause.underlying is not None else ""
    return f"{camera}{_of_camera(cause)}{note}{raised_by}"


def node_sentence(problem: str, uncalibrated: str) -> str:
    """State of perception: its problem, or which cameras its bundle does not know; each empty where there is none."""
    return problem or (f"running; {uncalibrated}" if uncalibrated else "running")


def camera_sentence(alarm: Alarm | None, silent_s: float | None, has_foreign_clock: bool, publishers: int = 1) -> str:
    """State of one camera at perception; ``silent_s`` is None unless it is silent."""
    if publishers > 1:
        others = f"{publishers} nodes publish its images, and only one may; "
        return others + camera_sentence(alarm, silent_s, has_foreign_clock)
    if silent_s is not None:
        return f"no image for {silent_s:.1f} s"
    if alarm is None:
        return "no frame judged yet"
    clock = "; its stamps are of another clock, so its age is known by arrival alone" if has_foreign_clock else ""
    return f"{sentence(alarm.cause)}{clock}"


def _of_camera(cause: Cause) -> str:
    """The clause about a camera. A problem of the node is not the camera's own."""
    is_of_node = cause.kind in (CauseKind.HUNG, CauseKind.NOT_READY)
    return f"perception cannot judge it: {clause(cause)}" if is_of_node else clause(cause)


def _progress(progress: AlarmProgress) -> str:
    count, needed = progress.count, progress.needed
    if progress.goal is ProgressGoal.CLEAR:
        return f"{count:.0f} of {needed:.0f} good frames to clear"
    return f"{count:.0f} of {needed:.0f} bad frames to raise"
