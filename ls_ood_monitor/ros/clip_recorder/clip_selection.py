"""Decides which messages are kept for clips, and which alarms open one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64

from ...core.clips import ClipBuffer
from ...core.types import Alarm, AlarmState, FrameResult, Verdict
from ..worker import Arrival
from .items import AlarmSnapshot, Item, RecordedImage, RecordedMessage, RecordedNode

#: A clock step beyond these limits means that the clock was set or a recording looped: a new time begins.
_MAX_STEP_BACK_NS, _MAX_STEP_AHEAD_NS = 100_000_000, 60_000_000_000


class ClipSelection:
    """Puts messages and snapshots of alarms into the buffer. Not safe for threads: the caller holds the buffer's lock.

    A clip begins ``before_s`` before its alarm. ``clock_ns`` is the node's clock, which stamps messages; ``dropped`` gives the
    frames of a camera that the network had no time for so far.
    """

    def __init__(
        self,
        buffer: ClipBuffer[Item],
        node: RecordedNode,
        before_s: float,
        clock_ns: Callable[[], int],
        dropped: Callable[[str], int],
    ) -> None:
        self._buffer, self._node = buffer, node
        self._clock_ns, self._dropped = clock_ns, dropped
        self._before_ns = round(before_s * 1e9)
        self._states: dict[str, AlarmState] = {}
        self._awaiting_result: dict[str, AlarmSnapshot] = {}  # by camera
        self._last_image_ns: int | None = None  # steady clock
        self._last_clock_ns: int | None = None

    def add_alarm(
        self, alarm: Alarm, message: DiagnosticArray, arrival: Arrival | None, verdict: Verdict | None
    ) -> None:
        """Keep an alarm message with its image and score; a newly raised alarm without a verdict opens a clip."""
        at_ns, now_ns = time.monotonic_ns(), self._clock_ns()
        self._check_clock(at_ns, now_ns)
        topics = self._node.cameras[alarm.camera]
        if arrival is not None:
            waited_ns = now_ns - arrival.received_ns
            received_ns = arrival.received_ns if 0 <= waited_ns < _MAX_STEP_AHEAD_NS else now_ns
            dropped = self._dropped(alarm.camera)
            image = RecordedImage(topics.image, topics.image_type, received_ns, arrival.message, alarm.camera, dropped)
            self._add(at_ns, image)
            self._last_image_ns = at_ns
        alarm_type = "diagnostic_msgs/msg/DiagnosticArray"
        self._add(at_ns, RecordedMessage(self._node.alarm_topic, alarm_type, now_ns, message))
        if verdict is not None:
            score = Float64(data=verdict.score)
            self._add(at_ns, RecordedMessage(topics.score, "std_msgs/msg/Float64", now_ns, score))
        previous, self._states[alarm.camera] = self._states.get(alarm.camera), alarm.state
        is_newly_raised = alarm.state is AlarmState.RAISED and previous is not AlarmState.RAISED
        if is_newly_raised and self._has_recent_image(at_ns):
            snapshot = AlarmSnapshot(alarm, now_ns, arrival.message if arrival is not None else None, None)
            if verdict is None:
                self._open_clip(snapshot)
            else:
                self._awaiting_result[alarm.camera] = snapshot

    def add_result(self, camera: str, result: FrameResult | None) -> None:
        """Complete the camera's snapshot, if one waits for its result, and open the clip; None = there is no result."""
        snapshot = self._awaiting_result.pop(camera, None)
        if snapshot is not None:
            self._open_clip(replace(snapshot, result=result))

    def _check_clock(self, at_ns: int, now_ns: int) -> None:
        """End all clips where the node's clock jumped."""
        last_ns, self._last_clock_ns = self._last_clock_ns, now_ns
        if last_ns is not None and not -_MAX_STEP_BACK_NS < now_ns - last_ns < _MAX_STEP_AHEAD_NS:
            self._buffer.cut(at_ns)
            self._last_image_ns = None

    def _has_recent_image(self, at_ns: int) -> bool:
        """Whether a clip would show anything: not before the first image, nor after a silence longer than a clip."""
        return self._last_image_ns is not None and at_ns - self._last_image_ns <= self._before_ns

    def _open_clip(self, snapshot: AlarmSnapshot) -> None:
        at_ns = time.monotonic_ns()
        self._add(at_ns, snapshot)
        self._buffer.alarm(at_ns, snapshot.alarm.camera, snapshot.alarm.is_fault)

    def _add(self, at_ns: int, item: Item) -> None:
        self._buffer.add(at_ns, item.size, item)
