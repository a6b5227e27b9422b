"""Silent cameras. Perception raises the alarm of each ten times a second; people are told from when until when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .judged_images import FrameRecord

#: So often perception looks for silent cameras, and raises the alarm of each.
SILENCE_TICK_NS = 100_000_000
#: Alarms of one silence lie one look apart; a rounded time may stand a little farther off.
_APART_S = 1.5 * SILENCE_TICK_NS / 1e9


class Silence(NamedTuple):
    """A stretch of time in which a camera's alarm was raised because it sent nothing.

    Attributes:
        camera: name.
        start_s: its first alarm, seconds from the start of the recording.
        end_s: its last one.
        alarms: how many there were.
        reason: of the last one, which tells how long it had been silent.
    """

    camera: str
    start_s: float
    end_s: float
    alarms: int
    reason: str


def silences_of(alarms: Iterable[FrameRecord]) -> list[Silence]:
    """The stretches that a replay's alarms of silent cameras form, in the order of their starts."""
    found: list[Silence] = []
    last: dict[str, int] = {}  # camera -> place of its latest stretch
    for one in alarms:
        camera, reason = one.alarm.camera, one.alarm.reason
        place = last.get(camera)
        if place is not None and one.time_s - found[place].end_s < _APART_S:
            found[place] = found[place]._replace(end_s=one.time_s, alarms=found[place].alarms + 1, reason=reason)
        else:
            last[camera] = len(found)
            found.append(Silence(camera, one.time_s, one.time_s, 1, reason))
    return found
