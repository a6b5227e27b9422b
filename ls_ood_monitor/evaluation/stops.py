"""When a vehicle would have stopped, and why: every stretch under STOP with all of its causes.

A decision carries one reason, that of the worst camera. So the causes of a stop are the reasons that take over in it, and
the alarms of further cameras that are raised meanwhile. A cause is a camera and a kind of reason, not the numbers in it;
one that comes back is told once.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..core.types import AlarmState, FallbackMode
from .judged_images import FrameRecord
from .timeline import ModeSample, mode_changes

_CAMERA = re.compile(r"camera (.+?): ")
_NUMBER = re.compile(r"-?\b(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf)\b")
#: A camera whose alarm awaits its good frames. What raised the alarm is the cause.
_AWAITS_GOOD_FRAMES = ": in distribution, "


@dataclass(frozen=True)
class Cause:
    """Why a vehicle stands.

    Attributes:
        camera: whose alarm it is; None where no single one is to blame.
        start_s: when it was first said, seconds from the start of the recording.
        reason: a sentence, as it was first said.
    """

    camera: str | None
    start_s: float
    reason: str


@dataclass(frozen=True)
class Stop:
    """A stretch under STOP, seconds from the start of the recording.

    Attributes:
        start_s: where it begins.
        end_s: where another command, or the end of the recording, ends it.
        start_up: it is the one with which every drive begins, before the cameras were heard, and was soon released.
        causes: in the order in which they came.
    """

    start_s: float
    end_s: float
    start_up: bool
    causes: tuple[Cause, ...]


def stops_of(
    decisions: Sequence[ModeSample],
    alarms: Iterable[FrameRecord],
    duration_s: float,
    settle_s: float = 0.0,
    optional: Collection[str] = (),
) -> list[Stop]:
    """The stops of a replay.

    Args:
        decisions: the supervisor's, in order.
        alarms: of all cameras, in order.
        duration_s: of the recording.
        settle_s: time in which the stop at the start must be released to be a usual one.
        optional: cameras that stop no vehicle.
    """
    if not decisions:
        return []
    changes = mode_changes(decisions)
    ends = [*(one.time_s for one in changes[1:]), duration_s]
    spans = [
        (one.time_s, end_s)
        for one, end_s in zip(changes, ends, strict=False)  # without a decision there is no stop
        if one.mode is FallbackMode.STOP and one.time_s < end_s
    ]
    found: list[dict[tuple[str | None, str], Cause]] = [{} for _ in spans]
    calls = ((one.time_s, _camera(one.reason), one.reason) for one in decisions if one.mode is FallbackMode.STOP)
    raised = (
        (one.time_s, one.alarm.camera, one.alarm.reason)
        for one in alarms
        if one.alarm.state is AlarmState.RAISED and one.alarm.camera not in optional
    )
    place = 0
    for time_s, camera, reason in heapq.merge(calls, raised, key=lambda said: said[0]):
        while place < len(spans) and time_s >= spans[place][1]:
            place += 1
        if place == len(spans):
            break
        if time_s >= spans[place][0]:
            _add(found[place], Cause(camera, time_s, reason))
    return [
        Stop(begin_s, end_s, _is_start_up(decisions, begin_s, end_s, duration_s, settle_s), tuple(causes.values()))
        for (begin_s, end_s), causes in zip(spans, found, strict=True)
    ]


def _add(known: dict[tuple[str | None, str], Cause], cause: Cause) -> None:
    kind = _kind(cause.reason)
    if _AWAITS_GOOD_FRAMES in kind and any(camera == cause.camera for camera, _ in known):
        return
    known.setdefault((cause.camera, kind), cause)


@lru_cache(maxsize=1024)
def _kind(reason: str) -> str:
    """The sentence without its numbers, and without what follows the first clause: counts, and causes that are over."""
    return _NUMBER.sub("#", reason.partition(";")[0])


def _camera(reason: str) -> str | None:
    named = _CAMERA.match(reason)
    return named[1] if named else None


def _is_start_up(
    decisions: Sequence[ModeSample], begin_s: float, end_s: float, duration_s: float, settle_s: float
) -> bool:
    return begin_s == decisions[0].time_s and end_s < duration_s and end_s - begin_s <= settle_s
